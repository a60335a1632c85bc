//! The embedded engine: one redb file, one writer thread, readers that never wait for it.

mod account;
mod archive;
mod entry;
mod file;
mod scan;
mod tables;
mod underway;
mod unwritten;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bson::{Document, RawDocumentBuf};
use redb::{Database, ReadTransaction, ReadableDatabase};

use super::archive::Part;
use super::cache::{DatasetCache, Known, Times};
use super::gather::Gathered;
use super::pull::{Reading, most_changed};
use super::{
    After, Data, DatasetMemory, ExecuteError, FullReason, Health, Mode, Moment, Outcome, Pull, Standing, Store,
    StoreError, Wanted,
};
use crate::model::{ClientId, Collection, Cursor, Lineage, Position, Revision, SessionId, StoreId};
use crate::plan::{Planner, ReadSet, Snapshot};
pub use archive::EmbeddedArchive;
use file::BookFile;
use tables::Tables;
use writer::Writer;

/// The books of all clients in one file.
#[derive(Debug)]
pub struct EmbeddedStore {
    writer: Writer,
    file: Arc<BookFile>,
    id: StoreId,
    cache: Arc<DatasetCache>,
    most_held: usize,
}

/// The file has one process, so what is known of it never ceases to hold.
const EPOCH: u64 = 0;

/// Why the file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is locked.
    #[error("the data in {} are in use by another process", .0.display())]
    InUse(PathBuf),
    /// There is no file to read.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// The directory cannot be made or written.
    #[error("cannot use the data directory {}: {}", .0.display(), .1)]
    Directory(PathBuf, io::Error),
    /// The file is no store of ours, or broken.
    #[error("cannot open the store in {}: {}", .0.display(), .1)]
    Database(PathBuf, redb::Error),
}

impl EmbeddedStore {
    /// Opens the store in a directory, and makes both if they are not there. `receipt_days` is how long
    /// receipts are kept; 0 keeps them for ever.
    ///
    /// # Errors
    /// [`OpenError`], in particular if another process has the file open.
    pub fn open(directory: &Path, receipt_days: u32, memory: DatasetMemory) -> Result<Self, OpenError> {
        let (file, id) = BookFile::open(directory)?;
        let (file, cache) = (Arc::new(file), Arc::new(DatasetCache::new(memory)));
        let writer = Writer::start(Arc::clone(&file), Arc::clone(&cache), receipt_days);
        Ok(Self { writer, file, id, cache, most_held: memory.most_held() })
    }

    /// Puts records of a client as they are, less their `clientId`, which is set. For moving data here
    /// from elsewhere: no rule looks at them, and the client's revision stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was put then.
    pub fn import(&self, client: &ClientId, collection: Collection, records: Vec<Document>) -> Result<(), StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_write().map_err(failed)?;
            let mut tables = Tables::open(&transaction)?;
            for mut fields in records {
                fields.insert("clientId", client.object_id());
                let record = RawDocumentBuf::try_from(&fields).map_err(|e| StoreError::Internal(e.to_string()))?;
                tables.put(client, Part::Data(collection), record)?;
            }
            drop(tables);
            transaction.commit().map_err(failed)?;
            self.cache.forget(EPOCH, *client);
            Ok(())
        })
    }

    /// Sets a client's commit counter and the number of its next invoice.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was set then.
    pub fn import_counters(&self, client: &ClientId, revision: Revision, next_invoice: i64) -> Result<(), StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_write().map_err(failed)?;
            Tables::open(&transaction)?.set_counters(client, revision, next_invoice)?;
            transaction.commit().map_err(failed)
        })
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn execute(&self, client: &ClientId, planner: Arc<dyn Planner>, _: Wanted) -> Result<Outcome, ExecuteError> {
        self.writer.execute(*client, planner).await
    }

    async fn snapshot(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        let (file, client, reads) = (Arc::clone(&self.file), *client, reads.clone());
        blocking(move || {
            file.read(|database| Tables::open(&database.begin_read().map_err(failed)?)?.load(&client, &reads))
        })
        .await
    }

    async fn dataset(&self, client: &ClientId, wanted: Wanted, after: Option<&After>) -> Result<Pull, StoreError> {
        let moment = after.map(|after| after.moment);
        if let (Wanted::Nothing, Some(moment)) = (wanted, moment) {
            return Ok(Pull::nothing(self.id, *client, moment, true));
        }
        if let Some(known) = moment.and_then(|moment| self.cache.reached(EPOCH, *client, moment.position)) {
            self.cache.hit();
            return Ok(known.pull(self.id, *client, wanted));
        }
        let reader = Reader {
            file: Arc::clone(&self.file),
            cache: Arc::clone(&self.cache),
            id: self.id,
            client: *client,
            most_held: self.most_held,
        };
        blocking(move || reader.file.read(|database| reader.read(database, wanted))).await
    }

    async fn standing(&self, client: &ClientId, session: SessionId) -> Result<Standing, StoreError> {
        let (file, client) = (Arc::clone(&self.file), *client);
        blocking(move || file.read(|database| account::standing(database, &client, session))).await
    }

    async fn ping(&self) -> Result<Health, StoreError> {
        // A store that can only be read is not a healthy one.
        self.writer.check()?;
        let file = Arc::clone(&self.file);
        blocking(move || file.read(|database| database.begin_read().map(drop).map_err(failed))).await?;
        Ok(Health { engine: "embedded", transactional: true })
    }

    fn measure(&self) {
        self.cache.measure();
    }
}

