//! Group commit: small batches of different clients that come while others are being committed share the next
//! transaction.
//!
//! For a small batch the database spends more on taking commands and on committing than on the records, and both
//! are shared. Who comes alone goes at once and alone, and so does the next one, so that the database has something to
//! do while a group is planned, and while its answers are sent. Who comes while groups are being committed waits for one
//! of them to end, and goes with all who came meanwhile; once they are some, they do not wait for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::backoff::Backoff;
use super::connection::Deployment;
use super::executed::Executed;
use super::histories::Histories;
use super::kept::Kept;
use super::orphans::Orphans;
use super::transaction::{Batch, Shared, Transactions};
use super::{WORK_DEADLINE, late};
use crate::model::ClientId;
use crate::store::client_queue::Turn;
use crate::store::{ExecuteError, Outcome, StoreError};

/// Commits batches in groups.
#[derive(Debug)]
pub(super) struct GroupCommit {
    orphans: Arc<Orphans>,
    histories: Arc<Histories>,
    kept: Arc<Kept>,
    most_shown: usize,
    runtime: Handle,
    strays: Semaphore,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many tasks commit groups, and how many of them have yet to take their first.
    tasks: usize,
    starting: usize,
}

/// A batch that waits for its group.
struct Job {
    deployment: Arc<Deployment>,
    batch: Batch,
    caller: Caller,
}

/// Who waits for a batch.
struct Caller {
    epoch: u64,
    client: ClientId,
    /// When the batch is given up.
    due: Instant,
    reply: oneshot::Sender<Result<Outcome, ExecuteError>>,
    /// The client's, until the batch is done with, also if nobody waits any more: so no group has two batches of one
    /// client.
    _turn: Turn,
}

impl GroupCommit {
    /// The most groups at once. The second one begins with one batch, and for each further one twice as many have to wait.
    const MOST_GROUPS: usize = 4;
    /// The most batches of a group, and the most records that they write together.
    const MOST_BATCHES: usize = 16;
    const MOST_RECORDS: usize = 1000;
    /// A batch that writes more, or reads more, does not share a transaction, so that nobody waits for it.
    const LARGE: usize = 200;
    const MUCH_TO_READ: usize = 1000;
    /// Batches that could not share a transaction and go alone, at once.
    const STRAYS_AT_ONCE: usize = 8;

    /// Call it on the main runtime, which groups are committed on. Of a dataset that is to be shown so many bytes are read
    /// beside a plan at most.
    pub fn new(orphans: Arc<Orphans>, histories: Arc<Histories>, kept: Arc<Kept>, most_shown: usize) -> Self {
        let strays = Semaphore::new(Self::STRAYS_AT_ONCE);
        Self { orphans, histories, kept, most_shown, runtime: Handle::current(), strays, waiting: Mutex::default() }
    }

    /// Whether a batch may share a transaction. On a sharded cluster each client has its shard, and a transaction over
    /// several of them is dear.
    pub fn shares(deployment: &Deployment, batch: &Batch) -> bool {
        !deployment.is_router && batch.size() <= Self::LARGE && batch.reading() <= Self::MUCH_TO_READ
    }

