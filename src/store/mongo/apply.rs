//! What a batch writes inside of its transaction.

use std::collections::BTreeMap;

use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::{ClientSession, Database};

use super::connection::Deployment;
use super::counter::Raised;
use super::error::{DOCUMENT_VALIDATION_FAILURE, DUPLICATE_KEY, Failure};
use super::write::{Refused, insert, update};
use super::{CLIENTS, RECEIPTS};
use crate::failpoint::{self, Point};
use crate::model::ClientId;
use crate::plan::{Plan, Receipt, Reject, StoredReceipt};
use crate::store::StoreError;
use crate::store::records::{Change, ChangeKind, Fields};

/// Writes a plan, with one insert and one update for each collection, and what is still to be set in the client's
/// counter.
pub(super) async fn apply(
    deployment: &Deployment,
    session: &mut ClientSession,
    client: &ClientId,
    plan: &Plan,
    changes: Vec<Change<RawDocumentBuf>>,
    correction: Option<RawDocumentBuf>,
) -> Result<(), Failure> {
    let db = &deployment.db;
    // First, for it tells whether the batch was applied before.
    if let Some(receipt) = &plan.remember {
        remember(db, session, client, receipt).await?;
    }
    for (collection, writes) in by_collection(deployment, client, changes) {
        make(db, session, collection, &writes, &plan.receipt).await?;
        set(db, session, collection, &writes.sets).await?;
        failpoint::reached(Point::MidApply);
    }
    match correction {
        Some(fields) => set(db, session, CLIENTS, &[of_counter(client, fields)]).await,
        None => Ok(()),
    }
}

/// Leaves a client's counter as it was before it was raised.
pub(super) async fn put_back(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    raised: Raised,
) -> Result<(), Failure> {
    match raised.undo() {
        Some(fields) => set(db, session, CLIENTS, &[of_counter(client, fields)]).await,
        None => {
            let own = doc! { "_id": client.object_id() };
            db.collection::<Document>(CLIENTS).delete_one(own).session(session).await?;
            Ok(())
        }
    }
}

fn of_counter(client: &ClientId, fields: RawDocumentBuf) -> RawDocumentBuf {
    rawdoc! { "q": { "_id": client.object_id() }, "u": { "$set": fields } }
}

/// The writes to one collection.
#[derive(Default)]
struct Writes {
    made: Vec<ObjectId>,
    inserts: Vec<RawDocumentBuf>,
    sets: Vec<RawDocumentBuf>,
}

fn by_collection(
    deployment: &Deployment,
    client: &ClientId,
    changes: Vec<Change<RawDocumentBuf>>,
) -> BTreeMap<&'static str, Writes> {
    let mut writes = BTreeMap::<_, Writes>::new();
    for Change { table, id, kind, fields } in changes {
        let writes = writes.entry(table.name()).or_default();
        match kind {
            ChangeKind::Insert => {
                writes.made.push(id);
                writes.inserts.push(fields);
            }
            ChangeKind::Set => {
                writes.sets.push(rawdoc! { "q": stored(deployment, client, id), "u": { "$set": fields } });
            }
        }
    }
    writes
}

/// Finds a record that this transaction has read as the client's. Its id alone says which one it is, and a
/// server finds a lone id in half the time. But a router would ask all shards for it.
fn stored(deployment: &Deployment, client: &ClientId, id: ObjectId) -> RawDocumentBuf {
    let mut filter = rawdoc! { "_id": id };
    if deployment.is_router {
        filter.append(cstr!("clientId"), client.object_id());
    }
    filter
}

async fn remember(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    receipt: &StoredReceipt,
) -> Result<(), Failure> {
    // Also without the index on its key there is one receipt under a key.
    let id = rawdoc! { "clientId": client.object_id(), "key": receipt.key.as_str() };
    let mut record = rawdoc! { "_id": id };
    let fields = RawDocumentBuf::of(receipt).map_err(|e| StoreError::Internal(e.to_string()))?;
    for field in &fields {
        let (name, value) = field.map_err(|e| StoreError::Internal(e.to_string()))?;
        record.append(name, value);
    }
    record.add_client(client);
    match insert(db, session, RECEIPTS, &[record]).await?.refused.first() {
        None => Ok(()),
        // The next attempt finds the receipt that is there already.
        Some(Refused { code: DUPLICATE_KEY, .. }) => Err(Failure::Overtaken),
        Some(refused) => Err(unexpected(RECEIPTS, refused)),
    }
}

async fn make(
    db: &Database,
    session: &mut ClientSession,
    collection: &str,
    writes: &Writes,
    receipt: &Receipt,
) -> Result<(), Failure> {
    let inserted = insert(db, session, collection, &writes.inserts).await?;
    let Some(refused) = inserted.refused.first() else { return Ok(()) };
    let forbidden = match refused.code {
        // An id that is there already is a bug, and no rule of the database's owner.
        DUPLICATE_KEY => refused.unique != ["_id"],
        code => code == DOCUMENT_VALIDATION_FAILURE,
    };
    Err(match forbidden {
        true => Reject::by_the_database(receipt, writes.made.get(refused.statement).copied()).into(),
        false => unexpected(collection, refused),
    })
}

/// Runs update statements each of which must find its record.
async fn set(
    db: &Database,
    session: &mut ClientSession,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<(), Failure> {
    let updated = update(db, Some(session), collection, statements).await?;
    match updated.refused.first() {
        Some(refused) => Err(unexpected(collection, refused)),
        None if updated.matched == statements.len() as i64 => Ok(()),
        None => {
            let why = format!("an update of {collection} did not find a record that was read");
            Err(StoreError::Internal(why).into())
        }
    }
}

fn unexpected(collection: &str, refused: &Refused) -> Failure {
    let Refused { statement, code, unique } = refused;
    let why = format!("statement {statement} on {collection} failed with code {code}, unique index {unique:?}");
    StoreError::Internal(why).into()
}
