//! Whole clients of the file, read and written beside the server, which must not run.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use bson::raw::RawDocument;
use redb::{Database, ReadTransaction, WriteTransaction};
use tokio::runtime::Handle;

use super::super::StoreError;
use super::super::archive::{
    Accounts, Archive, ArchiveError, ArchiveId, Books, CHUNK_BYTES, CHUNK_RECORDS, Chunk, ChunkSender, Counters,
    Finding, Incoming, Landed, Part, Severity, Source, Sums, Tally, UNREADABLE, archived_receipt, channel, compare,
};
use super::file::{self, BookFile, ReadOnlyFile};
use super::tables::{Tables, whole};
use super::{OpenError, failed};
use crate::clock;
use crate::model::{ClientId, Lineage, StoreId};

/// The file of all books, in the hands of an operator's command. Servers are kept away as long as it is open.
pub struct EmbeddedArchive {
    directory: PathBuf,
    file: Arc<Access>,
    store: Option<StoreId>,
}

enum Access {
    Read(ReadOnlyFile),
    Write(BookFile),
}

impl EmbeddedArchive {
    /// The engine's name.
    const ENGINE: &str = "embedded";

    /// Opens the file in a directory to be read.
    ///
    /// # Errors
    /// [`ArchiveError`], in particular if a server has it open, or if there is none.
    pub fn open_to_read(directory: &Path) -> Result<Self, ArchiveError> {
        let file = ReadOnlyFile::open(directory)?;
        let store =
            super::tables::store_id(&file.begin_read()?).map_err(|e| OpenError::Database(directory.to_owned(), e))?;
        Ok(Self { directory: directory.to_owned(), file: Arc::new(Access::Read(file)), store: Some(store) })
    }

    /// Opens the file in a directory to be written, and makes both if they are not there.
    ///
    /// # Errors
    /// [`ArchiveError`], in particular if a server has it open.
    pub fn open_to_write(directory: &Path) -> Result<Self, ArchiveError> {
        let (file, store) = BookFile::open(directory)?;
        Ok(Self { directory: directory.to_owned(), file: Arc::new(Access::Write(file)), store: Some(store) })
    }

    async fn read_with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let file = Arc::clone(&self.file);
        blocking(move || Ok(work(&file.begin_read()?)?)).await
    }
}

impl Access {
    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match self {
            Self::Read(file) => file.begin_read(),
            Self::Write(file) => file.with(|database| redb::ReadableDatabase::begin_read(database).map_err(failed)),
        }
    }
}

#[async_trait]
impl Archive for EmbeddedArchive {
    fn source(&self) -> Source {
        Source { engine: Self::ENGINE.to_owned(), store: self.store }
    }

    async fn clients(&self) -> Result<BTreeSet<ClientId>, ArchiveError> {
        self.read_with(whole::clients).await
    }

    async fn read(&self, client: &ClientId) -> Result<Books, ArchiveError> {
        let client = *client;
        let file = Arc::clone(&self.file);
        blocking(move || {
            let transaction = file.begin_read()?;
            let head = Tables::open(&transaction)?.head(&client)?;
            let (sender, records) = channel();
            Handle::current().spawn(async move {
                // The file stays open until all is read.
                let all = (sender.clone(), file);
                let sent = blocking(move || Ok(send_all(&transaction, &client, &all.0)?)).await;
                // Records that merely cease to come would pass for all of them. Nobody to tell is nobody to care.
                if let Err(error) = sent {
                    let _ = sender.send(Err(error)).await;
                }
            });
            Ok(Books { head, records })
        })
        .await
    }

