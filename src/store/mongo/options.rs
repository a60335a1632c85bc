//! How to reach the database.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ConnectionString, HostInfo, ReadPreference, SelectionCriteria, Tls};

use crate::store::{DatasetMemory, StoreError};

/// The name under which the server's connections show in the database's logs.
pub(super) const APP_NAME: &str = "viveka-sync";

/// Which database to use. `Debug` does not show the credentials of the URL.
#[derive(Clone)]
pub struct MongoOptions {
    /// A MongoDB connection string: `mongodb://` or `mongodb+srv://`.
    pub url: String,
    /// The database's name, when the URL names none.
    pub database: String,
    /// For how many days receipts are kept; 0 keeps them for ever.
    pub receipt_days: u32,
    /// Whether nobody but servers like this one writes to a client's dataset.
    pub sole_writer: bool,
    /// How much memory datasets may take.
    pub memory: DatasetMemory,
}

/// Checks a connection string, and whether the files that it names can be read. Asks nobody.
///
/// # Errors
/// One sentence that says what is wrong. It never holds the user's name or password.
pub fn check_url(url: &str) -> Result<(), String> {
    if let Ok(parsed) = ConnectionString::parse(url) {
        parsed.default_database.as_deref().map_or(Ok(()), check_database_name)?;
        return check_files(parsed.tls);
    }
    // The driver's texts may quote the URL, so it is asked about one that holds no credentials.
    match ConnectionString::parse(hide_credentials(url)).map_err(|e| *e.kind) {
        Err(ErrorKind::InvalidArgument { message, .. }) => Err(message),
        _ => Err("special characters in its user name and password must be percent-encoded".to_owned()),
    }
}

/// Checks the name of a database by what MongoDB refuses on any of its platforms (its manual, "Naming Restrictions").
///
/// # Errors
/// One sentence that says what is wrong.
pub fn check_database_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 63;
    match name.chars().find(|character| "/\\. \"$*<>:|?\0".contains(*character)) {
        Some(wrong) => Err(format!("the name of a database must not hold {wrong:?}")),
        None if name.is_empty() || name.len() > LONGEST => {
            Err(format!("the name of a database must have 1 to {LONGEST} bytes"))
        }
        None => Ok(()),
    }
}

fn check_files(tls: Option<Tls>) -> Result<(), String> {
    let Some(Tls::Enabled(options)) = tls else { return Ok(()) };
    let files = [("tlsCAFile", options.ca_file_path), ("tlsCertificateKeyFile", options.cert_key_file_path)];
    for (option, file) in files {
        if let Some(Err(why)) = file.map(File::open) {
            return Err(format!("its {option} cannot be read: {why}"));
        }
    }
    Ok(())
}

impl MongoOptions {
    /// Which database it is, and of which hosts, without credentials.
    pub fn place(&self) -> String {
        let (name, hosts) = match ConnectionString::parse(&self.url) {
            Ok(ConnectionString { default_database, host_info, .. }) => (default_database, hosts(host_info)),
            Err(_) => (None, "an unknown host".to_owned()),
        };
        format!("the database {} of {hosts}", name.as_ref().unwrap_or(&self.database))
    }

    /// The driver's options: those of the URL, and ours where the URL is silent.
    pub(super) async fn client_options(&self) -> Result<ClientOptions, StoreError> {
        check_url(&self.url).map_err(StoreError::Unusable)?;
        let mut options = ClientOptions::parse(&self.url).await?;
        let most = *options.max_pool_size.get_or_insert(64);
        options.min_pool_size.get_or_insert(most.min(4));
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        // With the time to connect it is how long a server that has stopped answering is believed in.
        options.heartbeat_freq.get_or_insert(Duration::from_secs(5));
        options.default_database.get_or_insert_with(|| self.database.clone());
        options.app_name = Some(APP_NAME.to_owned());
        // A dataset must show the commits before it, and transactions run nowhere else.
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        // Every operation here knows the concerns that it needs.
        options.read_concern = None;
        options.write_concern = None;
        Ok(options)
    }
}

impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoOptions")
            .field("url", &without_options(&hide_credentials(&self.url)))
            .field("database", &self.database)
            .field("receipt_days", &self.receipt_days)
            .field("sole_writer", &self.sole_writer)
            .field("memory", &self.memory)
            .finish()
    }
}

/// What may be shown of a connection string: where it leads, without user, password and options. `None` if it is none.
pub fn shown_url(url: &str) -> Option<String> {
    ConnectionString::parse(url).ok()?;
    Some(without_options(&hide_credentials(url)).to_owned())
}

fn hosts(info: HostInfo) -> String {
    match info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name,
        _ => "an unknown host".to_owned(),
    }
}

fn without_options(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// The URL without what stands before its last `@`. A password that should have been percent-encoded may
/// hold anything, so nothing before that place is trusted to be something else.
fn hide_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}://***@{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_tells_the_credentials() {
        let bad = [
            "mongodb://user:s3cret@localhost:port/db",
            "mongodb://user:s3cret/x@localhost",
            "mongodb://user:s3cret?x@localhost",
            "mongodb://user:s3cret@x@localhost",
            "mongodb://user:s3cret%@localhost",
            "user:s3cret@localhost",
            "http://user:s3cret@localhost",
            "mongodb://user:s3cret@localhost/?w=-1",
            "mongodb://",
            "",
        ];
        for url in bad {
            let error = check_url(url).unwrap_err();
            assert!(!error.is_empty() && !error.contains("s3cret") && !error.contains("user:"), "{url}: {error}");
        }
        for url in ["mongodb://user:s3cret@localhost/db?replicaSet=rs0", "mongodb://localhost", "mongodb://a:1,b:2/db"]
        {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_database_is_named_as_mongodb_allows() {
        let long = "a".repeat(64);
        for bad in
            ["", "a/b", "a\\b", "a.b", "a b", "a\"b", "a$b", "a*b", "a<b", "a>b", "a:b", "a|b", "a?b", "a\0b", &long]
        {
            check_database_name(bad).expect_err(bad);
        }
        for good in ["vivekaDB", "a-b_c", "äöü", &long[1..]] {
            assert_eq!(check_database_name(good), Ok(()), "{good}");
        }
        for url in ["mongodb://localhost/a%7Cb", "mongodb://localhost/a.b", &format!("mongodb://localhost/{long}")] {
            check_url(url).expect_err(url);
        }
    }

    #[test]
    fn debug_hides_the_credentials() {
        let url = "mongodb://user:s3cret@localhost/db?tlsCertificateKeyFilePassword=s3cret".to_owned();
        let options = MongoOptions {
            url,
            database: "vivekaDB".into(),
            receipt_days: 400,
            sole_writer: false,
            memory: DatasetMemory { cache: 0, stream_above: 0 },
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("mongodb://***@localhost/db") && !shown.contains("s3cret"), "{shown}");
    }
}
