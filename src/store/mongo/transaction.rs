//! Batches on a replica set or a sharded cluster: one session transaction each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, doc};
use mongodb::error::{
    Error, ErrorKind, IndexedWriteError, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};
use mongodb::options::{Acknowledgment, ReadConcern, ReturnDocument, WriteConcern};
use mongodb::{ClientSession, Database};

use super::backoff::Backoff;
use super::error::{DOCUMENT_VALIDATION_FAILURE, DUPLICATE_KEY, Failure, WRITE_CONFLICT, code, describe};
use super::histories::History;
use super::load::{Counter, Extent, load};
use super::orphans::Orphans;
use super::update::update;
use super::{CLIENTS, Executed, RECEIPTS};
use crate::clock;
use crate::dataset::Records;
use crate::failpoint::{self, Point};
use crate::model::{ClientId, Lineage};
use crate::plan::{Decision, Plan, Planner, ReadSet, Receipt, Reject, Snapshot, StoredReceipt};
use crate::store::records::{Change, ChangeKind, bson, changes, document, written};
use crate::store::{ExecuteError, StoreError};

/// For how long a client's document may be held by another transaction before somebody looks whether
/// the holder is alive. Transactions take milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Loads, plans and commits in one transaction, and runs it again from the start while the server says
/// that another try may succeed. The caller sets the deadline by dropping the future, which ends the
/// transaction.
pub(super) async fn execute(
    db: &Database,
    orphans: &Orphans,
    client: &ClientId,
    history: History<'_>,
    extent: Extent,
    planner: &dyn Planner,
) -> Result<Executed, ExecuteError> {
    let reads = planner.reads();
    let mut session = db.client().start_session().await.map_err(StoreError::from)?;
    let _at_work = orphans.at_work(&session);
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        let error = match attempt(db, &mut session, client, history, extent, planner, &reads).await {
            Ok(outcome) => return Ok(outcome),
            Err(Failure::Overtaken(error)) => error,
            Err(Failure::Driver(error)) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => error,
            Err(failure) => return Err(failure.into()),
        };
        tracing::debug!(%client, error = describe(&error), "transaction runs again");
        if code(&error) == Some(WRITE_CONFLICT) && begin.elapsed() > PATIENCE {
            orphans.end(db).await;
        }
        backoff.wait().await;
    }
}

/// What a planner would be given now, confirmed by a majority.
pub(super) async fn snapshot(db: &Database, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
    let mut session = db.client().start_session().await?;
    let mut backoff = Backoff::new();
    loop {
        match try_snapshot(db, &mut session, client, reads).await {
            Err(Failure::Driver(error)) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tracing::debug!(%client, error = describe(&error), "a snapshot is read again");
                backoff.wait().await;
            }
            result => return result.map_err(Failure::of_the_store),
        }
    }
}

async fn try_snapshot(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    reads: &ReadSet,
) -> Result<Snapshot, Failure> {
    begin(session).await?;
    match read(db, session, client, reads).await {
        Ok(snapshot) => {
            commit(session).await?;
            Ok(snapshot)
        }
        Err(failure) => {
            // Also what the server has ended already: the session takes no new transaction before.
            session.abort_transaction().await?;
            Err(failure)
        }
    }
}

async fn read(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    reads: &ReadSet,
) -> Result<Snapshot, Failure> {
    let counter = Counter::load(db, Some(&mut *session), client.object_id()).await?;
    Ok(load(db, Some(&mut *session), client, &counter, reads, Extent::Needed).await?.snapshot)
}

async fn begin(session: &mut ClientSession) -> Result<(), Failure> {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    Ok(session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable).await?)
}

/// What a transaction came to before its end.
enum Filled {
    /// Everything is written, and the commit is outstanding.
    Written(Executed),
    /// There is nothing to write, and this is the answer. Even that needs the commit: what was read may so far
    /// be known to this member alone, and only what a majority has confirmed may be told.
    Nothing(Result<Executed, Reject>),
}