    /// Commits a batch, with others or alone, in its client's turn.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn execute(
        self: &Arc<Self>,
        deployment: Arc<Deployment>,
        batch: Batch,
        turn: Turn,
    ) -> Result<Outcome, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        let shares = Self::shares(&deployment, &batch);
        let due = Instant::now() + WORK_DEADLINE;
        let caller = Caller { epoch: batch.epoch, client: batch.client, due, reply, _turn: turn };
        let job = Job { deployment, batch, caller };
        if shares {
            self.submit(job);
        } else {
            self.commit_alone(job).await;
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a group of batches failed".to_owned()).into()))
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut waiting = self.waiting();
        waiting.jobs.push_back(job);
        let enough = (1 << waiting.tasks.saturating_sub(1)) * (waiting.starting + 1);
        if waiting.tasks == 0 || (waiting.tasks < Self::MOST_GROUPS && waiting.jobs.len() >= enough) {
            waiting.tasks += 1;
            waiting.starting += 1;
            self.runtime.spawn(Arc::clone(self).commit_all());
        }
    }

    /// Commits one group after the other while somebody waits.
    async fn commit_all(self: Arc<Self>) {
        self.waiting().starting -= 1;
        while let Some(jobs) = self.next_group() {
            let group = Arc::clone(&self);
            // On a task of its own: should a batch make it panic, the others still have their turn.
            if let Err(error) = self.runtime.spawn(group.commit(jobs)).await {
                tracing::error!(%error, "a group of batches failed");
            }
        }
    }

    /// Those who have waited longest, in their order; `None` once nobody waits.
    fn next_group(&self) -> Option<Vec<Job>> {
        let mut waiting = self.waiting();
        let (mut group, mut records) = (Vec::<Job>::new(), 0);
        while let Some(job) = waiting.jobs.pop_front() {
            records += job.batch.size();
            let fits = match group.first() {
                None => true,
                Some(first) => {
                    group.len() < Self::MOST_BATCHES
                        && records <= Self::MOST_RECORDS
                        && first.batch.epoch == job.batch.epoch
                        && Arc::ptr_eq(&first.deployment, &job.deployment)
                }
            };
            if !fits {
                waiting.jobs.push_front(job);
                break;
            }
            group.push(job);
        }
        if group.is_empty() {
            waiting.tasks -= 1;
        }
        (!group.is_empty()).then_some(group)
    }

    async fn commit(self: Arc<Self>, mut jobs: Vec<Job>) {
        // For whom nobody waits any more, nothing has begun.
        jobs.retain(|job| !job.caller.reply.is_closed());
        let Some(first) = jobs.first() else { return };
        let deployment = Arc::clone(&first.deployment);
        let (batches, callers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.batch, job.caller)).unzip();
        let shared = match timeout(WORK_DEADLINE, self.transactions(&deployment).execute_together(batches)).await {
            Ok(shared) => shared,
            Err(_) => callers.iter().map(|_| Shared::Done(Err(late(WORK_DEADLINE).into()))).collect(),
        };
        for (caller, shared) in callers.into_iter().zip(shared) {
            match shared {
                Shared::Done(executed) => self.answer(caller, executed),
                // Whatever holds it up does not hold up the next group.
                Shared::Alone(batch) => {
                    let (group, deployment) = (Arc::clone(&self), Arc::clone(&deployment));
                    let stray = async move { group.commit_stray(Job { deployment, batch, caller }).await };
                    self.runtime.spawn(stray);
                }
            }
        }
    }

    /// Commits one that got into somebody's way: after a pause, and not with too many others.
    async fn commit_stray(&self, job: Job) {
        let pass = async {
            Backoff::new().wait().await;
            self.strays.acquire().await
        };
        let passed = timeout_at(job.caller.due, pass).await;
        if job.caller.reply.is_closed() {
            return;
        }
        match passed {
            Ok(_permit) => self.commit_alone(job).await,
            Err(_) => self.answer(job.caller, Err(late(WORK_DEADLINE).into())),
        }
    }

    async fn commit_alone(&self, job: Job) {
        let Job { deployment, batch, caller } = job;
        let executed = timeout_at(caller.due, self.transactions(&deployment).execute(batch)).await;
        self.answer(caller, executed.unwrap_or_else(|_| Err(late(WORK_DEADLINE).into())));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transactions<'a>(&'a self, deployment: &'a Deployment) -> Transactions<'a> {
        let (orphans, histories, kept, most_shown) = (&self.orphans, &self.histories, &self.kept, self.most_shown);
        Transactions { deployment, orphans, histories, kept, most_shown }
    }

    fn answer(&self, caller: Caller, executed: Result<Executed, ExecuteError>) {
        let outcome = executed.map(|Executed { outcome, commit }| {
            if let Some(commit) = commit {
                self.kept.commit(caller.epoch, caller.client, commit);
            }
            outcome
        });
        // Who does not wait any more finds out by a retry.
        let _ = caller.reply.send(outcome);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("client", &self.caller.client).finish_non_exhaustive()
    }
}
