//! Batches on a replica set or a sharded cluster: a session transaction for one batch, or for several batches of
//! different clients.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Database};
use tokio::time::timeout;

use super::apply::{Decided, Fate, Ready, apply};
use super::backoff::Backoff;
use super::connection::Deployment;
use super::counter::Counter;
use super::dataset::At;
use super::error::{Failure, Stopped, WRITE_CONFLICT, code, describe};
use super::executed::{Executed, Left};
use super::glance::{Asking, glance};
use super::histories::{Histories, History, Seen};
use super::kept::Kept;
use super::late;
use super::load::{Asked, Beside, Keep, Loaded, complete, load};
use super::orphans::Orphans;
use crate::dataset::Records;
use crate::failpoint::{self, Point};
use crate::metrics::{self, Retry};
use crate::model::ClientId;
use crate::plan::{Decision, Glance, Planner, ReadSet, Reject, Snapshot};
use crate::store::records::{changes, written};
use crate::store::{ExecuteError, StoreError};

/// For how long a client's document may be held by another transaction before somebody looks whether
/// the holder is alive. Transactions take milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where batches are executed, and what that takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transactions<'a> {
    pub deployment: &'a Deployment,
    pub orphans: &'a Orphans,
    pub histories: &'a Histories,
    pub kept: &'a Kept,
    /// The most that is read of a dataset beside the plan and shown, in bytes.
    pub most_shown: usize,
}

/// A batch, and how to go about it.
pub(super) struct Batch {
    /// Whose it is.
    pub client: ClientId,
    /// Of which time of the database.
    pub epoch: u64,
    planner: Arc<dyn Planner>,
    reads: ReadSet,
    look: Look,
    /// Whether it holds its client's document before it reads, because others were quicker than its plan.
    holds: bool,
    beside: Beside,
}

/// How much is loaded before planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// What a [`Glance`] takes; the rest only if the decision does not stand.
    AtAGlance,
    /// All, because the decision on a glance could not be committed, with a find for each kind of record.
    AtEverything,
}

/// What of an attempt's reads is kept.
#[derive(Clone, Copy)]
struct Keeping {
    keep: Keep,
    /// A time that nothing which it reads is older than, in this time of the store.
    since: u64,
    epoch: u64,
}

/// What came of a batch in a transaction that it shared.
pub(super) enum Shared {
    Done(Result<Executed, ExecuteError>),
    /// Nothing: it has to go alone.
    Alone(Batch),
}

impl Batch {
    pub fn new(client: ClientId, epoch: u64, planner: Arc<dyn Planner>, beside: Beside) -> Self {
        Self { client, epoch, reads: planner.reads(), planner, look: Look::AtAGlance, holds: false, beside }
    }

    /// Roughly how many records it writes.
    pub fn size(&self) -> usize {
        self.planner.size()
    }

    /// Roughly how many records it reads.
    pub fn reading(&self) -> usize {
        let ReadSet { items, invoices, groups, customers, dealers, free_numbers, local_ids, receipts } = &self.reads;
        let others = groups.len() + customers.len() + dealers.len() + local_ids.len() + receipts.len();
        items.len() + invoices.len() + others + free_numbers
    }

    /// A rule that panics does so for one batch, and not for those that share its transaction.
    fn plan(&self, snapshot: &Snapshot) -> Result<Result<Decision, Reject>, StoreError> {
        let planned = catch_unwind(AssertUnwindSafe(|| self.planner.plan(snapshot)));
        planned.map_err(|_| StoreError::Internal("a planner panicked".to_owned()))
    }

