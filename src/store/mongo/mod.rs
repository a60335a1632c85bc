//! MongoDB, in the layout of the existing Viveka databases.
//!
//! On a replica set or a sharded cluster a batch is one transaction (`transaction`) and a dataset one
//! snapshot (`dataset`). A lone mongod has neither; there a batch is first stored as an `intent` and
//! then applied (`standalone`), and whoever comes next finishes what was interrupted.

mod backoff;
mod client_queue;
mod dataset;
mod error;
mod find;
mod indexes;
mod intent;
mod load;
mod options;
mod orphans;
mod standalone;
mod transaction;
mod update;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bson::doc;
use mongodb::{Client, Database};
use tokio::time::timeout;

pub use options::{MongoOptions, check_url};

use super::records::{OwnTable, Table};
use super::{ExecuteError, Health, Outcome, Store, StoreError};
use crate::dataset::Dataset;
use crate::model::ClientId;
use crate::plan::{Planner, ReadSet, Snapshot};
use client_queue::{ClientQueue, Gate};
use orphans::Orphans;

/// Our own collections, beside those of [`crate::model::Collection`]: each client's counter, receipts, what
/// local ids stand for, and on a lone mongod the intents.
const CLIENTS: &str = "syncclients";
const RECEIPTS: &str = "syncreceipts";
const LOCAL_IDS: &str = "synclocalids";
const INTENTS: &str = "syncintents";
/// Another service's collection, in which dealers are looked up.
const DEALERS: &str = "dealers";

/// How long a batch or a dataset may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it may take from then on.
const DEADLINE: Duration = Duration::from_secs(10);
const PING_DEADLINE: Duration = Duration::from_secs(2);

/// A few times the cores of a database server: more at once only wait there instead of here.
const BATCHES_AT_ONCE: usize = 16;
/// A dataset takes six connections; together with the batches they stay within the pool.
const DATASETS_AT_ONCE: usize = 8;
const MOST_WAITING: usize = 1024;

/// A MongoDB database.
#[derive(Debug)]
pub struct MongoStore {
    db: Database,
    topology: Topology,
    batches: ClientQueue,
    datasets: Gate,
    orphans: Orphans,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topology {
    /// A replica set or a sharded cluster.
    Transactional,
    /// A lone mongod.
    Standalone,
}

impl MongoStore {
    /// Connects, makes collections and indexes that are missing, and on a lone mongod finishes batches
    /// that were interrupted.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the URL is wrong or the server too old, [`StoreError::Unavailable`] if
    /// the database cannot be reached within 5 s. The texts hold no credentials.
    pub async fn connect(options: MongoOptions) -> Result<Self, StoreError> {
        let driver_options = options.client_options().await?;
        let database = driver_options.default_database.clone().unwrap_or_else(|| options.database.clone());
        let db = Client::with_options(driver_options)?.database(&database);
        let topology = Topology::detect(&db).await?;
        indexes::ensure(&db, options.receipt_days).await?;
        let batches = ClientQueue::new(BATCHES_AT_ONCE, MOST_WAITING);
        if topology == Topology::Standalone {
            tracing::warn!(
                "MONGO_URL leads to a lone mongod, which has no transactions: other programs may see the middle of a \
                 batch, and only one server process may use it. Use a replica set in production."
            );
            standalone::recover_all(&db, &batches).await?;
        }
        let datasets = Gate::new(DATASETS_AT_ONCE, MOST_WAITING);
        Ok(Self { db, topology, batches, datasets, orphans: Orphans::default() })
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn execute(&self, client: &ClientId, planner: Arc<dyn Planner>) -> Result<Outcome, ExecuteError> {
        let _turn = within(LONGEST_WAIT, self.batches.turn(client.object_id())).await?;
        within(DEADLINE, async {
            match self.topology {
                Topology::Transactional => {
                    transaction::execute(&self.db, &self.orphans, client, planner.as_ref()).await
                }
                Topology::Standalone => standalone::execute(&self.db, client, planner.as_ref()).await,
            }
        })
        .await
    }

    async fn snapshot(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        match self.topology {
            Topology::Transactional => {
                let _pass = within(LONGEST_WAIT, self.datasets.pass()).await?;
                within(DEADLINE, dataset::planned_on(&self.db, client, reads)).await
            }
            Topology::Standalone => {
                let _turn = within(LONGEST_WAIT, self.batches.turn(client.object_id())).await?;
                within(DEADLINE, standalone::snapshot(&self.db, client, reads)).await
            }
        }
    }

    async fn dataset(&self, client: &ClientId) -> Result<Dataset, StoreError> {
        let client = client.object_id();
        match self.topology {
            Topology::Transactional => {
                let _passed = within(LONGEST_WAIT, self.datasets.pass()).await?;
                within(DEADLINE, dataset::snapshot(&self.db, client)).await
            }
            Topology::Standalone => {
                let _turn = within(LONGEST_WAIT, self.batches.turn(client)).await?;
                within(DEADLINE, async {
                    standalone::finish_pending(&self.db, client).await?;
                    dataset::plain(&self.db, client).await
                })
                .await
            }
        }
    }

    async fn ping(&self) -> Result<Health, StoreError> {
        within(PING_DEADLINE, async { Ok::<_, StoreError>(self.db.run_command(doc! { "ping": 1 }).await?) }).await?;
        Ok(Health { engine: "mongodb", transactional: self.topology == Topology::Transactional })
    }
}

impl Topology {
    /// The first version with snapshot reads outside transactions: MongoDB 5.0.
    const OLDEST_WIRE_VERSION: i32 = 13;

    /// Asks the server what it is. The driver believes that a lone mongod has transactions.
    async fn detect(db: &Database) -> Result<Self, StoreError> {
        let hello = db.client().database("admin").run_command(doc! { "hello": 1 }).await?;
        if hello.get_i32("maxWireVersion").unwrap_or_default() < Self::OLDEST_WIRE_VERSION {
            return Err(StoreError::Internal("MongoDB 5.0 or newer is needed".to_owned()));
        }
        let is_transactional = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        Ok(if is_transactional { Self::Transactional } else { Self::Standalone })
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
