//! MongoDB, in the layout of the existing Viveka databases.
//!
//! On a replica set or a sharded cluster a batch is one transaction (`transaction`) and a dataset one
//! snapshot (`dataset`). A lone mongod has neither; there a batch is first stored as an `intent` and
//! then applied (`standalone`), and whoever comes next finishes what was interrupted.

mod apply;
mod backoff;
mod client_queue;
mod connection;
mod counter;
mod dataset;
mod error;
mod find;
mod indexes;
mod intent;
mod load;
mod options;
mod orphans;
mod standalone;
mod topology;
mod transaction;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

pub use options::{MongoOptions, check_url};

use super::records::{OwnTable, Table};
use super::{ExecuteError, Health, Outcome, Store, StoreError};
use crate::dataset::Dataset;
use crate::model::ClientId;
use crate::plan::{Planner, ReadSet, Snapshot};
use client_queue::{ClientQueue, Gate};
use connection::{Connection, Deployment};
use orphans::Orphans;
use topology::Topology;

/// Our own collections, beside those of [`crate::model::Collection`]: each client's counter, receipts, what
/// local ids stand for, and on a lone mongod the intents.
const CLIENTS: &str = "syncclients";
const RECEIPTS: &str = "syncreceipts";
const LOCAL_IDS: &str = "synclocalids";
const INTENTS: &str = "syncintents";
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

/// A few times the cores of a database server: more at once only wait there instead of here.
const BATCHES_AT_ONCE: usize = 16;
/// A dataset takes six connections; together with the batches they stay within the pool.
const DATASETS_AT_ONCE: usize = 8;
const MOST_WAITING: usize = 1024;

/// A MongoDB database, which may be away: then every call but [`MongoStore::ready`] fails at once.
#[derive(Debug)]
pub struct MongoStore {
    connection: Connection,
    batches: Arc<ClientQueue>,
    datasets: Gate,
    orphans: Arc<Orphans>,
}

impl MongoStore {
    /// Begins to look for the database, for as long as it takes. When it is found, collections and indexes
    /// that are missing are made and interrupted batches finished; only then it is used. Waits for all that
    /// if the database answers within 3 s; else the search goes on after the return.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the database cannot be used: a wrong URL, wrong credentials, missing
    /// rights, an old MongoDB. The text holds no credentials.
    pub async fn open(options: MongoOptions) -> Result<Self, StoreError> {
        check_url(&options.url).map_err(StoreError::Internal)?;
        let batches = Arc::new(ClientQueue::new(BATCHES_AT_ONCE, MOST_WAITING));
        let orphans = Arc::<Orphans>::default();
        let connection = Connection::begin(options, Arc::clone(&batches), Arc::clone(&orphans));
        connection.begun().await?;
        Ok(Self { connection, batches, datasets: Gate::new(DATASETS_AT_ONCE, MOST_WAITING), orphans })
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

    async fn execute_in_turn(&self, client: &ClientId, planner: &dyn Planner) -> Result<Outcome, ExecuteError> {
        let _turn = within(LONGEST_WAIT, self.batches.turn(client.object_id())).await?;
        within(WORK_DEADLINE, async {
            let deployment = self.deployment().await?;
            match deployment.topology {
                Topology::Transactional => transaction::execute(&deployment, &self.orphans, client, planner).await,
                Topology::Standalone => standalone::execute(&deployment.db, client, planner).await,
            }
        })
        .await
    }

    async fn dataset_in_turn(&self, client: &ClientId) -> Result<Dataset, StoreError> {
        let client = client.object_id();
        match self.connection.current()?.topology {
            Topology::Transactional => {
                let _passed = self.datasets.pass().await?;
                dataset::snapshot(&self.deployment().await?.db, client).await
            }
            Topology::Standalone => {
                let _turn = self.batches.turn(client).await?;
                let db = &self.deployment().await?.db;
                standalone::finish_pending(db, client).await?;
                dataset::plain(db, client).await
            }
        }
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
        if matches!(error, StoreError::Unavailable(_) | StoreError::Internal(_)) {
            self.connection.doubt();
        }
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn execute(&self, client: &ClientId, planner: Arc<dyn Planner>) -> Result<Outcome, ExecuteError> {
        // Who cannot be served does not wait in line.
        self.connection.current()?;
        let done = within(BATCH_DEADLINE, self.execute_in_turn(client, planner.as_ref())).await;
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

    async fn dataset(&self, client: &ClientId) -> Result<Dataset, StoreError> {
        within(DATASET_DEADLINE, self.dataset_in_turn(client)).await.inspect_err(|error| self.doubt(error))
    }

    fn epoch(&self) -> u64 {
        self.connection.epoch()
    }

    async fn ping(&self) -> Result<Health, StoreError> {
        let deployment = self.connection.current()?;
        within(PING_DEADLINE, deployment.confirm()).await.inspect_err(|error| self.doubt(error))?;
        Ok(Health { engine: "mongodb", transactional: deployment.topology == Topology::Transactional })
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
    let late = |_| StoreError::Unavailable(format!("not done within {} s", limit.as_secs()));
    timeout(limit, work).await.unwrap_or_else(|elapsed| Err(late(elapsed).into()))
}