    fn asked(&self, history: History<'_>) -> Asked<'_> {
        let plainly = Asked::plainly(&self.client, &self.reads);
        let likely_next_invoice = history.seen().map_or(plainly.likely_next_invoice, |seen| seen.next_invoice);
        Asked { beside: self.beside, likely_next_invoice, ..plainly }
    }

    /// Learns from an attempt that failed.
    fn learn(&mut self, failure: &Failure) {
        match retry(failure) {
            Some(Retry::Overtaken | Retry::Apart) => self.look = Look::AtEverything,
            Some(Retry::Conflict) => self.holds = true,
            _ => {}
        }
    }
}

impl Transactions<'_> {
    /// How often a group goes on without one of its batches. In a storm of retries all of them may have to go.
    const MOST_CULPRITS: usize = 2;
    /// How long what comes before the commit may take for a group: whoever is slow is so alone.
    const PATIENCE_WITH_A_GROUP: Duration = Duration::from_secs(1);

    /// Loads, plans and commits batches of different clients, one or more, in one transaction. If that fails because
    /// of one of them, the others go on without it; if of more, or nobody knows because of which, none goes on. The results are in the order
    /// of the batches. The caller sets the deadline by dropping the future, which ends the transaction.
    pub async fn execute_together(self, mut batches: Vec<Batch>) -> Vec<Shared> {
        let mut done: Vec<_> = batches.iter().map(|_| None).collect();
        let (mut together, mut culprits): (Vec<usize>, _) = ((0..batches.len()).collect(), 0);
        while !together.is_empty() {
            let members: Vec<_> = together.iter().map(|&place| &batches[place]).collect();
            match self.try_together(&members).await {
                Ok(answers) => {
                    for (place, answer) in together.drain(..).zip(answers) {
                        done[place] = Some(answer.map_err(ExecuteError::from));
                    }
                }
                // To do it again could be to do it twice.
                Err(Stopped { failure: Failure::Unsettled(why), .. }) => {
                    for place in together.drain(..) {
                        done[place] = Some(Err(StoreError::Unavailable(why.clone()).into()));
                    }
                }
                Err(Stopped { failure, culprit }) => match culprit.or((together.len() == 1).then_some(0)) {
                    Some(member) if culprits < Self::MOST_CULPRITS => {
                        culprits += 1;
                        batches[together.remove(member)].learn(&failure);
                    }
                    _ => together.clear(),
                },
            }
        }
        let result = |(batch, done): (_, Option<_>)| done.map_or(Shared::Alone(batch), Shared::Done);
        batches.into_iter().zip(done).map(result).collect()
    }

    /// Loads, plans and commits one batch, and runs its transaction again from the start while the server says that
    /// another try may succeed. The caller sets the deadline as above.
    pub async fn execute(self, mut batch: Batch) -> Result<Executed, ExecuteError> {
        let mut session = self.session().await?;
        let _at_work = self.orphans.at_work(&session);
        let (begin, mut backoff, mut gap) = (Instant::now(), Backoff::new(), Backoff::for_a_gap());
        loop {
            let failure = match self.attempt(&mut session, &[&batch]).await {
                Ok(mut answers) => return Ok(answers.remove(0)?),
                Err(stopped) => stopped.failure,
            };
            let Some(retry) = retry(&failure) else { return Err(failure.into()) };
            metrics::RETRIES.count(retry);
            tracing::debug!(client = %batch.client, error = failure.reason(), "transaction runs again");
            if retry == Retry::Conflict && begin.elapsed() > PATIENCE {
                self.orphans.end(&self.deployment.db).await;
            }
            batch.learn(&failure);
            if retry == Retry::Conflict { gap.wait().await } else { backoff.wait().await }
        }
    }

    async fn try_together(self, batches: &[&Batch]) -> Result<Vec<Result<Executed, Reject>>, Stopped> {
        let mut session = self.session().await?;
        let _at_work = self.orphans.at_work(&session);
        let tried = self.attempt(&mut session, batches).await;
        tried.inspect_err(|stopped| {
            retry(&stopped.failure).into_iter().for_each(|retry| metrics::RETRIES.count(retry));
            if batches.len() > 1 {
                let error = stopped.failure.reason();
                tracing::debug!(batches = batches.len(), culprit = stopped.culprit, error, "a group is taken apart");
            }
        })
    }

