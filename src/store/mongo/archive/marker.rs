//! The marker under which a client is written: in its own document, with which every batch and every reading begins.

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Database;

use super::super::CLIENTS;
use super::super::counter::{Counter, IMPORTING};
use super::super::error::{DUPLICATE_KEY, code};
use super::accounts::Note;
use super::{durable, failed};
use crate::clock;
use crate::model::{ClientId, Lineage};
use crate::store::StoreError;
use crate::store::archive::{ArchiveError, ArchiveId, Head};
use crate::store::records::bson;

/// The marker of one client, as it is set.
#[derive(Debug)]
pub(super) struct Marker {
    pub client: ClientId,
    /// Which archive is being written; [`Bson::Null`] if it was set by hand and does not say.
    archive: Bson,
    /// Whether there were no books of the client when it was set: then all that there are came with the import.
    pub proven: bool,
    /// Whether the import is being taken back, and is not to go on.
    pub discarding: bool,
    /// The records of the login service that the import makes.
    pub accounts: Vec<Note>,
}

/// How a client's document stands to an import.
pub(super) enum Claim {
    /// It is a client that is served.
    Occupied { by_this_archive: bool },
    /// The marker was set now.
    Set(Marker),
    /// The same import has set it before.
    Found(Marker),
}

impl Marker {
    /// Sets the marker of a client that has no document, or finds the one that the same import has set.
    pub async fn claim(db: &Database, client: &ClientId, archive: &ArchiveId) -> Result<Claim, ArchiveError> {
        let marked = doc! { "_id": client.object_id(), IMPORTING: { "archive": &archive.0, "empty": false } };
        match db.collection::<Document>(CLIENTS).insert_one(&marked).write_concern(durable()).await {
            Ok(_) => return Self::of(client, &marked)?.map(Claim::Set).ok_or(ArchiveError::TakenBack(*client)),
            Err(error) if code(&error) != Some(DUPLICATE_KEY) => return Err(failed(error)),
            Err(_) => {}
        }
        let document = document(db, client).await?.ok_or(ArchiveError::TakenBack(*client))?;
        match Self::of(client, &document)? {
            Some(marker) if marker.is_of(archive) => Ok(Claim::Found(marker)),
            Some(_) => Err(ArchiveError::Begun(*client)),
            None => Ok(Claim::Occupied { by_this_archive: document.get_str("importedFrom").ok() == Some(&archive.0) }),
        }
    }

    /// The marker of a client, if it is set.
    pub async fn load(db: &Database, client: &ClientId) -> Result<Option<Self>, ArchiveError> {
        document(db, client).await?.map_or(Ok(None), |document| Self::of(client, &document))
    }

    fn of(client: &ClientId, document: &Document) -> Result<Option<Self>, ArchiveError> {
        let record = RawDocumentBuf::try_from(document).map_err(|e| StoreError::Internal(e.to_string()))?;
        if !Counter::of(&record).importing {
            return Ok(None);
        }
        let marker = document.get_document(IMPORTING).cloned().unwrap_or_default();
        let notes = marker.get_array("accounts").cloned().unwrap_or_default().into_iter();
        let notes: Result<_, _> = notes.map(bson::deserialize_from_bson).collect();
        Ok(Some(Self {
            client: *client,
            archive: marker.get("archive").cloned().unwrap_or(Bson::Null),
            proven: marker.get_bool("empty").unwrap_or(false),
            discarding: marker.get_bool("discarding").unwrap_or(false),
            accounts: notes.map_err(|e| StoreError::Internal(e.to_string()))?,
        }))
    }

    /// Whether it is this archive that is being written.
    pub fn is_of(&self, archive: &ArchiveId) -> bool {
        self.archive.as_str() == Some(&archive.0)
    }

    /// Notes that there are no books of the client but those that come now, and which records of the login service come
    /// with them: before any of them is written, so that whatever is left of an import is known to be its own.
    pub async fn prove(&mut self, db: &Database, accounts: Vec<Note>) -> Result<(), ArchiveError> {
        let proven = doc! { "$set": { "importing.empty": true, "importing.accounts": bson(&accounts)? } };
        let clients = db.collection::<Document>(CLIENTS);
        let noted = clients.update_one(self.going_on(), proven).write_concern(durable()).await.map_err(failed)?;
        (self.proven, self.accounts) = (true, accounts);
        self.expect(noted.matched_count)
    }

    /// Finds out whether it is still set.
    ///
    /// # Errors
    /// [`ArchiveError::TakenBack`] if somebody has removed it, or is about to.
    pub async fn expect_set(&self, db: &Database) -> Result<(), ArchiveError> {
        let clients = db.collection::<Document>(CLIENTS);
        let set = clients.find_one(self.going_on()).projection(doc! { "_id": 1 }).await.map_err(failed)?;
        self.expect(set.is_some().into())
    }

    /// Makes it a client: counters, a history of its own, and no marker.
    pub async fn publish(&self, db: &Database, head: Head) -> Result<(), ArchiveError> {
        let set = doc! {
            "revision": head.revision.0,
            "nextInvoice": head.next_invoice,
            "lineage": bson(&Lineage::anew(clock::new_tag()))?,
            "importedFrom": &self.archive,
        };
        let publish = doc! { "$set": set, "$unset": { IMPORTING: "" } };
        let clients = db.collection::<Document>(CLIENTS);
        let published = clients.update_one(self.going_on(), publish).write_concern(durable()).await.map_err(failed)?;
        self.expect(published.matched_count)
    }

    /// Says that the import is being taken back, so that it does not come to its end meanwhile. False if it has.
    pub async fn close(&mut self, db: &Database) -> Result<bool, ArchiveError> {
        let closed = doc! { "$set": { "importing.discarding": true } };
        let clients = db.collection::<Document>(CLIENTS);
        let closed = clients.update_one(self.own(), closed).write_concern(durable()).await.map_err(failed)?;
        self.discarding = true;
        Ok(closed.matched_count == 1)
    }

    /// Removes it, and with it the document: there is no such client any more.
    pub async fn remove(&self, db: &Database) -> Result<(), ArchiveError> {
        let clients = db.collection::<Document>(CLIENTS);
        clients.delete_one(self.own()).write_concern(durable()).await.map_err(failed)?;
        Ok(())
    }

    /// The document as long as it has this marker.
    fn own(&self) -> Document {
        let mut own =
            doc! { "_id": self.client.object_id(), IMPORTING: { "$exists": true }, "importing.archive": &self.archive };
        if self.discarding {
            own.insert("importing.discarding", true);
        }
        own
    }

    /// The same as long as the import is not being taken back.
    fn going_on(&self) -> Document {
        let mut going_on = self.own();
        going_on.insert("importing.discarding", doc! { "$exists": false });
        going_on
    }

    fn expect(&self, matched: u64) -> Result<(), ArchiveError> {
        if matched == 1 { Ok(()) } else { Err(ArchiveError::TakenBack(self.client)) }
    }
}

async fn document(db: &Database, client: &ClientId) -> Result<Option<Document>, ArchiveError> {
    let clients = db.collection::<Document>(CLIENTS);
    clients.find_one(doc! { "_id": client.object_id() }).await.map_err(failed)
}
