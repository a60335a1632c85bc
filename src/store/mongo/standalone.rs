//! Batches on a lone mongod, which has no transactions: plan, store the plan as an intent, apply it,
//! remove it.
//!
//! Whatever interrupts that, the next one who comes along for this client finishes it. Everything here
//! therefore can be applied twice; and it can be applied late: a command that was given up for lost and
//! still arrives finds records with another revision than it was meant for, and changes nothing.
//!
//! All functions that take a client run in that client's turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, doc};
use mongodb::Database;

use super::counter::Counter;
use super::error::{DOCUMENT_VALIDATION_FAILURE, DUPLICATE_KEY, Failure, describe};
use super::executed::{Executed, Left};
use super::histories::{History, Seen};
use super::intent::{Intent, Step, pending, sweep_parts};
use super::load::{Asked, Keep, load};
use super::write::{Refused, journaled, update};
use super::{CLIENTS, RECEIPTS};
use crate::failpoint::{self, Point};
use crate::model::ClientId;
use crate::plan::{Decision, Plan, Planner, ReadSet, Receipt, Reject, Snapshot};
use crate::store::client_queue::ClientQueue;
use crate::store::records::{Change, ChangeKind, changes, document, in_name_order, written};
use crate::store::{ExecuteError, StoreError};

/// Loads, plans and commits one batch.
pub(super) async fn execute(
    db: &Database,
    client: &ClientId,
    history: History<'_>,
    keep: Keep,
    planner: &dyn Planner,
) -> Result<Executed, ExecuteError> {
    let reads = planner.reads();
    loop {
        finish_pending(db, client.object_id()).await?;
        let loaded = load(db, None, Asked::plainly(client, &reads), keep).await?;
        let counter = &loaded.counter;
        failpoint::reached(Point::BeforePlanning);
        let plan = match planner.plan(&loaded.snapshot)? {
            Decision::Commit(plan) => plan,
            Decision::Replay(receipt) => return Ok(Executed::nothing(*receipt, true, counter)),
        };
        failpoint::reached(Point::AfterPlanning);
        if plan.writes.is_empty() {
            let receipt = remember_only(db, client, *plan).await?;
            return Ok(Executed::nothing(receipt, false, counter));
        }
        let begun = history.begun(counter);
        let left = match keep {
            Keep::Records => {
                let changes = changes(client, &plan)?.into_iter().map(in_name_order);
                Left::Records(written(&changes.collect::<Result<Vec<_>, _>>()?, &loaded.records)?)
            }
            Keep::Nothing => Left::Nothing,
        };
        let mut intent = Intent::new(client, &plan, begun.clone(), &loaded.revisions)?;
        if intent.store(db).await.map_err(StoreError::from)? {
            let applied = apply(db, &intent).await.map_err(unfinished)?;
            failpoint::reached(Point::AfterCommit);
            remove(db, &intent).await;
            return match applied {
                Applied::Whole => {
                    let next_invoice = counter.next_invoice_after(&plan);
                    let executed = Executed::wrote(*plan, counter, begun, left);
                    history.saw(Seen { position: executed.outcome.after.moment.position, next_invoice });
                    Ok(executed)
                }
                Applied::Withdrawn(refusal) => {
                    tracing::warn!(%client, why = refusal.why, "withdrew a batch");
                    Err(Reject::by_the_database(&plan.receipt, refusal.record).into())
                }
            };
        }
        tracing::debug!(%client, "the revision is taken by a batch that was given up for lost; planning again");
    }
}

/// What a planner would be given now.
pub(super) async fn snapshot(db: &Database, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
    finish_pending(db, client.object_id()).await?;
    let loaded = load(db, None, Asked::plainly(client, reads), Keep::Nothing).await;
    Ok(loaded.map_err(Failure::of_the_store)?.snapshot)
}

/// Keeps the receipt of a batch that has nothing to write. One document needs no intent.
async fn remember_only(db: &Database, client: &ClientId, plan: Plan) -> Result<Receipt, StoreError> {
    if let Some(receipt) = plan.remember {
        let statement = remember(client.object_id(), &document(&receipt)?);
        run(db, RECEIPTS, &[statement], &["clientId", "key"]).await.map_err(not_now)?;
    }
    Ok(plan.receipt)
}

/// Finishes the batches of a client that were decided and not applied.
pub(super) async fn finish_pending(db: &Database, client: ObjectId) -> Result<(), StoreError> {
    for mut intent in pending(db, Some(client)).await? {
        let revision = intent.revision();
        let done = Counter::load(db, None, client).await?.revision.0;
        if revision <= done {
            // All is applied, or it was overtaken before it was stored. The counter that says so was read,
            // which does not make it durable.
            raise_counter(db, &intent).await.map_err(not_now).map_err(unfinished)?;
        } else if intent.load_parts(db).await? {
            match apply(db, &intent).await.map_err(unfinished)? {
                Applied::Whole => tracing::warn!(%client, revision, "finished a batch that was interrupted"),
                Applied::Withdrawn(refusal) => {
                    tracing::error!(%client, revision, why = refusal.why, "withdrew a batch that was interrupted");
                }
            }
        }
        intent.remove(db).await?;
    }
    Ok(())
}

/// Finishes what was interrupted, of all clients, when the server starts. What cannot be finished stays,
/// and is tried again when its client comes.
pub(super) async fn recover_all(db: &Database, queue: &Arc<ClientQueue>) -> Result<(), StoreError> {
    let clients: Vec<_> = pending(db, None).await?.iter().map(Intent::client).collect();
    for client in clients {
        let _turn = queue.turn(client).await?;
        if let Err(error) = finish_pending(db, client).await {
            tracing::error!(%client, %error, "an interrupted batch cannot be finished");
        }
    }
    Ok(sweep_parts(db).await?)
}