    async fn session(self) -> Result<ClientSession, StoreError> {
        Ok(self.deployment.db.client().start_session().await?)
    }

    /// One transaction. Also who has nothing to write is answered after the commit: what was read may before be
    /// known to this member alone, and only what a majority has confirmed may be told.
    async fn attempt(
        self,
        session: &mut ClientSession,
        batches: &[&Batch],
    ) -> Result<Vec<Result<Executed, Reject>>, Stopped> {
        if self.deployment.is_router {
            // A router may give a transaction a moment before commits that phones of another router have heard of. What
            // this session has read, the transaction sees too.
            for batch in batches {
                Counter::load(&self.deployment.db, Some(&mut *session), batch.client.object_id()).await?;
            }
        }
        let keeping = self.begin_to_keep(batches).await;
        if keeping.since > 0 {
            session.advance_operation_time(At::of(keeping.since).0);
        }
        begin(session).await?;
        let limit = if batches.len() > 1 { Self::PATIENCE_WITH_A_GROUP } else { Duration::MAX };
        let filled = timeout(limit, self.fill(session, batches, keeping)).await;
        let decided = match filled.unwrap_or_else(|_| Err(late(limit).into())) {
            Ok(decided) => decided,
            Err(stopped) => {
                session.abort_transaction().await?;
                return Err(stopped);
            }
        };
        commit(session).await?;
        let time = session.operation_time();
        if decided.iter().any(Decided::writes) {
            failpoint::reached(Point::AfterCommit);
            self.kept.committed(keeping.epoch, time.map_or(0, |time| At(time).time()));
        }
        let answers = batches.iter().zip(decided).map(|(batch, decided)| {
            let next_invoice = decided.next_invoice();
            let executed = decided.into_answer()?.at(time);
            self.history(batch).saw(Seen { position: executed.outcome.after.moment.position, next_invoice });
            Ok(executed)
        });
        Ok(answers.collect())
    }

    async fn begin_to_keep(self, batches: &[&Batch]) -> Keeping {
        let epoch = batches.first().map_or(0, |batch| batch.epoch);
        // Of a client whose dataset is kept from now on, what is committed now is a gap, by which it is noticed.
        let is_kept = batches.iter().any(|batch| self.kept.holds(epoch, &batch.client));
        let keep = if is_kept { Keep::Records } else { Keep::Nothing };
        let shows = batches.iter().any(|batch| batch.beside == Beside::Everything);
        let since = if shows { self.kept.begin(self.deployment, epoch).await } else { 0 };
        Keeping { keep, since, epoch }
    }

    async fn fill(
        self,
        session: &mut ClientSession,
        batches: &[&Batch],
        keeping: Keeping,
    ) -> Result<Vec<Decided>, Stopped> {
        for batch in batches.iter().filter(|batch| batch.holds) {
            Counter::hold(&self.deployment.db, session, &batch.client).await?;
        }
        let asked: Vec<_> = batches.iter().map(|batch| batch.asked(self.history(batch))).collect();
        let at_a_glance = batches.iter().all(|batch| batch.look == Look::AtAGlance);
        let asking = if at_a_glance && !self.deployment.is_router { Asking::Together } else { Asking::Apart };
        let loaded = glance(&self.deployment.db, Some(&mut *session), &asked, keeping.keep, asking).await?;
        let mut decided = Vec::with_capacity(batches.len());
        for (member, (batch, loaded)) in batches.iter().zip(loaded).enumerate() {
            let one = self.decide(session, batch, loaded, keeping).await;
            decided.push(one.map_err(|failure| Stopped::by(member, failure))?);
        }
        if decided.iter().any(Decided::writes) {
            failpoint::reached(Point::AfterPlanning);
        }
        apply(self.deployment, session, &mut decided).await?;
        Ok(decided)
    }

