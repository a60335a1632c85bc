//! How servers and databases are started to be broken, and how they are stopped, paused and put back.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::mongod::Mongod;
use super::scratch;
use super::server::{Server, Setup};

/// What a store's directory held when it was copied.
pub struct Backup(TempDir);

impl Backup {
    /// Copies a directory that nobody writes to.
    pub fn of(directory: &Path) -> Self {
        let copy = scratch::fresh_dir("backup-");
        copy_files(directory, copy.path()).expect("a copy of a store's files");
        Self(copy)
    }

    /// Makes a directory what it was when it was copied.
    pub fn put_back(&self, directory: &Path) {
        fs::remove_dir_all(directory).expect("a directory that nobody uses");
        fs::create_dir(directory).expect("a directory");
        copy_files(self.0.path(), directory).expect("a copy of a store's files");
    }
}

impl Setup {
    /// The embedded engine on the data in this directory.
    pub fn in_directory(path: &Path) -> Self {
        Self::common().data_dir(path)
    }

    /// A database at this connection string.
    pub fn at_url(url: &str, database: &str) -> Self {
        Self::common().env("MONGO_URL", url).database(database)
    }

    /// The same with one more argument on the command line.
    pub fn with_argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

impl Server {
    /// Whether it has printed this line, or does within that time.
    pub fn halted(&self, line: &str, within: Duration) -> bool {
        self.child.find_line(within, |printed| (printed == line).then_some(())).is_some()
    }
}

impl Mongod {
    /// The address that it listens on.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has it write down everything and end.
    pub fn shut_down(&self) {
        self.child.terminate();
        self.child.exit(SHUT_DOWN_DEADLINE).expect("mongod ends after SIGTERM");
    }

    /// Where it keeps its data.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_files(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

/// How long an orderly end of mongod may take.
const SHUT_DOWN_DEADLINE: Duration = Duration::from_secs(60);
