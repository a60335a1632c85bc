//! The writer: one thread that plans and applies waiting batches, and commits them together.
//!
//! An fsync costs the same for one batch as for many, so the thread takes all that wait (64 at most),
//! plans and applies one after another in one transaction, commits once, and only then answers: until
//! the commit even a reject may rest on a batch of the same group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use redb::Database;
use tokio::sync::oneshot;

use super::super::records;
use super::super::{ExecuteError, Outcome, StoreError};
use super::failed;
use super::tables::{ReceiptSweep, Tables, WritableTables};
use crate::failpoint::{self, Point};
use crate::model::ClientId;
use crate::plan::{Decision, Plan, Planner, Reject};

/// The way to the writer thread. Dropping it ends the thread after all that waits.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    client: ClientId,
    planner: Arc<dyn Planner>,
    answer: oneshot::Sender<Result<Outcome, ExecuteError>>,
}

impl Writer {
    /// Batches that may wait; one more is told that the store is overloaded.
    const QUEUE: usize = 1024;
    /// Batches that share a commit.
    const GROUP: usize = 64;

    /// Starts the thread.
    pub fn start(database: Arc<Database>, receipt_days: u32) -> Self {
        let (jobs, queue) = sync_channel(Self::QUEUE);
        let sweep = ReceiptSweep::new(receipt_days);
        let thread = std::thread::spawn(move || run(&database, &queue, sweep));
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Hands over a batch and waits until it is committed or refused.
    pub async fn execute(&self, client: ClientId, planner: Arc<dyn Planner>) -> Result<Outcome, ExecuteError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.try_send(Job { client, planner, answer }).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => gone(),
        })?;
        answered.await.map_err(|_| gone())?
    }
}

/// Waits for the thread, so that the file is closed when the store is.
impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the writer thread is gone".into())
}

fn run(database: &Database, queue: &Receiver<Job>, mut sweep: ReceiptSweep) {
    while let Ok(first) = queue.recv() {
        let group: Vec<Job> = std::iter::once(first).chain(queue.try_iter().take(Writer::GROUP - 1)).collect();
        match commit(database, &group) {
            Ok(results) => group.into_iter().zip(results).for_each(|(job, result)| job.answer(Ok(result))),
            // What one batch of the group cannot do must not stop the others.
            Err(_) => group.into_iter().for_each(|job| run_alone(database, job)),
        }
        if let Err(error) = sweep.run_if_due(database) {
            tracing::error!(%error, "cannot remove old receipts");
        }
    }
}

/// Runs a group in one transaction. An error means that nothing of the group was written. A panic is one
/// too: the transaction is gone with it, and the thread must go on.
fn commit(database: &Database, group: &[Job]) -> Result<Vec<Result<Outcome, Reject>>, StoreError> {
    catch_unwind(AssertUnwindSafe(|| try_commit(database, group)))
        .unwrap_or_else(|_| Err(StoreError::Internal("a batch panicked".into())))
}

fn try_commit(database: &Database, group: &[Job]) -> Result<Vec<Result<Outcome, Reject>>, StoreError> {
    let mut transaction = database.begin_write().map_err(failed)?;
    // Opens at once after a crash, instead of walking the whole file.
    transaction.set_quick_repair(true);
    let mut tables = Tables::open(&transaction)?;
    let mut wrote = false;
    let mut results = Vec::with_capacity(group.len());
    for job in group {
        let snapshot = tables.load(&job.client, &job.planner.reads())?;
        failpoint::reached(Point::BeforePlanning);
        results.push(match job.planner.plan(&snapshot) {
            Ok(Decision::Commit(plan)) => {
                failpoint::reached(Point::AfterPlanning);
                wrote |= apply(&job.client, &plan, &mut tables)?;
                Ok(Outcome { receipt: plan.receipt, replayed: false })
            }
            Ok(Decision::Replay(receipt)) => Ok(Outcome { receipt: *receipt, replayed: true }),
            Err(reject) => Err(reject),
        });
    }
    drop(tables);
    if wrote {
        transaction.commit().map_err(failed)?;
        failpoint::reached(Point::AfterCommit);
    } else {
        transaction.abort().map_err(failed)?;
    }
    Ok(results)
}

/// Applies a plan. False if there was nothing to write.
fn apply(client: &ClientId, plan: &Plan, tables: &mut WritableTables<'_>) -> Result<bool, StoreError> {
    for change in records::changes(client, plan)? {
        tables.apply(client, &change)?;
        failpoint::reached(Point::MidApply);
    }
    if !plan.writes.is_empty() {
        tables.advance(client, plan.receipt.revision, plan.next_invoice)?;
    }
    if let Some(receipt) = &plan.remember {
        tables.remember(client, receipt)?;
    }
    Ok(!plan.writes.is_empty() || plan.remember.is_some())
}

fn run_alone(database: &Database, job: Job) {
    let result = commit(database, std::slice::from_ref(&job));
    job.answer(result.map(|mut results| results.remove(0)));
}

impl Job {
    /// A phone that hung up takes no answer.
    fn answer(self, result: Result<Result<Outcome, Reject>, StoreError>) {
        let _ =
            self.answer.send(result.map_err(ExecuteError::from).and_then(|result| result.map_err(ExecuteError::from)));
    }
}