    fn history(&self, batch: &Batch) -> History<'_> {
        self.histories.of(batch.epoch, batch.client)
    }

    async fn decide(
        self,
        session: &mut ClientSession,
        batch: &Batch,
        loaded: Loaded,
        keeping: Keeping,
    ) -> Result<Decided, Failure> {
        let mut loaded = loaded.usable()?;
        let decision = self.plan(session, batch, &mut loaded).await?;
        let (client, before) = (batch.client, loaded.counter);
        let fate = match decision {
            Ok(Decision::Commit(plan)) if !plan.is_empty() => {
                let changes = changes(&client, &plan)?;
                let whole = loaded.whole.filter(|whole| whole.can_be_shown_with(&changes, self.most_shown));
                let records = match (keeping.keep, &whole) {
                    (Keep::Nothing, None) => Records::new(),
                    _ => written(&changes, &loaded.records)?,
                };
                let (epoch, since) = (batch.epoch, keeping.since);
                let left = match whole.and_then(|whole| whole.dataset_with(&records)) {
                    Some(dataset) => Left::Dataset { epoch, dataset, since },
                    None if keeping.keep == Keep::Records => Left::Records(records),
                    None => Left::Nothing,
                };
                let begun = if plan.writes.is_empty() { None } else { self.history(batch).begun(&before) };
                Fate::Write(Box::new(Ready { plan, changes, left, begun }))
            }
            Ok(Decision::Commit(plan)) => Fate::Tell(Box::new(Ok(Executed::nothing(plan.receipt, false, &before)))),
            Ok(Decision::Replay(receipt)) => Fate::Tell(Box::new(Ok(Executed::nothing(*receipt, true, &before)))),
            Err(reject) => Fate::Tell(Box::new(Err(reject))),
        };
        Ok(Decided { client, before, fate })
    }

    /// Plans on what was loaded at a glance, and on everything if that decides nothing.
    async fn plan(
        self,
        session: &mut ClientSession,
        batch: &Batch,
        loaded: &mut Loaded,
    ) -> Result<Result<Decision, Reject>, Failure> {
        failpoint::reached(Point::BeforePlanning);
        if batch.look == Look::AtAGlance {
            let decision = batch.plan(&loaded.snapshot)?;
            if (Glance { reads: &batch.reads, snapshot: &loaded.snapshot }).decides(&decision) {
                return Ok(decision);
            }
        }
        complete(&self.deployment.db, Some(session), Asked::plainly(&batch.client, &batch.reads), loaded).await?;
        Ok(batch.plan(&loaded.snapshot)?)
    }
}

/// For what another attempt is worth it, if for anything.
fn retry(failure: &Failure) -> Option<Retry> {
    match failure {
        Failure::Overtaken => Some(Retry::Overtaken),
        Failure::NotTogether(_) => Some(Retry::Apart),
        Failure::Driver(error) if !error.contains_label(TRANSIENT_TRANSACTION_ERROR) => None,
        Failure::Driver(error) if code(error) == Some(WRITE_CONFLICT) => Some(Retry::Conflict),
        Failure::Driver(_) => Some(Retry::Transient),
        Failure::Rejected(_) | Failure::Store(_) | Failure::Unsettled(_) => None,
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
    Ok(load(db, Some(&mut *session), Asked::plainly(client, reads), Keep::Nothing).await?.snapshot)
}

async fn begin(session: &mut ClientSession) -> Result<(), Failure> {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    Ok(session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable).await?)
}

/// Commits, again and again while the server does not say what came of it.
async fn commit(session: &mut ClientSession) -> Result<(), Failure> {
    let mut backoff = Backoff::new();
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                tracing::debug!(error = describe(&error), "commit is asked for again");
                metrics::RETRIES.count(Retry::Commit);
                backoff.wait().await;
            }
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => return Err(Failure::Driver(error)),
            // Whatever it is, it came too late to say that nothing was written.
            Err(error) => return Err(Failure::Unsettled(describe(&error))),
        }
    }
}