/// Reads the dataset of one client.
struct Reader {
    file: Arc<BookFile>,
    cache: Arc<DatasetCache>,
    id: StoreId,
    client: ClientId,
    most_held: usize,
}

impl Reader {
    fn read(&self, database: &Database, wanted: Wanted) -> Result<Pull, StoreError> {
        let transaction = database.begin_read().map_err(failed)?;
        let (revision, lineage) = tables::state(&transaction, &self.client)?;
        let position = lineage.at(revision);
        if let Some(known) = self.cache.at(EPOCH, self.client, position) {
            self.cache.hit();
            return Ok(known.pull(self.id, self.client, wanted));
        }
        let moment = Moment { position, time: 0 };
        let (mode, data) = match wanted.reading(self.id, revision, &lineage) {
            Reading::Nothing => return Ok(Pull::nothing(self.id, self.client, moment, true)),
            Reading::Full(reason) => (Mode::Full(reason), self.all(&transaction, position, lineage)?),
            Reading::Since(since) => {
                let changed =
                    scan::changed_since(&transaction, &self.client, since, revision, most_changed(self.most_held))?;
                match changed {
                    Some(changed) => (Mode::Delta, Data::Ready(changed.pieces().collect())),
                    None => (Mode::Full(FullReason::CursorExpired), self.all(&transaction, position, lineage)?),
                }
            }
        };
        self.cache.missed();
        let cursor = Cursor { store: self.id, client: self.client, position };
        Ok(Pull { cursor, mode, data, moment, exact: true })
    }

    fn all(&self, transaction: &ReadTransaction, position: Position, lineage: Lineage) -> Result<Data, StoreError> {
        let all = scan::all(transaction, &self.client, self.most_held)?;
        if let Gathered::Whole(dataset) = &all {
            let (lineage, dataset, times) = (Arc::new(lineage), dataset.clone(), Times::default());
            let known = Known { position, lineage, dataset, times };
            self.cache.keep(EPOCH, self.client, known);
        }
        Ok(all.into_data())
    }
}

/// Runs blocking reads where they hold up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(StoreError::Internal("a task failed".to_owned())))
}

/// A failure of redb in the store's terms: what the file system did is for a retry once the file is open
/// again, all else is a bug.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    use redb::Error::{DatabaseClosed, Io, LockPoisoned, PreviousIo};
    match error.into() {
        error @ (Io(_) | PreviousIo | DatabaseClosed | LockPoisoned(_)) => StoreError::Unavailable(error.to_string()),
        error => StoreError::Internal(error.to_string()),
    }
}
