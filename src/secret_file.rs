//! The secret of a development start: made once, kept in the data directory, readable by its owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const FILE: &str = "jwt-secret";

/// Reads the secret of a data directory, and makes both if they are not there.
///
/// # Errors
/// What the file system says, or that the file holds no secret.
pub fn read_or_create(directory: &Path) -> io::Result<String> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(FILE);
    match read_file(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => create(directory, &path),
        read => read,
    }
}

/// Reads the secret of a data directory, and makes nothing.
///
/// # Errors
/// What the file system says, or that there is no secret.
pub fn read(directory: &Path) -> io::Result<String> {
    read_file(&directory.join(FILE))
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut secret = String::new();
    File::open(path)?.read_to_string(&mut secret)?;
    let secret = secret.trim().to_owned();
    if secret.len() < crate::config::Config::SHORTEST_SECRET {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("{} holds no secret", path.display())));
    }
    Ok(secret)
}

/// Writes it aside and links it into place, so that of two processes that start at once both end up
/// with the same whole secret.
fn create(directory: &Path, path: &Path) -> io::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let aside = directory.join(format!("{FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&aside, path);
    std::fs::remove_file(&aside)?;
    match linked {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => read_file(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let secret = read_or_create(&data).unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(read_or_create(&data).unwrap(), secret);
        assert_eq!(std::fs::metadata(data.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_holds_no_secret_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "short").unwrap();
        assert!(read_or_create(directory.path()).is_err());
    }
}