/// What became of an intent.
enum Applied {
    /// All of it is written.
    Whole,
    /// The database does not take one of its new records. Nothing of it is left.
    Withdrawn(Refusal),
}

/// What the database has a rule of its own against.
struct Refusal {
    /// For the log.
    why: String,
    record: Option<ObjectId>,
}

/// Why a statement did not run.
enum Unapplied {
    /// The database has a rule against it that is none of ours, like a unique index. It always will.
    Refused(Refusal),
    /// Another try may do.
    Failed(StoreError),
}

/// Applies an intent: new records first, which can still be taken back; then changes and the receipt; and
/// at last the counter, which says that all is done.
async fn apply(db: &Database, intent: &Intent) -> Result<Applied, StoreError> {
    match insert(db, intent).await {
        Ok(()) => {}
        Err(Unapplied::Refused(refusal)) => {
            withdraw(db, intent).await?;
            return Ok(Applied::Withdrawn(refusal));
        }
        Err(Unapplied::Failed(error)) => return Err(error),
    }
    match change(db, intent).await {
        Ok(()) => Ok(Applied::Whole),
        Err(unapplied) => Err(not_now(unapplied)),
    }
}

async fn insert(db: &Database, intent: &Intent) -> Result<(), Unapplied> {
    for (collection, statements) in by_collection(intent, ChangeKind::Insert) {
        run(db, collection, &statements, &["_id"]).await?;
    }
    Ok(())
}

/// Takes the new records of an intent back.
async fn withdraw(db: &Database, intent: &Intent) -> Result<(), StoreError> {
    for (table, ids) in intent.inserted() {
        let made_here = doc! { "_id": { "$in": ids }, "clientId": intent.client(), "revision": intent.revision() };
        db.collection::<Document>(table.name()).delete_many(made_here).write_concern(journaled()).await?;
    }
    Ok(())
}

async fn change(db: &Database, intent: &Intent) -> Result<(), Unapplied> {
    for (collection, statements) in by_collection(intent, ChangeKind::Set) {
        run(db, collection, &statements, &["_id"]).await?;
    }
    if let Some(receipt) = intent.receipt() {
        run(db, RECEIPTS, &[remember(intent.client(), receipt)], &["clientId", "key"]).await?;
    }
    raise_counter(db, intent).await
}

/// Brings the client's counter up to the intent's revision, never down.
async fn raise_counter(db: &Database, intent: &Intent) -> Result<(), Unapplied> {
    run(db, CLIENTS, &[count(intent)], &["_id"]).await
}

/// The batch is committed, so a failure to tidy up is not one of the batch. The next one tidies up.
async fn remove(db: &Database, intent: &Intent) {
    if let Err(error) = intent.remove(db).await {
        tracing::debug!(error = describe(&error), "an applied intent stays for now");
    }
}

/// Runs statements in any order. One that would make a record a second time, by its `own_key`, has been
/// applied already.
async fn run(db: &Database, collection: &str, statements: &[Document], own_key: &[&str]) -> Result<(), Unapplied> {
    // Before each, the first too: the intent is stored by then.
    failpoint::reached(Point::MidApply);
    let sent: Result<Vec<_>, _> = statements.iter().map(RawDocumentBuf::try_from).collect();
    let sent = sent.map_err(|e| Unapplied::Failed(StoreError::Internal(e.to_string())))?;
    let updated = update(db, None, collection, &sent).await.map_err(|e| Unapplied::Failed(e.into()))?;
    let applied = |refused: &&Refused| refused.code == DUPLICATE_KEY && refused.unique == own_key;
    let Some(Refused { statement, code, unique }) = updated.refused.iter().find(|refused| !applied(refused)) else {
        return Ok(());
    };
    let why = format!("an update of {collection} failed with code {code}, unique index {unique:?}");
    Err(match *code {
        DUPLICATE_KEY | DOCUMENT_VALIDATION_FAILURE => {
            let query = statements.get(*statement).and_then(|statement| statement.get_document("q").ok());
            let record = query.and_then(|query| query.get_object_id("_id").ok());
            Unapplied::Refused(Refusal { why, record })
        }
        _ => Unapplied::Failed(StoreError::Internal(why)),
    })
}

fn by_collection(intent: &Intent, kind: ChangeKind) -> BTreeMap<&'static str, Vec<Document>> {
    let mut statements = BTreeMap::<_, Vec<_>>::new();
    for step in intent.steps.iter().filter(|step| step.change.kind == kind) {
        statements.entry(step.change.table.name()).or_default().push(statement(intent.client(), step));
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

/// Makes the counter, or raises it; one that is there and not lower counts as applied.
fn count(intent: &Intent) -> Document {
    let mut set = doc! { "revision": intent.revision() };
    if let Some(next) = intent.next_invoice() {
        set.insert("nextInvoice", next);
    }
    if let Some(lineage) = intent.lineage() {
        set.insert("lineage", lineage);
    }
    let earlier = doc! { "$not": { "$gte": intent.revision() } };
    doc! { "q": { "_id": intent.client(), "revision": earlier }, "u": { "$set": set }, "upsert": true }
}

/// What cannot be taken back is not refused, however the database sees it.
fn not_now(unapplied: Unapplied) -> StoreError {
    match unapplied {
        Unapplied::Refused(refusal) => StoreError::Internal(refusal.why),
        Unapplied::Failed(error) => error,
    }
}

/// A decided batch is never refused: it will be finished, though not now.
fn unfinished(error: StoreError) -> StoreError {
    StoreError::Unavailable(format!("a batch is decided and not yet applied: {error}"))
}
