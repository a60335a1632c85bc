//! MongoDB, in the layout of the existing Viveka databases.
//!
//! On a replica set or a sharded cluster a batch is one transaction (`transaction`) and a dataset one
//! snapshot (`dataset`). A lone mongod has neither; there a batch is first stored as an `intent` and
//! then applied (`standalone`), and whoever comes next finishes what was interrupted.

mod account;
mod apply;
mod archive;
mod at_once;
mod backoff;
mod connection;
mod counter;
mod dataset;
mod error;
mod executed;
mod find;
mod glance;
mod group;
mod histories;
mod indexes;
mod intent;
mod kept;
mod load;
mod oplog;
mod options;
mod orphans;
mod question;
mod read;
mod readings;
mod standalone;
mod together;
mod topology;
mod transaction;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

pub use archive::{MongoArchive, Pending};
pub use options::{MongoOptions, check_database_name, check_url, shown_url};

use super::client_queue::{ClientQueue, Gate};
use super::records::{OwnTable, Table};
use super::{After, DatasetMemory, ExecuteError, Health, Outcome, Pull, Standing, Store, StoreError, Wanted};
use crate::model::{ClientId, SessionId};
use crate::plan::{Planner, ReadSet, Snapshot};
use at_once::LargeClients;
use connection::{Connection, Deployment};
use executed::Executed;
use group::GroupCommit;
use histories::Histories;
use kept::Kept;
use load::{Beside, Keep};
use orphans::Orphans;
use readings::Readings;
use topology::Topology;
use transaction::Batch;

/// Our own collections, beside those of [`crate::model::Collection`]: each client's counter, receipts, what
/// local ids stand for, on a lone mongod the intents, and who the store is.
const CLIENTS: &str = "syncclients";
const RECEIPTS: &str = "syncreceipts";
const LOCAL_IDS: &str = "synclocalids";
const INTENTS: &str = "syncintents";
/// One document, the identity of this store.
const STORE: &str = "syncstore";
/// Another service's collection, in which dealers are looked up.
const DEALERS: &str = "dealers";

/// How long a batch may take, the wait for its turn included. With a dataset's time it stays under the
/// 30 s that phones wait.
const BATCH_DEADLINE: Duration = Duration::from_secs(15);
/// How long it may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it may take from then on.
const WORK_DEADLINE: Duration = Duration::from_secs(10);
/// How long a dataset may take, the wait included.
const DATASET_DEADLINE: Duration = Duration::from_secs(10);
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// How long it may take to look up a session, for which a request waits before its body is read.
const SESSION_DEADLINE: Duration = Duration::from_secs(5);

/// As many clients have their turn together as fill the groups that are committed at once.
const TURNS_AT_ONCE: usize = 64;
/// Batches that share no transaction. A few times the cores of a database server: more at once only wait there
/// instead of here.
const ALONE_AT_ONCE: usize = 16;
/// A dataset takes six connections; together with the batches they stay within the pool.
const DATASETS_AT_ONCE: usize = 4;
const MOST_WAITING: usize = 1024;

/// A MongoDB database, which may be away: then every call but [`MongoStore::ready`] fails at once.
#[derive(Debug)]
pub struct MongoStore {
    connection: Connection,
    batches: Arc<ClientQueue>,
    datasets: Gate,
    readings: Arc<Readings>,
    groups: Arc<GroupCommit>,
    alone: Gate,
    histories: Arc<Histories>,
    kept: Arc<Kept>,
    memory: DatasetMemory,
    large: LargeClients,
}

impl MongoStore {
    /// Begins to look for the database, for as long as it takes. When it is found, collections and indexes
    /// that are missing are made and interrupted batches finished; only then it is used. Waits for all that
    /// if the database answers within 3 s; else the search goes on after the return.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the database cannot be used: a wrong URL, wrong credentials, missing
    /// rights, an old MongoDB; [`StoreError::Internal`] if it fails. The text holds no credentials.
    pub async fn open(options: MongoOptions) -> Result<Self, StoreError> {
        check_url(&options.url).map_err(StoreError::Unusable)?;
        let batches = Arc::new(ClientQueue::new(TURNS_AT_ONCE, MOST_WAITING));
        let orphans = Arc::<Orphans>::default();
        let memory = options.memory;
        let histories = Arc::new(Histories::new());
        let kept = Arc::new(Kept::new(options.sole_writer, memory));
        let most_shown = at_once::most_bytes(memory.most_held());
        let groups = GroupCommit::new(Arc::clone(&orphans), Arc::clone(&histories), Arc::clone(&kept), most_shown);
        let connection = Connection::begin(options, Arc::clone(&batches), orphans);
        connection.begun().await?;
        Ok(Self {
            connection,
            batches,
            datasets: Gate::new(DATASETS_AT_ONCE, MOST_WAITING),
            readings: Arc::default(),
            groups: Arc::new(groups),
            alone: Gate::new(ALONE_AT_ONCE, MOST_WAITING),
            histories,
            kept,
            memory,
            large: LargeClients::new(),
        })
    }

