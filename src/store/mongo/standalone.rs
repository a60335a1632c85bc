//! Batches on a lone mongod, which has no transactions: plan, store the plan as an intent, apply it,
//! remove it.
//!
//! Whatever interrupts that, the next one who comes along for this client finishes it. Everything here
//! therefore can be applied twice; and it can be applied late: a command that was given up for lost and
//! still arrives finds records with another revision than it was meant for, and changes nothing.
//!
//! All functions that take a client run in that client's turn.

use std::collections::BTreeMap;

use bson::oid::ObjectId;
use bson::{Document, doc};
use mongodb::Database;

use super::client_queue::ClientQueue;
use super::error::{DUPLICATE_KEY, describe};
use super::intent::{Intent, Step, pending, sweep_parts};
use super::load::{Counter, load};
use super::update::{Refused, update};
use super::{CLIENTS, RECEIPTS};
use crate::model::ClientId;
use crate::plan::{Decision, Planner};
use crate::store::records::{Change, ChangeKind};
use crate::store::{ExecuteError, Outcome, StoreError};

/// Loads, plans and commits one batch.
pub(super) async fn execute(db: &Database, client: &ClientId, planner: &dyn Planner) -> Result<Outcome, ExecuteError> {
    let reads = planner.reads();
    loop {
        finish_pending(db, client.object_id()).await?;
        let counter = Counter::load(db, None, client.object_id()).await.map_err(StoreError::from)?;
        let loaded = load(db, None, client, counter, &reads).await?;
        let plan = match planner.plan(&loaded.snapshot)? {
            Decision::Commit(plan) => plan,
            Decision::Replay(receipt) => return Ok(Outcome { receipt: *receipt, replayed: true }),
        };
        let mut intent = Intent::new(client, &plan, &loaded.revisions)?;
        if intent.store(db).await.map_err(StoreError::from)? {
            apply(db, &intent).await.map_err(unfinished)?;
            remove(db, &intent).await;
            return Ok(Outcome { receipt: plan.receipt, replayed: false });
        }
        tracing::debug!(%client, "the revision is taken by a batch that was given up for lost; planning again");
    }
}

/// Finishes the batches of a client that were decided and not applied.
pub(super) async fn finish_pending(db: &Database, client: ObjectId) -> Result<(), StoreError> {
    for mut intent in pending(db, Some(client)).await? {
        let revision = intent.revision();
        let done = Counter::load(db, None, client).await?.revision.0;
        // Up to the counter all is applied, or was overtaken before it was stored.
        if revision > done && intent.load_parts(db).await? {
            apply(db, &intent).await.map_err(unfinished)?;
            tracing::warn!(%client, revision, "finished a batch that was interrupted");
        }
        intent.remove(db).await?;
    }
    Ok(())
}

/// Finishes what was interrupted, of all clients, when the server starts. What cannot be finished stays,
/// and is tried again when its client comes.
pub(super) async fn recover_all(db: &Database, queue: &ClientQueue) -> Result<(), StoreError> {
    let clients: Vec<_> = pending(db, None).await?.iter().map(Intent::client).collect();
    for client in clients {
        let _turn = queue.turn(client).await?;
        if let Err(error) = finish_pending(db, client).await {
            tracing::error!(%client, %error, "an interrupted batch cannot be finished");
        }
    }
    Ok(sweep_parts(db).await?)
}

/// Applies an intent: records first, then the receipt, and at last the counter, which says that all is done.
async fn apply(db: &Database, intent: &Intent) -> Result<(), StoreError> {
    for (collection, statements) in by_collection(intent) {
        run(db, collection, &statements, &["_id"]).await?;
    }
    if let Some(receipt) = intent.receipt() {
        run(db, RECEIPTS, &[remember(intent.client(), receipt)], &["clientId", "key"]).await?;
    }
    // One after the other: the second needs the document that the first makes.
    for statement in count(intent) {
        run(db, CLIENTS, &[statement], &["_id"]).await?;
    }
    Ok(())
}

/// The batch is committed, so a failure to tidy up is not one of the batch. The next one tidies up.
async fn remove(db: &Database, intent: &Intent) {
    if let Err(error) = intent.remove(db).await {
        tracing::debug!(error = describe(&error), "an applied intent stays for now");
    }
}

/// Runs statements in any order. One that would make a record a second time, by its `own_key`, has been
/// applied already.
async fn run(db: &Database, collection: &str, statements: &[Document], own_key: &[&str]) -> Result<(), StoreError> {
    let updated = update(db, None, collection, statements, false).await?;
    let applied = |refused: &&Refused| refused.code == DUPLICATE_KEY && refused.unique == own_key;
    match updated.refused.iter().find(|refused| !applied(refused)) {
        None => Ok(()),
        Some(Refused { code, unique }) => {
            let why = if unique.is_empty() { String::new() } else { format!(" (unique index on {})", unique.join(", ")) };
            Err(StoreError::Internal(format!("an update of {collection} failed with code {code}{why}")))
        }
    }
}

fn by_collection(intent: &Intent) -> BTreeMap<&'static str, Vec<Document>> {
    let mut statements = BTreeMap::<_, Vec<_>>::new();
    for step in &intent.steps {
        statements.entry(step.change.collection.name()).or_default().push(statement(intent.client(), step));
    }
    statements
}

fn statement(client: ObjectId, step: &Step) -> Document {
    let Change { id, kind, fields, .. } = &step.change;
    match kind {
        ChangeKind::Insert => doc! { "q": { "_id": id }, "u": { "$setOnInsert": fields }, "upsert": true },
        ChangeKind::Set => {
            // The plan's values are right for the record that the plan saw, and for no other.
            doc! { "q": { "_id": id, "clientId": client, "revision": &step.before }, "u": { "$set": fields } }
        }
    }
}

fn remember(client: ObjectId, receipt: &Document) -> Document {
    let key = receipt.get("key").cloned().unwrap_or(bson::Bson::Null);
    doc! { "q": { "clientId": client, "key": key }, "u": { "$setOnInsert": receipt }, "upsert": true }
}

fn count(intent: &Intent) -> [Document; 2] {
    let mut set = doc! { "revision": intent.revision() };
    if let Some(next) = intent.next_invoice() {
        set.insert("nextInvoice", next);
    }
    let earlier = doc! { "$not": { "$gte": intent.revision() } };
    [
        doc! { "q": { "_id": intent.client() }, "u": { "$setOnInsert": { "revision": 0_i64 } }, "upsert": true },
        doc! { "q": { "_id": intent.client(), "revision": earlier }, "u": { "$set": set } },
    ]
}

/// A decided batch is never refused: it will be finished, though not now.
fn unfinished(error: StoreError) -> StoreError {
    StoreError::Unavailable(format!("a batch is decided and not yet applied: {error}"))
}
