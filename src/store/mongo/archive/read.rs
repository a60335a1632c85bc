//! Reading one client at one moment.

use std::time::{Duration, Instant};

use bson::raw::RawDocument;
use bson::{Document, RawDocumentBuf, doc};
use futures_util::StreamExt;
use mongodb::options::FindOptions;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{ClientSession, Database};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::counter::Counter;
use super::super::intent::pending;
use super::super::{backoff::Backoff, standalone};
use super::{Pending, failed};
use crate::model::ClientId;
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveError, Books, CHUNK_BYTES, CHUNK_RECORDS, Chunk, ChunkSender, Chunks, Head, Part, UNREADABLE,
    archived_receipt, channel,
};

/// One snapshot, for as long as the database keeps it: five minutes, if nothing else is set there.
pub(super) async fn snapshot(db: &Database, client: &ClientId, left: Pending) -> Result<Books, ArchiveError> {
    // Left from a time when it was a lone mongod.
    wait_for_intents(db, client, left).await?;
    let session = db.client().start_session().snapshot(true).await.map_err(failed)?;
    begin(db, client, Some(session)).await
}

/// What a lone mongod holds between two batches. The stream ends with an error if there was one meanwhile.
pub(super) async fn between_batches(db: &Database, client: &ClientId, left: Pending) -> Result<Books, ArchiveError> {
    wait_for_intents(db, client, left).await?;
    begin(db, client, None).await
}

/// Waits until no batch is decided and not applied. A server that lives has applied it within seconds. If there is
/// none, the batch may be finished here: whatever is done for an intent can be done twice.
pub(super) async fn wait_for_intents(db: &Database, client: &ClientId, left: Pending) -> Result<(), ArchiveError> {
    /// Longer than a server works on one.
    const LONGEST: Duration = Duration::from_secs(12);
    let (began, mut backoff) = (Instant::now(), Backoff::new());
    while is_pending(db, client).await? {
        match left {
            _ if began.elapsed() < LONGEST => {}
            Pending::Finish => standalone::finish_pending(db, client.object_id()).await?,
            Pending::Leave => return Err(ArchiveError::Pending(*client)),
        }
        backoff.wait().await;
    }
    Ok(())
}

async fn is_pending(db: &Database, client: &ClientId) -> Result<bool, ArchiveError> {
    Ok(!pending(db, Some(client.object_id())).await.map_err(failed)?.is_empty())
}

async fn begin(db: &Database, client: &ClientId, session: Option<ClientSession>) -> Result<Books, ArchiveError> {
    let (head_sender, head) = oneshot::channel();
    let (sender, records) = channel();
    let mut reading = Reading { db: db.clone(), client: *client, session };
    Handle::current().spawn(async move {
        let counter = reading.counter().await;
        let read = match &counter {
            Ok(counter) => counter.clone(),
            Err(_) => Counter::default(),
        };
        let failed = counter.is_err();
        // Nobody to tell is nobody to care, here and below.
        let _ = head_sender.send(counter);
        if failed {
            return;
        }
        if let Err(error) = reading.send_all(&read, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let gone = |_| StoreError::Internal("the reader is gone".to_owned());
    let counter = head.await.map_err(gone)??;
    if counter.importing {
        return Err(ArchiveError::Unfinished(*client));
    }
    Ok(Books { head: Head { revision: counter.revision, next_invoice: counter.next_invoice }, records })
}

struct Reading {
    db: Database,
    client: ClientId,
    /// `None` on a lone mongod, which has no snapshots.
    session: Option<ClientSession>,
}

impl Reading {
    async fn counter(&mut self) -> Result<Counter, ArchiveError> {
        Counter::load(&self.db, self.session.as_mut(), self.client.object_id()).await.map_err(failed)
    }

    async fn send_all(&mut self, before: &Counter, sender: &ChunkSender) -> Result<(), ArchiveError> {
        for part in Part::ALL {
            self.send_part(part, sender).await?;
        }
        if self.session.is_none() {
            let moved = is_pending(&self.db, &self.client).await? || self.counter().await? != *before;
            if moved {
                return Err(ArchiveError::Moved(self.client));
            }
        }
        Ok(())
    }

    async fn send_part(&mut self, part: Part, sender: &ChunkSender) -> Result<(), ArchiveError> {
        let Self { db, client, session } = self;
        send(db, client, session.as_mut(), part, sender).await
    }
}

async fn send(
    db: &Database,
    client: &ClientId,
    session: Option<&mut ClientSession>,
    part: Part,
    sender: &ChunkSender,
) -> Result<(), ArchiveError> {
    let collection = db.collection::<RawDocumentBuf>(part.name());
    let find = collection.find(filter(client, part)).with_options(options(part));
    match session {
        Some(session) => {
            let mut cursor = find.session(&mut *session).batch().await.map_err(failed)?;
            let mut batches = cursor.stream(session);
            while let Some(batch) = batches.next().await {
                if !pass_on(client, part, &batch.map_err(failed)?, sender).await? {
                    return Ok(());
                }
            }
        }
        None => {
            let mut batches = find.batch().await.map_err(failed)?;
            while let Some(batch) = batches.next().await {
                if !pass_on(client, part, &batch.map_err(failed)?, sender).await? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The books of a client that is being written, which nobody else reads or writes.
pub(super) fn under_the_marker(db: &Database, client: &ClientId) -> Chunks {
    let (sender, records) = channel();
    let (db, client) = (db.clone(), *client);
    Handle::current().spawn(async move {
        for part in Part::BOOKS {
            if let Err(error) = send(&db, &client, None, part, &sender).await {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    });
    records
}

/// Which records of a collection are this client's.
pub(super) fn filter(client: &ClientId, part: Part) -> Document {
    let owner = if part == Part::Account { "_id" } else { "clientId" };
    doc! { owner: client.object_id() }
}

/// No index is named: a check also reads a database that lacks them.
fn options(part: Part) -> FindOptions {
    let order = match part {
        Part::Receipts => doc! { "key": 1 },
        Part::LocalIds => doc! { "localId": 1 },
        _ => doc! { "_id": 1 },
    };
    FindOptions::builder().sort(order).allow_disk_use(true).batch_size(CHUNK_RECORDS as u32).build()
}

/// Sends the records of an answer. False if nobody takes them any more.
async fn pass_on(client: &ClientId, part: Part, batch: &RawBatch, sender: &ChunkSender) -> Result<bool, ArchiveError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for record in batch.doc_slices().map_err(failed)? {
        let record: Option<&RawDocument> = record.map_err(|e| failed(e.into()))?.as_document();
        let Some(record) = record else { continue };
        let decoded = if part == Part::Receipts { archived_receipt(client, record) } else { Ok(record.to_owned()) };
        let Ok(record) = decoded else {
            let before = Chunk { part, records: std::mem::take(&mut records) };
            let id = record.get_str("key").unwrap_or("without a key").to_owned();
            let error = ArchiveError::Record { client: *client, part: part.name(), id, why: UNREADABLE.to_owned() };
            if sender.send(Ok(before)).await.is_err() || sender.send(Err(error)).await.is_err() {
                return Ok(false);
            }
            continue;
        };
        bytes += record.as_bytes().len();
        records.push(record);
        if bytes >= CHUNK_BYTES {
            bytes = 0;
            let chunk = Chunk { part, records: std::mem::take(&mut records) };
            if sender.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(records.is_empty() || sender.send(Ok(Chunk { part, records })).await.is_ok())
}