async fn attempt(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    history: History<'_>,
    extent: Extent,
    planner: &dyn Planner,
    reads: &ReadSet,
) -> Result<Executed, Failure> {
    begin(session).await?;
    let executed = match fill(db, session, client, history, extent, planner, reads).await {
        Ok(Filled::Written(executed)) => {
            commit(session).await?;
            failpoint::reached(Point::AfterCommit);
            executed
        }
        Ok(Filled::Nothing(answer)) => {
            commit(session).await?;
            answer?
        }
        Err(failure) => {
            session.abort_transaction().await?;
            return Err(failure);
        }
    };
    history.saw(executed.outcome.moment.position);
    Ok(executed.at(session.operation_time()))
}

async fn fill(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    history: History<'_>,
    extent: Extent,
    planner: &dyn Planner,
    reads: &ReadSet,
) -> Result<Filled, Failure> {
    // First of all, so that two batches of one client meet here and nowhere else.
    let counter = bump(db, session, client).await?;
    let loaded = load(db, Some(&mut *session), client, &counter, reads, extent).await?;
    failpoint::reached(Point::BeforePlanning);
    let answer = match planner.plan(&loaded.snapshot) {
        Ok(Decision::Commit(plan)) if !plan.is_empty() => {
            failpoint::reached(Point::AfterPlanning);
            let changes = changes(client, &plan)?;
            let records = if extent == Extent::Whole { written(&changes, &loaded.records)? } else { Records::new() };
            let begun = if plan.writes.is_empty() { None } else { history.begun(&counter) };
            write(db, session, client, &plan, changes, begun.as_ref()).await?;
            return Ok(Filled::Written(Executed::wrote(*plan, &counter, begun, records)));
        }
        Ok(Decision::Commit(plan)) => Ok(Executed::nothing(plan.receipt, false, &counter)),
        Ok(Decision::Replay(receipt)) => Ok(Executed::nothing(*receipt, true, &counter)),
        Err(reject) => Err(reject),
    };
    put_back(db, session, client, counter).await?;
    Ok(Filled::Nothing(answer))
}

/// Takes the client's next revision, and returns the counter as it was before.
async fn bump(db: &Database, session: &mut ClientSession, client: &ClientId) -> Result<Counter, Failure> {
    let clients = db.collection::<RawDocumentBuf>(CLIENTS);
    let bumped = clients
        .find_one_and_update(doc! { "_id": client.object_id() }, doc! { "$inc": { "revision": 1_i64 } })
        .upsert(true)
        .return_document(ReturnDocument::After)
        .session(session)
        .await
        .map_err(overtaken_if_duplicate)?
        .ok_or_else(|| StoreError::Internal("an upsert returned nothing".to_owned()))?;
    let mut counter = Counter::of(&bumped);
    counter.revision.0 -= 1;
    Ok(counter)
}

/// Leaves the counter as it was before [`bump`].
async fn put_back(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    counter: Counter,
) -> Result<(), Failure> {
    let own = doc! { "_id": client.object_id() };
    if counter == Counter::default() {
        db.collection::<Document>(CLIENTS).delete_one(own).session(session).await?;
        return Ok(());
    }
    set(db, session, CLIENTS, &[doc! { "q": own, "u": { "$set": { "revision": counter.revision.0 } } }]).await
}

async fn write(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    plan: &Plan,
    changes: Vec<Change>,
    begun: Option<&Lineage>,
) -> Result<(), Failure> {
    for (collection, writes) in by_collection(client, changes) {
        if !writes.inserts.is_empty() {
            let records: Vec<_> = writes.inserts.iter().map(|record| record.get_object_id("_id").ok()).collect();
            let insert = db.collection::<Document>(collection).insert_many(writes.inserts).session(&mut *session).await;
            insert.map_err(|error| refused_if_forbidden(error, &records, &plan.receipt))?;
        }
        set(db, session, collection, &writes.sets).await?;
        failpoint::reached(Point::MidApply);
    }
    let mut counter = Document::new();
    if let Some(lineage) = begun {
        counter.insert("lineage", bson(lineage)?);
    }
    counter.extend(plan.next_invoice.map(|next| ("nextInvoice".to_owned(), next.into())));
    if plan.writes.is_empty() {
        // Only a receipt is written, and that takes no revision.
        counter.insert("revision", plan.receipt.revision.0);
    }
    if !counter.is_empty() {
        let statement = doc! { "q": { "_id": client.object_id() }, "u": { "$set": counter } };
        set(db, session, CLIENTS, &[statement]).await?;
    }
    if let Some(receipt) = &plan.remember {
        remember(db, session, client, receipt).await?;
    }
    Ok(())
}

