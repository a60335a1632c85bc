//! Where a server is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::Route;

/// The base URL of a server: http or https, perhaps with a path below which a proxy shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

/// Why there is no server at an address, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of a server.
    #[error("not a URL such as http://127.0.0.1:10000 or https://sync.example.com")]
    Url,
    /// It holds a user or a password.
    #[error("a server is asked with a token, without a user and password")]
    Credentials,
    /// It is https, and this machine cannot check certificates.
    #[error("cannot check the server's certificate: {0}")]
    Certificates(String),
}

impl Address {
    /// The path of the URL, which begins with a slash.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is this machine, by its name or number: nothing is looked up.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let number = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || number.is_ok_and(|number| number.is_loopback())
    }

    pub(super) fn of(&self, route: Route) -> Url {
        self.below(route.path())
    }

    pub(super) fn below(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = self.0.path().trim_end_matches('/');
        url.set_path(&format!("{base}{path}"));
        url
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::Url)?;
        let is_plain = url.query().is_none() && url.fragment().is_none();
        let is_server = ["http", "https"].contains(&url.scheme()) && url.has_host();
        match url.username().is_empty() && url.password().is_none() {
            true if is_plain && is_server => Ok(Self(url)),
            true => Err(AddressError::Url),
            false => Err(AddressError::Credentials),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_below_the_base_url_with_its_path() {
        for (base, url) in [
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000/api/sync"),
            ("http://127.0.0.1:10000/", "http://127.0.0.1:10000/api/sync"),
            ("https://example.com/viveka/", "https://example.com/viveka/api/sync"),
        ] {
            assert_eq!(base.parse::<Address>().unwrap().of(Route::Sync).as_str(), url);
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names_and_numbers_alone() {
        let is_loopback = |url: &str| url.parse::<Address>().unwrap().is_loopback();
        for url in
            ["http://localhost:1", "http://LOCALHOST", "http://127.0.0.1:1", "http://127.9.9.9", "https://[::1]:1/p"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "localhost:10000", "ftp://host", "/api", "http://", "http://h/?a=1"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Url), "{text}");
        }
        for text in ["http://user:pass@host", "http://user@host", "https://:pass@host/"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Credentials), "{text}");
        }
    }
}
