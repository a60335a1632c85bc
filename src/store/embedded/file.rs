//! The file, which is opened again after an I/O error: redb then refuses all further work, because it no
//! longer knows what is on the disk.
//!
//! What was committed is there afterwards, since a commit that returned is on the disk. One that failed is
//! there as a whole or not at all; the receipt in it tells which.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, TableDefinition};

use super::super::StoreError;
use super::unwritten::Unwritten;
use super::{OpenError, failed, tables};
use crate::model::StoreId;

/// The file of all books. While it is closed for a moment, nobody else can open it.
#[derive(Debug)]
pub(super) struct BookFile {
    current: RwLock<Current>,
    directory: PathBuf,
    /// Of the directory. redb's own lock ends when the file is closed, and this one with the store.
    _lock: File,
}

#[derive(Debug)]
struct Current {
    /// `None` if it could not be opened again.
    database: Option<Database>,
    opening: Opening,
}

/// Which one of the times that the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening(u64);

/// What [`BookFile::probe`] writes.
const PROBE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("probe");

impl BookFile {
    const NAME: &str = "viveka-sync.redb";
    /// Bytes of the file that are kept in memory.
    const CACHE_BYTES: usize = 32 << 20;
    /// With less room than this the store does not go on after an I/O error.
    const ROOM: usize = 1 << 20;

    /// Opens the file in a directory, and makes both if they are not there. Says which store it is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<(Self, StoreId), OpenError> {
        let own = |e| OpenError::Directory(directory.to_owned(), e);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(own)?;
        let lock = File::open(directory).map_err(own)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(directory.to_owned())),
            // Not every file system locks directories. The file itself is locked in any case.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "the data directory cannot be locked"),
            Ok(()) => {}
        }
        let database = open(directory)?;
        // A new file survives a power loss only once its directory does.
        lock.sync_all().map_err(own)?;
        let id = tables::create(&database).and_then(|()| tables::store_id(&database.begin_read()?));
        let id = id.map_err(|e| OpenError::Database(directory.to_owned(), e))?;
        let current = Current { database: Some(database), opening: Opening(0) };
        Ok((Self { current: RwLock::new(current), directory: directory.to_owned(), _lock: lock }, id))
    }

    /// Works on the database, which stays open until the work is done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after an I/O error, until the file is opened again.
    pub fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.current().database {
            Some(database) => work(database),
            None => Err(StoreError::Unavailable("the file could not be opened again".to_owned())),
        }
    }

    /// Reads, and once more if the file had to be opened again for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read<T>(&self, work: impl Fn(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let opening = self.opening();
        match self.with(&work) {
            Err(StoreError::Unavailable(error)) => {
                tracing::debug!(error, "reading failed; opening the file again");
                self.reopen(opening)?;
                self.with(work)
            }
            read => read,
        }
    }

    /// Ask before the work that may fail.
    pub fn opening(&self) -> Opening {
        self.current().opening
    }

    /// Closes the file that was opened then and opens it again, unless somebody has done so already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that fails. The file is closed then.
    pub fn reopen(&self, failed: Opening) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.opening != failed {
            return Ok(());
        }
        // Closing writes nothing after an I/O error.
        drop(current.database.take());
        let database = open(&self.directory).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        *current = Current { database: Some(database), opening: Opening(failed.0 + 1) };
        Ok(())
    }

    /// Finds out whether there is room again, by taking some and giving it back.
    ///
    /// # Errors
    /// [`StoreError`] if there is none.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.with(|database| {
            // Two commits: what one transaction makes and removes never gets to the disk.
            let write = || -> Result<(), redb::Error> {
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                transaction.open_table(PROBE)?.insert((), &[0xa5; Self::ROOM][..])?;
                transaction.commit()?;
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                transaction.delete_table(PROBE)?;
                Ok(transaction.commit()?)
            };
            write().map_err(failed)
        })
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file, open for somebody who only reads. Servers are kept away meanwhile, and other readers are not.
pub(super) struct ReadOnlyFile {
    database: Box<dyn ReadableDatabase + Send + Sync>,
    _lock: File,
}

impl ReadOnlyFile {
    /// Opens the file in a directory. One that its last process did not close, because it was killed, is put in order
    /// first, as any opening does; else nothing is written.
    ///
    /// # Errors
    /// [`OpenError`], in particular if there is no file, or if a server has it open.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(BookFile::NAME);
        if !path.exists() {
            return Err(OpenError::Missing(directory.to_owned()));
        }
        let lock = File::open(directory).map_err(|e| OpenError::Directory(directory.to_owned(), e))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock_shared() {
            return Err(OpenError::InUse(directory.to_owned()));
        }
        let database: Box<dyn ReadableDatabase + Send + Sync> = match redb::ReadOnlyDatabase::open(&path) {
            Ok(database) => Box::new(database),
            Err(DatabaseError::RepairAborted) => Box::new(open(directory)?),
            Err(error) => return Err(unopened(directory, error)),
        };
        Ok(Self { database, _lock: lock })
    }

    /// A snapshot of everything.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.database.begin_read().map_err(failed)
    }
}

/// Where the file of a directory is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(BookFile::NAME)
}

/// Reads all of the file in a directory, and compares it with its checksums. Writes nothing.
///
/// # Errors
/// [`OpenError`] if the file cannot be read.
pub(super) fn is_intact(directory: &Path) -> Result<bool, OpenError> {
    let failed = |e: DatabaseError| match e.into() {
        redb::Error::Corrupted(_) => Ok(false),
        other => Err(OpenError::Database(directory.to_owned(), other)),
    };
    let file = Unwritten::open(&path(directory)).map_err(|e| OpenError::Directory(directory.to_owned(), e))?;
    match Database::builder().set_cache_size(BookFile::CACHE_BYTES).create_with_backend(file) {
        Ok(mut database) => database.check_integrity().or_else(failed),
        Err(error) => failed(error),
    }
}

fn open(directory: &Path) -> Result<Database, OpenError> {
    let mut file = OpenOptions::new();
    let file = file.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(directory.join(BookFile::NAME)).map_err(|e| OpenError::Directory(directory.to_owned(), e))?;
    let database = Database::builder().set_cache_size(BookFile::CACHE_BYTES).create_file(file);
    database.map_err(|e| unopened(directory, e))
}

fn unopened(directory: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(directory.to_owned()),
        other => OpenError::Database(directory.to_owned(), other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_file_is_opened_once_more_and_by_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let (file, _) = BookFile::open(directory.path()).unwrap();
        let first = file.opening();
        let closed = file.current.write().unwrap().database.take();
        drop(closed);
        assert!(matches!(BookFile::open(directory.path()), Err(OpenError::InUse(_))));
        assert!(matches!(file.probe(), Err(StoreError::Unavailable(_))));

        file.read(|database| database.begin_read().map(drop).map_err(failed)).unwrap();
        let second = file.opening();
        assert_ne!(second, first);
        file.reopen(first).unwrap();
        assert_eq!(file.opening(), second, "somebody was quicker");
        file.probe().unwrap();
    }
}
