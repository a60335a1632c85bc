//! A batch that is decided and not yet applied: what a lone mongod has in place of a transaction.
//!
//! An intent's head document is the commit point. Its `_id` is the client with the revision that the
//! batch takes, so at most one batch can ever have that revision, whenever a head arrives that was given
//! up for lost. Changes that do not fit lie in part documents, which are written before the head.

use std::collections::{BTreeMap, HashMap};

use bson::oid::ObjectId;
use bson::raw::{RawArrayBuf, RawDocument};
use bson::{Bson, Document, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::Database;
use mongodb::error::Error;
use serde::{Deserialize, Serialize};

use super::INTENTS;
use super::error::{DUPLICATE_KEY, code};
use super::find::{find, in_few_batches};
use super::write::journaled;
use crate::clock;
use crate::model::{ClientId, Lineage};
use crate::plan::Plan;
use crate::store::StoreError;
use crate::store::records::{Change, ChangeKind, Table, bson, changes, document};

/// A decided batch.
#[derive(Debug)]
pub(super) struct Intent {
    head: Head,
    pub steps: Vec<Step>,
}

/// What is stored last of an intent. If there are no parts, the steps are in the same document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(rename = "_id")]
    id: IntentId,
    client_id: ObjectId,
    /// The client's next invoice number, if it changes.
    next_invoice: Option<i64>,
    /// The client's lineage, if it changes.
    #[serde(default)]
    lineage: Option<Bson>,
    /// The receipt to keep, if the batch has a key.
    receipt: Option<Document>,
    /// What its parts go by.
    batch: ObjectId,
    /// How many parts there are.
    parts: i32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntentId {
    client_id: ObjectId,
    revision: i64,
}

/// One record to insert or to change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Step {
    pub change: Change,
    /// The `revision` of the record that is changed, as the plan saw it; null if it had none.
    pub before: Bson,
}

/// The steps in a document, be it a part or a head.
#[derive(Deserialize)]
struct Steps {
    #[serde(default)]
    steps: Vec<Step>,
}

/// A document that is not a head.
#[derive(Deserialize)]
struct Part {
    #[serde(rename = "_id")]
    _id: PartId,
    #[serde(rename = "steps")]
    _steps: Vec<Step>,
}

#[derive(Deserialize)]
struct PartId {
    #[serde(rename = "batch")]
    _batch: ObjectId,
    #[serde(rename = "part")]
    _part: i32,
}

/// The most bytes of steps in one document, far below the server's limit of 16 MB.
const MOST_BYTES: usize = 4 << 20;

impl Intent {
    /// What a plan decides. `revisions` are those of the records that the plan was made on.
    pub fn new(
        client: &ClientId,
        plan: &Plan,
        lineage: Option<Lineage>,
        revisions: &HashMap<ObjectId, Bson>,
    ) -> Result<Self, StoreError> {
        let step = |change: Change| Step { before: revisions.get(&change.id).cloned().unwrap_or(Bson::Null), change };
        let client_id = client.object_id();
        let head = Head {
            id: IntentId { client_id, revision: plan.receipt.revision.0 },
            client_id,
            next_invoice: plan.next_invoice,
            lineage: lineage.as_ref().map(bson).transpose()?,
            receipt: plan.remember.as_ref().map(document).transpose()?,
            batch: clock::new_id(),
            parts: 0,
        };
        Ok(Self { head, steps: changes(client, plan)?.into_iter().map(step).collect() })
    }

    /// Whose batch it is.
    pub fn client(&self) -> ObjectId {
        self.head.client_id
    }

    /// The revision that the batch takes.
    pub fn revision(&self) -> i64 {
        self.head.id.revision
    }

    /// The client's next invoice number, if it changes.
    pub fn next_invoice(&self) -> Option<i64> {
        self.head.next_invoice
    }

    /// The client's lineage, if it changes.
    pub fn lineage(&self) -> Option<&Bson> {
        self.head.lineage.as_ref()
    }

    /// The receipt to keep, if the batch has a key.
    pub fn receipt(&self) -> Option<&Document> {
        self.head.receipt.as_ref()
    }

    /// The new records by where they are kept.
    pub fn inserted(&self) -> BTreeMap<Table, Vec<ObjectId>> {
        let mut ids = BTreeMap::<_, Vec<_>>::new();
        for Change { table, id, .. } in
            self.steps.iter().map(|step| &step.change).filter(|change| change.kind == ChangeKind::Insert)
        {
            ids.entry(*table).or_default().push(*id);
        }
        ids
    }