/// The writes to one collection.
#[derive(Default)]
struct Writes {
    inserts: Vec<Document>,
    sets: Vec<Document>,
}

fn by_collection(client: &ClientId, changes: Vec<Change>) -> BTreeMap<&'static str, Writes> {
    let mut writes = BTreeMap::<_, Writes>::new();
    for Change { table, id, kind, fields } in changes {
        let writes = writes.entry(table.name()).or_default();
        match kind {
            ChangeKind::Insert => writes.inserts.push(fields),
            ChangeKind::Set => {
                let filter = doc! { "_id": id, "clientId": client.object_id() };
                writes.sets.push(doc! { "q": filter, "u": { "$set": fields } });
            }
        }
    }
    writes
}

/// Runs update statements each of which must find its record.
async fn set(
    db: &Database,
    session: &mut ClientSession,
    collection: &str,
    statements: &[Document],
) -> Result<(), Failure> {
    let updated = update(db, Some(session), collection, statements).await?;
    if let Some(refused) = updated.refused.first() {
        return Err(StoreError::Internal(format!("an update of {collection} failed with code {}", refused.code)).into());
    }
    if updated.matched != statements.len() as i64 {
        return Err(
            StoreError::Internal(format!("an update of {collection} did not find a record that was read")).into()
        );
    }
    Ok(())
}

async fn remember(
    db: &Database,
    session: &mut ClientSession,
    client: &ClientId,
    receipt: &StoredReceipt,
) -> Result<(), Failure> {
    let mut record = document(receipt)?;
    record.insert("_id", clock::new_id());
    record.insert("clientId", client.object_id());
    let insert = db.collection::<Document>(RECEIPTS).insert_one(record).session(session).await;
    // The next attempt finds the receipt that is there already.
    insert.map_err(overtaken_if_duplicate)?;
    Ok(())
}

/// Tells a record that the database will never take from failures of other kinds.
fn refused_if_forbidden(error: Error, records: &[Option<ObjectId>], receipt: &Receipt) -> Failure {
    let ErrorKind::InsertMany(insert) = error.kind.as_ref() else { return error.into() };
    let forbidden = |refused: &&IndexedWriteError| match refused.code {
        // An id that is there already is a bug, and no rule of the database's owner.
        DUPLICATE_KEY => !refused.message.contains("index: _id_ "),
        code => code == DOCUMENT_VALIDATION_FAILURE,
    };
    match insert.write_errors.iter().flatten().find(forbidden) {
        Some(refused) => Reject::by_the_database(receipt, records.get(refused.index).copied().flatten()).into(),
        None => error.into(),
    }
}

fn overtaken_if_duplicate(error: Error) -> Failure {
    if code(&error) == Some(DUPLICATE_KEY) { Failure::Overtaken(error) } else { Failure::Driver(error) }
}

/// Commits, again and again while the server does not say what came of it.
async fn commit(session: &mut ClientSession) -> Result<(), Failure> {
    let mut backoff = Backoff::new();
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                tracing::debug!(error = describe(&error), "commit is asked for again");
                backoff.wait().await;
            }
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => return Err(Failure::Driver(error)),
            // Whatever it is, it came too late to say that nothing was written.
            Err(error) => return Err(StoreError::Unavailable(describe(&error)).into()),
        }
    }
}
