//! Writing one client, under a marker that keeps servers from serving it.
//!
//! The marker is set in the client's own document, with which every batch and every reading begins. Then it is found
//! out that there is nothing of the client yet, and noted; so what an interrupted import has left is known to be its
//! own. Records that are there already are left as they are: at the end all that is held is compared with all that was
//! sent. The last write sets the counters and removes the marker.

use std::collections::HashMap;

use bson::raw::RawDocument;
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Database;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Acknowledgment, WriteConcern};

use super::super::CLIENTS;
use super::super::counter::{Counter, IMPORTING};
use super::super::error::{DUPLICATE_KEY, code};
use super::failed;
use super::read::filter;
use crate::clock;
use crate::model::{ClientId, Lineage, Revision};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveError, ArchiveId, CHUNK_RECORDS, Chunk, Incoming, Landed, Part, Sums, Tally, compare, receipt_of,
};
use crate::store::records::bson;

/// Writes a client, or goes on with what an interrupted import has left. What cannot be taken is taken back, so that
/// the client is as it was.
pub(super) async fn write(db: &Database, mut incoming: Incoming) -> Result<Landed, ArchiveError> {
    let client = incoming.client;
    match claim(db, &client, &incoming.archive).await? {
        Claim::Done(revision) => return Ok(Landed::Before(revision)),
        Claim::Unproven => prove_empty(db, &incoming).await?,
        Claim::Empty => {}
    }
    let mut foreign = Foreign::default();
    let held = fill(db, &mut incoming, &mut foreign).await;
    if let Err(ArchiveError::Record { .. } | ArchiveError::Differs { .. } | ArchiveError::Source(_)) = &held {
        take_back(db, &client, &incoming.archive, &foreign).await?;
    }
    let held = held?;
    publish(db, &incoming).await?;
    Ok(Landed::Now(held))
}

/// Removes what an interrupted import of this archive has left.
pub(super) async fn discard(db: &Database, mut incoming: Incoming) -> Result<bool, ArchiveError> {
    let Incoming { client, archive, .. } = &incoming;
    let Some(document) = document(db, client).await? else { return Ok(false) };
    let Ok(marker) = document.get_document(IMPORTING) else { return Ok(false) };
    if marker.get_str("archive").ok() != Some(archive.0.as_str()) {
        return Err(ArchiveError::Begun(*client));
    }
    let mut foreign = Foreign::default();
    while let Some(chunk) = incoming.records.recv().await {
        foreign.note(&chunk?);
    }
    take_back(db, &incoming.client, &incoming.archive, &foreign).await?;
    Ok(true)
}

/// Removes what an import has written, and its marker. Of the parts that other services write too, only the records that
/// are in the archive.
async fn take_back(
    db: &Database,
    client: &ClientId,
    archive: &ArchiveId,
    foreign: &Foreign,
) -> Result<(), ArchiveError> {
    let document = document(db, client).await?.unwrap_or_default();
    // What was there before the marker is not the import's.
    if let Ok(marker) = document.get_document(IMPORTING)
        && marker.get_bool("empty").unwrap_or(false)
    {
        let parts = marker.get_array("parts").into_iter().flatten().filter_map(|part| part.as_str());
        for part in parts.filter_map(Part::of) {
            let mut records = filter(client, part);
            if part.is_foreign() {
                records = doc! { "$and": [records, { "_id": { "$in": foreign.ids(part) } }] };
            }
            let collection = db.collection::<Document>(part.name());
            collection.delete_many(records).write_concern(durable()).await.map_err(failed)?;
        }
    }
    let own = doc! { "_id": client.object_id(), "importing.archive": &archive.0 };
    db.collection::<Document>(CLIENTS).delete_one(own).write_concern(durable()).await.map_err(failed)?;
    Ok(())
}

/// The records of an archive that are in parts which other services write too, by their ids.
#[derive(Default)]
struct Foreign(HashMap<Part, HashMap<String, Bson>>);

impl Foreign {
    fn note(&mut self, chunk: &Chunk) {
        if chunk.part.is_foreign() {
            let ids = chunk.records.iter().filter_map(|record| id(record)).map(|id| (id.to_string(), id));
            self.0.entry(chunk.part).or_default().extend(ids);
        }
    }

    fn ids(&self, part: Part) -> Vec<&Bson> {
        self.0.get(&part).into_iter().flat_map(HashMap::values).collect()
    }

    /// Leaves out what others have written meanwhile.
    fn retain(&self, chunk: &mut Chunk) {
        if chunk.part.is_foreign() {
            let known = self.0.get(&chunk.part);
            let is_known = |id: Bson| known.is_some_and(|known| known.contains_key(&id.to_string()));
            chunk.records.retain(|record| id(record).is_some_and(is_known));
        }
    }
}

fn id(record: &RawDocument) -> Option<Bson> {
    Bson::try_from(record.get("_id").ok()??).ok()
}

/// Writes the records, and compares what is there then.
async fn fill(db: &Database, incoming: &mut Incoming, foreign: &mut Foreign) -> Result<Sums, ArchiveError> {
    let client = incoming.client;
    let mut sent = Tally::default();
    while let Some(chunk) = incoming.records.recv().await {
        let chunk = chunk?;
        sent.add(&chunk);
        foreign.note(&chunk);
        insert(db, &client, chunk).await?;
    }
    compare(&client, &sent.finish(), held(db, &client, foreign).await?)
}

