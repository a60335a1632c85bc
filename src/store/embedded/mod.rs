//! The embedded engine: one redb file, one writer thread, readers that never wait for it.

mod tables;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bson::Document;
use redb::{Database, ReadableDatabase};

use super::records::{Change, ChangeKind, Table};
use super::{ExecuteError, Health, Outcome, Store, StoreError};
use crate::dataset::Dataset;
use crate::model::{ClientId, Collection, Revision};
use crate::plan::{Planner, ReadSet, Snapshot};
use tables::Tables;
use writer::Writer;

/// The books of all clients in one file.
#[derive(Debug)]
pub struct EmbeddedStore {
    writer: Writer,
    database: Arc<Database>,
}

/// Why the file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is locked.
    #[error("the data in {} are in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be made or written.
    #[error("cannot use the data directory {}: {}", .0.display(), .1)]
    Directory(PathBuf, io::Error),
    /// The file is no store of ours, or broken.
    #[error("cannot open the store in {}: {}", .0.display(), .1)]
    Database(PathBuf, redb::Error),
}

impl EmbeddedStore {
    const FILE: &str = "viveka-sync.redb";
    /// Bytes of the file that are kept in memory.
    const CACHE_BYTES: usize = 32 << 20;

    /// Opens the store in a directory, and makes both if they are not there. `receipt_days` is how long
    /// receipts are kept; 0 keeps them for ever.
    ///
    /// # Errors
    /// [`OpenError`], in particular if another process has the file open.
    pub fn open(directory: &Path, receipt_days: u32) -> Result<Self, OpenError> {
        let own = |e| OpenError::Directory(directory.to_owned(), e);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(own)?;
        let failed = |e| OpenError::Database(directory.to_owned(), e);
        let mut file = OpenOptions::new();
        let file = file.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(directory.join(Self::FILE)).map_err(own)?;
        let database = Database::builder().set_cache_size(Self::CACHE_BYTES).create_file(file);
        let database = database.map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(directory.to_owned()),
            other => failed(other.into()),
        })?;
        // A new file survives a power loss only once its directory does.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(own)?;
        tables::create(&database).map_err(failed)?;
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database), receipt_days);
        Ok(Self { writer, database })
    }

    /// Puts records of a client as they are, less their `clientId`, which is set. For moving data here
    /// from elsewhere: no rule looks at them, and the client's revision stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was put then.
    pub fn import(&self, client: &ClientId, collection: Collection, records: Vec<Document>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let mut tables = Tables::open(&transaction)?;
        for mut fields in records {
            let id = fields.get_object_id("_id").map_err(|e| StoreError::Internal(e.to_string()))?;
            fields.insert("clientId", client.object_id());
            tables.apply(client, &Change { table: Table::Data(collection), id, kind: ChangeKind::Insert, fields })?;
        }
        drop(tables);
        transaction.commit().map_err(failed)
    }

    /// Sets a client's commit counter and the number of its next invoice.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was set then.
    pub fn import_counters(&self, client: &ClientId, revision: Revision, next_invoice: i64) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        Tables::open(&transaction)?.set_counters(client, revision, next_invoice)?;
        transaction.commit().map_err(failed)
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn execute(&self, client: &ClientId, planner: Arc<dyn Planner>) -> Result<Outcome, ExecuteError> {
        self.writer.execute(*client, planner).await
    }

    async fn snapshot(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        let (database, client, reads) = (Arc::clone(&self.database), *client, reads.clone());
        blocking(move || Tables::open(&database.begin_read().map_err(failed)?)?.load(&client, &reads)).await
    }

    async fn dataset(&self, client: &ClientId) -> Result<Dataset, StoreError> {
        let (database, client) = (Arc::clone(&self.database), *client);
        blocking(move || tables::dataset(&database.begin_read().map_err(failed)?, &client)).await
    }

    async fn ping(&self) -> Result<Health, StoreError> {
        let database = Arc::clone(&self.database);
        blocking(move || database.begin_read().map(drop).map_err(failed)).await?;
        Ok(Health { engine: "embedded", transactional: true })
    }
}

/// Runs blocking reads where they hold up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(StoreError::Internal(e.to_string())))
}

/// A failure of redb in the store's terms: what the file system did is for a retry, all else is a bug.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        error @ (redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
            StoreError::Unavailable(error.to_string())
        }
        error => StoreError::Internal(error.to_string()),
    }
}
