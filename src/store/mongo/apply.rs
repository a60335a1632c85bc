//! What batches write inside of their transaction.

use std::collections::BTreeMap;

use bson::oid::ObjectId;
use bson::{RawDocumentBuf, cstr, rawdoc};
use mongodb::{ClientSession, Database};

use super::connection::Deployment;
use super::counter::Counter;
use super::error::{DOCUMENT_VALIDATION_FAILURE, DUPLICATE_KEY, Failure, Stopped};
use super::executed::{Executed, Left};
use super::write::{Refused, Written, insert, update};
use super::{CLIENTS, RECEIPTS};
use crate::failpoint::{self, Point};
use crate::model::{ClientId, Lineage};
use crate::plan::{Plan, Reject, StoredReceipt};
use crate::store::StoreError;
use crate::store::records::{Change, ChangeKind, Fields, raw_bson};

/// A batch whose fate is decided.
pub(super) struct Decided {
    pub client: ClientId,
    /// Its client's counter, as it was read.
    pub before: Counter,
    pub fate: Fate,
}

/// What is to become of a batch.
pub(super) enum Fate {
    /// It is written.
    Write(Box<Ready>),
    /// There is nothing to write, and this is the answer.
    Tell(Box<Result<Executed, Reject>>),
}

/// A plan, ready to be written.
pub(super) struct Ready {
    pub plan: Box<Plan>,
    /// Its writes.
    pub changes: Vec<Change<RawDocumentBuf>>,
    /// What it leaves.
    pub left: Left,
    /// The lineage of the history that it begins, if it does.
    pub begun: Option<Lineage>,
}

impl Decided {
    /// Whether something is to be written.
    pub fn writes(&self) -> bool {
        matches!(self.fate, Fate::Write(_))
    }

    /// The number from which on the client's next invoice has one, once that is committed.
    pub fn next_invoice(&self) -> i64 {
        match &self.fate {
            Fate::Write(ready) => self.before.next_invoice_after(&ready.plan),
            Fate::Tell(_) => self.before.next_invoice,
        }
    }

    /// What came of it, once that is committed.
    pub fn into_answer(self) -> Result<Executed, Reject> {
        match self.fate {
            Fate::Write(ready) => {
                let Ready { plan, begun, left, .. } = *ready;
                Ok(Executed::wrote(*plan, &self.before, begun, left))
            }
            Fate::Tell(answer) => *answer,
        }
    }
}

/// Writes what was decided, with one insert and one update for each collection.
pub(super) async fn apply(
    deployment: &Deployment,
    session: &mut ClientSession,
    decided: &mut [Decided],
) -> Result<(), Stopped> {
    let db = &deployment.db;
    let Writes { counters, receipts, records } = Writes::of(deployment, decided)?;
    // First of all, so that two batches of one client meet here and nowhere else.
    counters.made(&update(db, Some(&mut *session), CLIENTS, &counters.list).await?, CLIENTS)?;
    // Before the records, for they tell whether a batch was applied before.
    receipts.made(&insert(db, session, RECEIPTS, &receipts.list).await?, RECEIPTS)?;
    for (collection, RecordWrites { inserts, sets }) in records {
        make(db, session, collection, &inserts, decided).await?;
        set(db, session, collection, &sets).await?;
        failpoint::reached(Point::MidApply);
    }
    Ok(())
}

/// All that is to be written.
#[derive(Default)]
struct Writes {
    counters: Statements,
    receipts: Statements,
    /// By collection.
    records: BTreeMap<&'static str, RecordWrites>,
}

/// The writes to one collection.
#[derive(Default)]
struct RecordWrites {
    inserts: Statements,
    sets: Statements,
}

/// Statements of one command, and which batch each is of.
#[derive(Default)]
struct Statements {
    list: Vec<RawDocumentBuf>,
    members: Vec<usize>,
}

impl Statements {
    fn push(&mut self, member: usize, statement: RawDocumentBuf) {
        self.list.push(statement);
        self.members.push(member);
    }

    /// The batch of a statement that was refused.
    fn member(&self, refused: &Refused) -> Option<usize> {
        self.members.get(refused.statement).copied()
    }