/// How a client's document stands to the import.
enum Claim {
    /// It was imported from the same archive, to the end.
    Done(Revision),
    /// The marker is set, and what there is of the client is not known.
    Unproven,
    /// The marker is set, and nothing was there of the client then.
    Empty,
}

async fn claim(db: &Database, client: &ClientId, archive: &ArchiveId) -> Result<Claim, ArchiveError> {
    let marked = doc! { "_id": client.object_id(), IMPORTING: { "archive": &archive.0, "empty": false } };
    match db.collection::<Document>(CLIENTS).insert_one(marked).write_concern(durable()).await {
        Ok(_) => return Ok(Claim::Unproven),
        Err(error) if code(&error) == Some(DUPLICATE_KEY) => {}
        Err(error) => return Err(failed(error)),
    }
    let document = document(db, client).await?.ok_or(ArchiveError::Moved(*client))?;
    if let Ok(marker) = document.get_document(IMPORTING) {
        return match marker.get_str("archive") {
            Ok(begun) if begun != archive.0 => Err(ArchiveError::Begun(*client)),
            _ if marker.get_bool("empty").unwrap_or(false) => Ok(Claim::Empty),
            _ => Ok(Claim::Unproven),
        };
    }
    let record = RawDocumentBuf::try_from(&document).map_err(|e| StoreError::Internal(e.to_string()))?;
    let revision = Counter::of(&record).revision;
    match document.get_str("importedFrom") {
        Ok(imported) if imported == archive.0 => Ok(Claim::Done(revision)),
        _ => Err(ArchiveError::Occupied { client: *client, held: format!("revision {}", revision.0) }),
    }
}

/// Finds out that nothing is there of the client, and notes it; or takes the marker back.
async fn prove_empty(db: &Database, incoming: &Incoming) -> Result<(), ArchiveError> {
    let Incoming { client, archive, parts, .. } = incoming;
    // What other services write may be there before the books come, unless the books bring it too.
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| !part.is_foreign() || parts.contains(part)).collect();
    let mut held = Vec::new();
    for part in &parts {
        let collection = db.collection::<Document>(part.name());
        let count = collection.count_documents(filter(client, *part)).await.map_err(failed)?;
        if count > 0 {
            held.push(format!("{part} {count}"));
        }
    }
    let own = doc! { "_id": client.object_id(), "importing.archive": &archive.0 };
    let clients = db.collection::<Document>(CLIENTS);
    if !held.is_empty() {
        clients.delete_one(own).write_concern(durable()).await.map_err(failed)?;
        return Err(ArchiveError::Occupied { client: *client, held: held.join(", ") });
    }
    let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
    let proven = doc! { "$set": { "importing.empty": true, "importing.parts": names } };
    clients.update_one(own, proven).write_concern(durable()).await.map_err(failed)?;
    Ok(())
}

async fn insert(db: &Database, client: &ClientId, chunk: Chunk) -> Result<(), ArchiveError> {
    let Chunk { part, records } = chunk;
    let mut documents = Vec::with_capacity(records.len());
    for record in records {
        part.check(client, &record)?;
        documents.push(match part {
            Part::Receipts => {
                let key = record.get_str("key").map_err(|_| part.refuse(client, &record, "has no key"))?;
                receipt_of(client.object_id(), key, &record)?
            }
            _ => record,
        });
    }
    let collection = db.collection::<RawDocumentBuf>(part.name());
    for documents in documents.chunks(CHUNK_RECORDS) {
        let inserted = collection.insert_many(documents).ordered(false).write_concern(durable()).await;
        match inserted {
            Err(error) if !is_there_already(&error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether all that went wrong is that records were there.
fn is_there_already(error: &Error) -> bool {
    let ErrorKind::InsertMany(error) = error.kind.as_ref() else { return false };
    let refused = error.write_errors.iter().flatten();
    error.write_concern_error.is_none()
        && refused.clone().count() > 0
        && refused.into_iter().all(|e| e.code == DUPLICATE_KEY)
}

async fn held(db: &Database, client: &ClientId, foreign: &Foreign) -> Result<Sums, ArchiveError> {
    let mut tally = Tally::default();
    let mut records = super::read::under_the_marker(db, client);
    while let Some(chunk) = records.recv().await {
        let mut chunk = chunk?;
        foreign.retain(&mut chunk);
        if !chunk.records.is_empty() {
            tally.add(&chunk);
        }
    }
    Ok(tally.finish())
}

/// Makes it a client: counters, a history of its own, and no marker.
async fn publish(db: &Database, incoming: &Incoming) -> Result<(), ArchiveError> {
    let Incoming { client, archive, head, .. } = incoming;
    let own = doc! { "_id": client.object_id(), "importing.archive": &archive.0 };
    let set = doc! {
        "revision": head.revision.0,
        "nextInvoice": head.next_invoice,
        "lineage": bson(&Lineage::anew(clock::new_tag()))?,
        "importedFrom": &archive.0,
    };
    let publish = doc! { "$set": set, "$unset": { IMPORTING: "" } };
    let clients = db.collection::<Document>(CLIENTS);
    let published = clients.update_one(own, publish).write_concern(durable()).await.map_err(failed)?;
    if published.matched_count == 1 { Ok(()) } else { Err(ArchiveError::Moved(*client)) }
}

async fn document(db: &Database, client: &ClientId) -> Result<Option<Document>, ArchiveError> {
    let clients = db.collection::<Document>(CLIENTS);
    clients.find_one(doc! { "_id": client.object_id() }).await.map_err(failed)
}

/// On a lone mongod a majority is the mongod itself.
fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}
