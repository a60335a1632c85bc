//! Where a result is written: known to be a good place before the work, and left as it was if nothing comes of it.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file that can be written. Dropping it removes what opening it has made.
#[derive(Debug)]
pub(super) struct Place<'a> {
    path: &'a Path,
    is_new: bool,
}

/// Why a file cannot be written, in one line.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {why}", .path.display())]
pub struct PlaceError {
    path: PathBuf,
    why: io::Error,
}

impl<'a> Place<'a> {
    /// Finds out whether the file can be written. What is in it stays.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn open(path: &'a Path) -> Result<Self, PlaceError> {
        let opened = match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(_) => Ok(true),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().append(true).open(path).map(|_| false)
            }
            Err(why) => Err(why),
        };
        let is_new = opened.map_err(|why| PlaceError { path: path.to_owned(), why })?;
        Ok(Self { path, is_new })
    }

    /// Writes the file, in place of what is in it.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn put(mut self, text: &str) -> Result<(), PlaceError> {
        fs::write(self.path, text).map_err(|why| PlaceError { path: self.path.to_owned(), why })?;
        self.is_new = false;
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_new {
            // It is empty, or a part of a page: nobody misses it.
            let _ = fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_used_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new.html"), directory.path().join("old.html"));
        fs::write(&old, "old").unwrap();
        for path in [&new, &old] {
            drop(Place::open(path).unwrap());
        }
        assert!(!new.exists() && fs::read(&old).unwrap() == b"old");
        for path in [&new, &old] {
            Place::open(path).unwrap().put("page").unwrap();
            assert_eq!(fs::read(path).unwrap(), b"page");
        }
        Place::open(&directory.path().join("none/page.html")).unwrap_err();
    }
}