    /// Makes sure that all were written. What is there already another server has made meanwhile, and the next attempt
    /// finds it.
    fn made(&self, written: &Written, collection: &str) -> Result<(), Stopped> {
        match written.refused.first() {
            None => Ok(()),
            Some(refused) if refused.code == DUPLICATE_KEY => Err(self.stopped(refused, Failure::Overtaken)),
            Some(refused) => Err(self.stopped(refused, refused.unexpected(collection))),
        }
    }

    fn stopped(&self, refused: &Refused, failure: impl Into<Failure>) -> Stopped {
        Stopped { failure: failure.into(), culprit: self.member(refused) }
    }
}

impl Writes {
    fn of(deployment: &Deployment, decided: &mut [Decided]) -> Result<Self, StoreError> {
        let mut writes = Self::default();
        for (member, Decided { client, fate, .. }) in decided.iter_mut().enumerate() {
            let Fate::Write(ready) = fate else { continue };
            let Ready { plan, changes, begun, .. } = &mut **ready;
            if let Some(step) = Counter::step(client, plan, begun.as_ref().map(raw_bson).transpose()?) {
                writes.counters.push(member, step);
            }
            if let Some(receipt) = &plan.remember {
                writes.receipts.push(member, receipt_record(client, receipt)?);
            }
            for change in std::mem::take(changes) {
                writes.change(deployment, member, client, change);
            }
        }
        Ok(writes)
    }

    fn change(&mut self, deployment: &Deployment, member: usize, client: &ClientId, change: Change<RawDocumentBuf>) {
        let Change { table, id, kind, fields } = change;
        let writes = self.records.entry(table.name()).or_default();
        match kind {
            ChangeKind::Insert => writes.inserts.push(member, fields),
            ChangeKind::Set => {
                let statement = rawdoc! { "q": stored(deployment, client, id), "u": { "$set": fields } };
                writes.sets.push(member, statement);
            }
        }
    }
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

/// A receipt as it is stored. Also without the index on its key there is one receipt under a key.
fn receipt_record(client: &ClientId, receipt: &StoredReceipt) -> Result<RawDocumentBuf, StoreError> {
    let internal = |e: bson::error::Error| StoreError::Internal(e.to_string());
    let mut record = rawdoc! { "_id": { "clientId": client.object_id(), "key": receipt.key.as_str() } };
    for field in &RawDocumentBuf::of(receipt).map_err(internal)? {
        let (name, value) = field.map_err(internal)?;
        record.append(name, value);
    }
    record.add_client(client);
    Ok(record)
}

async fn make(
    db: &Database,
    session: &mut ClientSession,
    collection: &str,
    inserts: &Statements,
    decided: &[Decided],
) -> Result<(), Stopped> {
    let inserted = insert(db, session, collection, &inserts.list).await?;
    let Some(refused) = inserted.refused.first() else { return Ok(()) };
    let forbidden = match refused.code {
        // An id that is there already is a bug, and no rule of the database's owner.
        DUPLICATE_KEY => refused.unique != ["_id"],
        code => code == DOCUMENT_VALIDATION_FAILURE,
    };
    let fate = inserts.member(refused).and_then(|member| decided.get(member)).map(|decided| &decided.fate);
    let Some(Fate::Write(ready)) = fate.filter(|_| forbidden) else {
        return Err(inserts.stopped(refused, refused.unexpected(collection)));
    };
    let record = inserts.list.get(refused.statement).and_then(|record| record.get_object_id("_id").ok());
    Err(inserts.stopped(refused, Reject::by_the_database(&ready.plan.receipt, record)))
}

/// Runs update statements each of which must find its record.
async fn set(db: &Database, session: &mut ClientSession, collection: &str, sets: &Statements) -> Result<(), Stopped> {
    let updated = update(db, Some(session), collection, &sets.list).await?;
    match updated.refused.first() {
        Some(refused) => Err(sets.stopped(refused, refused.unexpected(collection))),
        None if updated.matched == sets.list.len() as i64 => Ok(()),
        None => {
            let why = format!("an update of {collection} did not find a record that was read");
            Err(StoreError::Internal(why).into())
        }
    }
}
