//! Batches on a replica set or a sharded cluster: one session transaction each.

use std::time::{Duration, Instant};

use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Database};

use super::Executed;
use super::apply::{apply, put_back};
use super::backoff::Backoff;
use super::connection::Deployment;
use super::counter::Counter;
use super::error::{Failure, WRITE_CONFLICT, code, describe};
use super::histories::History;
use super::load::{Asking, Keep, complete, glance, load};
use super::orphans::Orphans;
use crate::dataset::Records;
use crate::failpoint::{self, Point};
use crate::model::ClientId;
use crate::plan::{Decision, Glance, Planner, ReadSet, Reject, Snapshot};
use crate::store::records::{changes, raw_bson, written};
use crate::store::{ExecuteError, StoreError};

/// For how long a client's document may be held by another transaction before somebody looks whether
/// the holder is alive. Transactions take milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Loads, plans and commits in one transaction, and runs it again from the start while the server says
/// that another try may succeed. The caller sets the deadline by dropping the future, which ends the
/// transaction.
pub(super) async fn execute(
    deployment: &Deployment,
    orphans: &Orphans,
    client: &ClientId,
    history: History<'_>,
    keep: Keep,
    planner: &dyn Planner,
) -> Result<Executed, ExecuteError> {
    let db = &deployment.db;
    let mut session = db.client().start_session().await.map_err(StoreError::from)?;
    let _at_work = orphans.at_work(&session);
    let mut batch = Batch { deployment, client, history, keep, planner, reads: planner.reads(), look: Look::AtAGlance };
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        match batch.attempt(&mut session).await {
            Ok(outcome) => return Ok(outcome),
            Err(Failure::Overtaken) => {
                tracing::debug!(%client, "somebody was quicker; the transaction runs again");
                batch.look = Look::AtEverything;
            }
            Err(Failure::NotTogether(error)) => {
                tracing::debug!(%client, error = describe(&error), "transaction runs again with more commands");
                batch.look = Look::AtEverything;
            }
            Err(Failure::Driver(error)) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tracing::debug!(%client, error = describe(&error), "transaction runs again");
                if code(&error) == Some(WRITE_CONFLICT) && begin.elapsed() > PATIENCE {
                    orphans.end(db).await;
                }
            }
            Err(failure) => return Err(failure.into()),
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
    let counter = Counter::load(db, Some(&mut *session), client.object_id()).await?.usable()?;
    Ok(load(db, Some(&mut *session), client, &counter, reads, Keep::Nothing).await?.snapshot)
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

/// A batch, and how to go about it.
struct Batch<'a> {
    deployment: &'a Deployment,
    client: &'a ClientId,
    history: History<'a>,
    keep: Keep,
    planner: &'a dyn Planner,
    reads: ReadSet,
    look: Look,
}

/// How much is loaded before planning.
enum Look {
    /// What a [`Glance`] takes; the rest only if the decision does not stand.
    AtAGlance,
    /// All, because the decision on a glance could not be committed, with a find for each kind of record.
    AtEverything,
}

impl Batch<'_> {
    async fn attempt(&self, session: &mut ClientSession) -> Result<Executed, Failure> {
        begin(session).await?;
        let executed = match self.fill(session).await {
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
        self.history.saw(executed.outcome.moment.position);
        Ok(executed.at(session.operation_time()))
    }

    async fn fill(&self, session: &mut ClientSession) -> Result<Filled, Failure> {
        let Self { deployment, client, .. } = self;
        // First of all, so that two batches of one client meet here and nowhere else.
        let raised = Counter::raise(&deployment.db, session, client, &self.reads).await?;
        let (decision, records) = self.decide(session, &raised.before).await?;
        let answer = match decision {
            Ok(Decision::Commit(plan)) if !plan.is_empty() => {
                failpoint::reached(Point::AfterPlanning);
                let changes = changes(client, &plan)?;
                let records = match self.keep {
                    Keep::Records => written(&changes, &records)?,
                    Keep::Nothing => Records::new(),
                };
                let begun = if plan.writes.is_empty() { None } else { self.history.begun(&raised.before) };
                let correction = raised.correction(&plan, begun.as_ref().map(raw_bson).transpose()?);
                apply(deployment, session, client, &plan, changes, correction).await?;
                return Ok(Filled::Written(Executed::wrote(*plan, &raised.before, begun, records)));
            }
            Ok(Decision::Commit(plan)) => Ok(Executed::nothing(plan.receipt, false, &raised.before)),
            Ok(Decision::Replay(receipt)) => Ok(Executed::nothing(*receipt, true, &raised.before)),
            Err(reject) => Err(reject),
        };
        put_back(&deployment.db, session, client, raised).await?;
        Ok(Filled::Nothing(answer))
    }

    /// Loads and plans. Gives the records that were loaded too, if they are to be kept.
    async fn decide(
        &self,
        session: &mut ClientSession,
        counter: &Counter,
    ) -> Result<(Result<Decision, Reject>, Records), Failure> {
        let (db, reads) = (&self.deployment.db, &self.reads);
        let asking = match self.look {
            Look::AtAGlance if !self.deployment.is_router => Asking::Together,
            _ => Asking::Apart,
        };
        let mut loaded = glance(db, Some(&mut *session), self.client, counter, reads, self.keep, asking).await?;
        if let Look::AtAGlance = self.look {
            failpoint::reached(Point::BeforePlanning);
            let decision = self.planner.plan(&loaded.snapshot);
            if (Glance { reads, snapshot: &loaded.snapshot }).decides(&decision) {
                return Ok((decision, loaded.records));
            }
        }
        complete(db, Some(session), self.client, reads, &mut loaded).await?;
        failpoint::reached(Point::BeforePlanning);
        Ok((self.planner.plan(&loaded.snapshot), loaded.records))
    }
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