    /// Waits until the database is in use.
    ///
    /// # Errors
    /// As for [`MongoStore::open`].
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.connection.ready().await
    }

    /// Waits until the database turns out to be unusable when it is found for the first time: what would
    /// have been the error of [`MongoStore::open`] had it answered then. Otherwise it waits for ever.
    pub fn unusable(&self) -> impl Future<Output = StoreError> + Send + 'static {
        self.connection.unusable()
    }

    /// The deployment that is in use. On a lone mongod a transaction would be refused, but a replica set
    /// takes what is meant for a lone mongod; so before that is sent, it is asked what it is now.
    async fn deployment(&self) -> Result<Arc<Deployment>, StoreError> {
        let deployment = self.connection.current()?;
        if deployment.topology == Topology::Standalone {
            deployment.confirm().await?;
        }
        Ok(deployment)
    }

    async fn execute_in_turn(
        &self,
        client: &ClientId,
        planner: Arc<dyn Planner>,
        next: Wanted,
    ) -> Result<Outcome, ExecuteError> {
        let turn = within(LONGEST_WAIT, self.batches.turn(client.object_id())).await?;
        // Asked before the work, so that nothing of an earlier time of the database is kept for a later one.
        let epoch = self.connection.epoch();
        let deployment = self.deployment().await?;
        match deployment.topology {
            Topology::Transactional => {
                let batch = Batch::new(*client, epoch, planner, self.beside(epoch, client, next));
                let shares = GroupCommit::shares(&deployment, &batch);
                let _passed = if shares { None } else { Some(within(LONGEST_WAIT, self.alone.pass()).await?) };
                self.groups.execute(deployment, batch, turn).await
            }
            Topology::Standalone => {
                let _passed = within(LONGEST_WAIT, self.alone.pass()).await?;
                self.execute_alone(&deployment, epoch, client, planner.as_ref()).await
            }
        }
    }

    /// What is worth to be read beside a plan: what is shown next, unless it is large or known already.
    fn beside(&self, epoch: u64, client: &ClientId, next: Wanted) -> Beside {
        match next {
            Wanted::Full(_) if !self.large.contains(client) && !self.kept.knows(epoch, client) => Beside::Everything,
            _ => Beside::Nothing,
        }
    }

    /// On a lone mongod, in the client's turn.
    async fn execute_alone(
        &self,
        deployment: &Deployment,
        epoch: u64,
        client: &ClientId,
        planner: &dyn Planner,
    ) -> Result<Outcome, ExecuteError> {
        let history = self.histories.of(epoch, *client);
        let keep = if self.kept.holds(epoch, client) { Keep::Records } else { Keep::Nothing };
        let executed = within(WORK_DEADLINE, standalone::execute(&deployment.db, client, history, keep, planner));
        let Executed { outcome, commit } = executed.await?;
        if let Some(commit) = commit {
            self.kept.commit(epoch, *client, commit);
        }
        Ok(outcome)
    }

    async fn snapshot_in_turn(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        match self.connection.current()?.topology {
            Topology::Transactional => {
                let _passed = self.datasets.pass().await?;
                transaction::snapshot(&self.deployment().await?.db, client, reads).await
            }
            Topology::Standalone => {
                let _turn = self.batches.turn(client.object_id()).await?;
                standalone::snapshot(&self.deployment().await?.db, client, reads).await
            }
        }
    }

    /// Whatever failed, it may be because the database is not what it was.
    fn doubt(&self, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(_) | StoreError::Unusable(_) | StoreError::Internal(_)) {
            self.connection.doubt();
        }
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn execute(
        &self,
        client: &ClientId,
        planner: Arc<dyn Planner>,
        next: Wanted,
    ) -> Result<Outcome, ExecuteError> {
        // Who cannot be served does not wait in line.
        self.connection.current()?;
        let done = within(BATCH_DEADLINE, self.execute_in_turn(client, planner, next)).await;
        done.inspect_err(|error| {
            if let ExecuteError::Store(error) = error {
                self.doubt(error);
            }
        })
    }

    async fn snapshot(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        let read = within(DATASET_DEADLINE, self.snapshot_in_turn(client, reads)).await;
        read.inspect_err(|error| self.doubt(error))
    }

    async fn dataset(&self, client: &ClientId, wanted: Wanted, after: Option<&After>) -> Result<Pull, StoreError> {
        let pull = within(DATASET_DEADLINE, self.dataset_in_turn(client, wanted, after)).await;
        pull.inspect_err(|error| self.doubt(error))
    }

    fn epoch(&self) -> u64 {
        self.connection.epoch()
    }

    async fn standing(&self, client: &ClientId, session: SessionId) -> Result<Standing, StoreError> {
        let deployment = self.connection.current()?;
        let looked_up = async { Ok::<_, StoreError>(account::standing(&deployment.db, client, session).await?) };
        within(SESSION_DEADLINE, looked_up).await.inspect_err(|error| self.doubt(error))
    }

    async fn ping(&self) -> Result<Health, StoreError> {
        let deployment = self.connection.current()?;
        within(PING_DEADLINE, deployment.confirm()).await.inspect_err(|error| self.doubt(error))?;
        Ok(Health { engine: "mongodb", transactional: deployment.topology == Topology::Transactional })
    }

    fn measure(&self) {
        self.kept.measure();
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Data(collection) => collection.name(),
            Self::Own(OwnTable::LocalIds) => LOCAL_IDS,
        }
    }
}

/// Gives up at a deadline.
async fn within<T, E: From<StoreError>>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(late(limit).into()))
}

fn late(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("not done within {} s", limit.as_secs()))
}