    /// Makes it durable. False if another intent has taken its revision; nothing is stored then.
    pub async fn store(&mut self, db: &Database) -> Result<bool, Error> {
        let mut lists = split(&self.steps)?;
        if lists.len() > 1 {
            self.store_parts(db, std::mem::take(&mut lists)).await?;
        }
        let mut head = bson::serialize_to_raw_document_buf(&self.head)?;
        lists.into_iter().for_each(|steps| head.append(cstr!("steps"), steps));
        match db.collection::<RawDocumentBuf>(INTENTS).insert_one(head).write_concern(journaled()).await {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => {
                self.remove_parts(db).await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn store_parts(&mut self, db: &Database, lists: Vec<RawArrayBuf>) -> Result<(), Error> {
        let batch = self.head.batch;
        let parts: Vec<RawDocumentBuf> = (0..)
            .zip(lists)
            .map(|(part, steps)| rawdoc! { "_id": { "batch": batch, "part": part }, "steps": steps })
            .collect();
        self.head.parts = parts.len() as i32;
        db.collection::<RawDocumentBuf>(INTENTS).insert_many(parts).write_concern(journaled()).await.map(drop)
    }

    /// Takes in the steps of its parts. False if parts are missing, which happens only to a head that
    /// arrived after its parts were swept away, when nobody counted on it any more.
    pub async fn load_parts(&mut self, db: &Database) -> Result<bool, Error> {
        if self.head.parts == 0 {
            return Ok(true);
        }
        let mut parts = Vec::new();
        let take = |record: &RawDocument| parts.push(bson::deserialize_from_slice::<Steps>(record.as_bytes()));
        find(db, None, INTENTS, doc! { "_id.batch": self.head.batch }, in_few_batches(), take).await?;
        let complete = parts.len() == self.head.parts as usize;
        for part in parts {
            self.steps.extend(part?.steps);
        }
        Ok(complete)
    }

    /// Takes it away, the head first: parts without a head are nothing.
    pub async fn remove(&self, db: &Database) -> Result<(), Error> {
        let id = bson::serialize_to_document(&self.head.id)?;
        db.collection::<Document>(INTENTS).delete_one(doc! { "_id": id }).await?;
        self.remove_parts(db).await
    }

    async fn remove_parts(&self, db: &Database) -> Result<(), Error> {
        if self.head.parts > 0 {
            db.collection::<Document>(INTENTS).delete_many(doc! { "_id.batch": self.head.batch }).await?;
        }
        Ok(())
    }

    /// Reads a head.
    fn of(record: &RawDocument) -> Result<Self, bson::error::Error> {
        let head = bson::deserialize_from_slice(record.as_bytes())?;
        let Steps { steps } = bson::deserialize_from_slice(record.as_bytes())?;
        Ok(Self { head, steps })
    }
}

/// The intents that are stored, of one client or of all, in the order of their revisions.
pub(super) async fn pending(db: &Database, client: Option<ObjectId>) -> Result<Vec<Intent>, Error> {
    let filter = doc! { "clientId": client.map_or_else(|| doc! { "$exists": true }.into(), Bson::ObjectId) };
    let mut found = Vec::new();
    find(db, None, INTENTS, filter, in_few_batches(), |record| found.push(Intent::of(record))).await?;
    // One that cannot be read must stop no other client; its own finds its revision taken.
    let readable = |intent: Result<Intent, _>| {
        intent.inspect_err(|error| tracing::error!(%error, ?client, "an intent cannot be read")).ok()
    };
    let mut intents: Vec<_> = found.into_iter().filter_map(readable).collect();
    intents.sort_by_key(Intent::revision);
    Ok(intents)
}

/// What stands among the intents and cannot be read: whose it is, if that can be said, and its id.
pub(super) async fn unreadable(db: &Database) -> Result<Vec<(Option<ObjectId>, Bson)>, Error> {
    let mut found = Vec::new();
    let take = |record: &RawDocument| {
        let is_head = record.get("clientId").is_ok_and(|client| client.is_some());
        let is_readable = match is_head {
            true => Intent::of(record).is_ok(),
            false => bson::deserialize_from_slice::<Part>(record.as_bytes()).is_ok(),
        };
        if !is_readable {
            let id = record.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
            found.push((record.get_object_id("clientId").ok(), id.unwrap_or(Bson::Null)));
        }
    };
    find(db, None, INTENTS, doc! {}, in_few_batches(), take).await?;
    Ok(found)
}

/// Removes parts without a head, which a crash before the commit point leaves behind.
pub(super) async fn sweep_parts(db: &Database) -> Result<(), Error> {
    let batches: Vec<_> = pending(db, None).await?.iter().map(|intent| intent.head.batch).collect();
    let orphaned = doc! { "_id.batch": { "$exists": true, "$nin": batches } };
    db.collection::<Document>(INTENTS).delete_many(orphaned).await?;
    Ok(())
}

/// Lists of steps, each small enough for one document.
fn split(steps: &[Step]) -> Result<Vec<RawArrayBuf>, Error> {
    let mut lists = Vec::new();
    let (mut list, mut bytes_in) = (RawArrayBuf::new(), 0);
    for step in steps {
        let step = bson::serialize_to_raw_document_buf(step)?;
        let bytes = step.as_bytes().len();
        if bytes_in > 0 && bytes_in + bytes > MOST_BYTES {
            lists.push(std::mem::replace(&mut list, RawArrayBuf::new()));
            bytes_in = 0;
        }
        list.push(step);
        bytes_in += bytes;
    }
    lists.push(list);
    Ok(lists)
}