    async fn write(&self, incoming: Incoming) -> Result<Landed, ArchiveError> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let Access::Write(file) = &*file else {
                return Err(StoreError::Internal("the file is open to be read".to_owned()).into());
            };
            write(file, incoming)
        })
        .await
    }

    /// One transaction leaves nothing.
    async fn discard(&self, _: &ClientId, _: Option<&ArchiveId>) -> Result<bool, ArchiveError> {
        Ok(false)
    }

    async fn findings(&self) -> Result<Vec<Finding>, ArchiveError> {
        Ok(Vec::new())
    }

    async fn findings_of(&self, client: &ClientId) -> Result<Vec<Finding>, ArchiveError> {
        let client = *client;
        self.read_with(move |transaction| Tables::open(transaction)?.findings_of(&client)).await
    }

    async fn counters(&self, client: &ClientId) -> Result<Counters, ArchiveError> {
        let client = *client;
        self.read_with(move |transaction| Tables::open(transaction)?.counters(&client)).await
    }

    async fn damage(&self) -> Result<Vec<Finding>, ArchiveError> {
        let directory = self.directory.clone();
        // Pages that are not what they seem may also let redb stumble, which is a finding and no failure.
        let is_intact = tokio::task::spawn_blocking(move || file::is_intact(&directory)).await.unwrap_or(Ok(false))?;
        if is_intact {
            return Ok(Vec::new());
        }
        let why = format!(
            "{} is damaged: what is in it is not what was written, by its own checksums; keep it, look after the disk, \
             and restore a backup",
            file::path(&self.directory).display()
        );
        Ok(vec![Finding::of_the_store(Severity::Problem, None, why)])
    }
}

/// Sends everything of a client, some at a time, until it is all or nobody takes it any more.
fn send_all(transaction: &ReadTransaction, client: &ClientId, sender: &ChunkSender) -> Result<(), StoreError> {
    let tables = Tables::open(transaction)?;
    for part in Part::ALL {
        let mut filling = Filling { part, records: Vec::new(), bytes: 0, sender };
        if part.is_foreign() {
            whole::visit_accounts(transaction, client, part, |name, record| filling.push(client, name, record))?;
        } else {
            tables.visit(client, part, |name, record| filling.push(client, name, record))?;
        }
        filling.send()?;
    }
    Ok(())
}

/// A stored record in the form in which it is archived.
fn archived<'a>(client: &ClientId, part: Part, record: &'a [u8]) -> Result<Cow<'a, [u8]>, StoreError> {
    if part != Part::Receipts {
        return Ok(Cow::Borrowed(record));
    }
    let record = RawDocument::from_bytes(record).map_err(unreadable)?;
    Ok(Cow::Owned(archived_receipt(client, record)?.into_bytes()))
}

/// A chunk that grows until it is worth to be sent.
struct Filling<'a> {
    part: Part,
    records: Vec<RawDocumentBuf>,
    bytes: usize,
    sender: &'a ChunkSender,
}

impl Filling<'_> {
    /// Adds a record, or says that it cannot be read.
    fn push(&mut self, client: &ClientId, name: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let decoded = archived(client, self.part, record)
            .and_then(|record| RawDocumentBuf::from_bytes(record.into_owned()).map_err(unreadable));
        let Ok(record) = decoded else { return self.send_unreadable(client, name) };
        self.bytes += record.as_bytes().len();
        self.records.push(record);
        if self.bytes >= CHUNK_BYTES || self.records.len() >= CHUNK_RECORDS { self.send() } else { Ok(()) }
    }

    fn send_unreadable(&mut self, client: &ClientId, name: &[u8]) -> Result<(), StoreError> {
        self.send()?;
        let id = match (self.part, <[u8; 12]>::try_from(name)) {
            (Part::Receipts | Part::LocalIds, _) | (_, Err(_)) => String::from_utf8_lossy(name).into_owned(),
            (_, Ok(id)) => ObjectId::from_bytes(id).to_hex(),
        };
        let why = UNREADABLE.to_owned();
        let error = ArchiveError::Record { client: *client, part: self.part.name(), id, why };
        self.sender.blocking_send(Err(error)).map_err(|_| gone())
    }

    fn send(&mut self) -> Result<(), StoreError> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let chunk = Chunk { part: self.part, records: std::mem::take(&mut self.records) };
        self.sender.blocking_send(Ok(chunk)).map_err(|_| gone())
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("nobody takes the records any more".to_owned())
}

fn unreadable(error: bson::error::Error) -> StoreError {
    StoreError::Internal(error.to_string())
}

/// Writes a client in one transaction: killed at any moment, the file holds all of it or nothing.
fn write(file: &BookFile, mut incoming: Incoming) -> Result<Landed, ArchiveError> {
    // `with` knows the errors of the store alone.
    let mut landed = None;
    let done = file.with(|database| {
        if let Some(occupied) = occupied(database, &incoming)? {
            landed = Some(Ok(occupied));
            return Ok(());
        }
        let mut transaction = database.begin_write().map_err(failed)?;
        transaction.set_quick_repair(true);
        match fill(&transaction, &mut incoming) {
            Ok(sums) => {
                transaction.commit().map_err(failed)?;
                landed = Some(Ok(Landed::Now(sums)));
            }
            Err(error) => {
                transaction.abort().map_err(failed)?;
                landed = Some(Err(error));
            }
        }
        Ok(())
    });
    done?;
    landed.unwrap_or_else(|| Err(StoreError::Internal("nothing came of the import".to_owned()).into()))
}

/// Whether there are books of the client, so that it is not to be written.
fn occupied(database: &Database, incoming: &Incoming) -> Result<Option<Landed>, StoreError> {
    let reading = redb::ReadableDatabase::begin_read(database).map_err(failed)?;
    if !Tables::open(&reading)?.hold_books_of(&incoming.client)? {
        return Ok(None);
    }
    let imported = whole::imported(&reading, &incoming.client)?;
    Ok(Some(Landed::Occupied { by_this_archive: imported.as_deref() == Some(incoming.archive.0.as_str()) }))
}

/// Writes everything of a client, and reads it back before it is committed.
fn fill(transaction: &WriteTransaction, incoming: &mut Incoming) -> Result<Sums, ArchiveError> {
    let client = incoming.client;
    put_accounts(transaction, &client, &incoming.accounts)?;
    let sent = put_books(transaction, incoming)?;
    let mut tables = Tables::open(transaction)?;
    tables.set_counters(&client, incoming.head.revision, incoming.head.next_invoice)?;
    tables.set_lineage(&client, &Lineage::anew(clock::new_tag()))?;
    drop(tables);
    whole::set_imported(transaction, &client, &incoming.archive.0)?;
    let held = held(transaction, &client)?;
    compare(&client, &sent, held)
}

/// Puts the records of the login service that are not there. One that says something else there is not replaced.
fn put_accounts(transaction: &WriteTransaction, client: &ClientId, accounts: &Accounts) -> Result<(), ArchiveError> {
    for account in accounts.iter() {
        let (part, record) = (account.part, &*account.record);
        part.check(client, record)?;
        refuse_unkept(part, client, record)?;
        match whole::account(transaction, client, part, record)? {
            None => whole::put_account(transaction, client, part, record)?,
            Some(held) if account.is(&held) => {}
            Some(_) => return Err(account.differs(client)),
        }
    }
    Ok(())
}

fn put_books(transaction: &WriteTransaction, incoming: &mut Incoming) -> Result<Sums, ArchiveError> {
    let client = incoming.client;
    let (mut tally, mut tables) = (Tally::default(), Tables::open(transaction)?);
    while let Some(chunk) = incoming.records.blocking_recv() {
        let chunk = chunk?;
        tally.add(&chunk);
        for record in chunk.records {
            chunk.part.check(&client, &record)?;
            refuse_unkept(chunk.part, &client, &record)?;
            tables.put(&client, chunk.part, record)?;
        }
    }
    Ok(tally.finish())
}

/// Refuses a record without what it is to be found by.
fn refuse_unkept(part: Part, client: &ClientId, record: &RawDocument) -> Result<(), ArchiveError> {
    let why = match part {
        Part::Receipts if record.get_str("key").is_err() => "has no key",
        Part::Receipts if record.get_datetime("createdAt").is_err() => "does not say when it was made",
        Part::Receipts => return Ok(()),
        Part::LocalIds if record.get_str("localId").is_err() => "has no local id",
        _ if record.get_object_id("_id").is_err() => "has an _id that the embedded engine cannot keep",
        _ => return Ok(()),
    };
    Err(part.refuse(client, record, why))
}

/// The books as they are in the transaction.
fn held(transaction: &WriteTransaction, client: &ClientId) -> Result<Sums, StoreError> {
    let (mut tally, tables) = (Tally::default(), Tables::open(transaction)?);
    for part in Part::BOOKS {
        tables.visit(client, part, |_, record| {
            tally.add_record(part, &archived(client, part, record)?);
            Ok(())
        })?;
    }
    Ok(tally.finish())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(StoreError::Internal(e.to_string()).into()))
}
