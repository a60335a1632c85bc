//! A store under test, and how to open it again.

use std::path::PathBuf;
use std::sync::Arc;

use bson::{Document, doc};
use serde_json::Value;
use tempfile::TempDir;
use viveka_sync::batch::Batch;
use viveka_sync::clock::Stamp;
use viveka_sync::model::{ClientId, IdempotencyKey};
use viveka_sync::plan::{Idempotent, Planner, SyncPlanner};
use viveka_sync::store::embedded::EmbeddedStore;
use viveka_sync::store::mongo::{MongoOptions, MongoStore};
use viveka_sync::store::{AccountCollection, DatasetMemory, ExecuteError, FullReason, Outcome, Store, Wanted};

use crate::harness::{Mongod, Topology, unique_name};

/// A new, empty store of one engine.
pub struct Subject {
    place: Place,
    store: Option<Arc<dyn Store>>,
}

enum Place {
    Directory(PathBuf, #[expect(dead_code, reason = "goes away with the subject")] TempDir),
    Database { url: String, name: String, sole_writer: bool },
}

const MEMORY: DatasetMemory = DatasetMemory { cache: 64 << 20, stream_above: 8 << 20 };

impl Subject {
    pub async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::at(Place::Directory(directory.path().join("data"), directory)).await
    }

    pub async fn replica_set() -> Self {
        Self::mongo(Topology::ReplicaSet, false).await
    }

    pub async fn sole_writer() -> Self {
        Self::mongo(Topology::ReplicaSet, true).await
    }

    pub async fn lone_mongod() -> Self {
        Self::mongo(Topology::Lone, false).await
    }

    async fn mongo(topology: Topology, sole_writer: bool) -> Self {
        let mongod = tokio::task::spawn_blocking(move || Mongod::shared(topology)).await.unwrap();
        Self::at(Place::Database { url: mongod.url(), name: unique_name("contract"), sole_writer }).await
    }

    async fn at(place: Place) -> Self {
        let store = Some(place.open().await);
        Self { place, store }
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("the store is open"))
    }

    /// Closes the store and opens it again. Nobody else may hold it.
    pub async fn reopen(&mut self) {
        let old = self.store.take().expect("the store is open");
        assert_eq!(Arc::strong_count(&old), 1, "somebody still holds the store");
        drop(old);
        self.store = Some(self.place.open().await);
    }

    /// Puts accounts or sessions, as the login service does.
    pub async fn put_accounts(&mut self, collection: AccountCollection, records: &[Document]) {
        match &self.place {
            Place::Directory(directory, _) => {
                self.store = None;
                EmbeddedStore::open(directory, 400, MEMORY).unwrap().import_accounts(collection, records).unwrap();
                self.store = Some(self.place.open().await);
            }
            Place::Database { url, name, .. } => {
                let client = mongodb::Client::with_uri_str(url).await.unwrap();
                let there = client.database(name).collection::<Document>(collection.name());
                for record in records {
                    there.replace_one(doc! { "_id": record.get("_id") }, record).upsert(true).await.unwrap();
                }
            }
        }
    }

    /// Whether what cannot be written makes a plan fail: a lone mongod applies plans so that applying
    /// them again changes nothing, and so takes an existing record for its own work.
    pub async fn refuses_existing_ids(&self) -> bool {
        self.store().ping().await.unwrap().transactional
    }
}

impl Place {
    async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Directory(directory, _) => Arc::new(EmbeddedStore::open(directory, 400, MEMORY).unwrap()),
            Self::Database { url, name, sole_writer } => {
                let options = MongoOptions {
                    url: url.clone(),
                    database: name.clone(),
                    receipt_days: 400,
                    sole_writer: *sole_writer,
                    memory: MEMORY,
                };
                let store = MongoStore::open(options).await.unwrap();
                store.ready().await.unwrap();
                Arc::new(store)
            }
        }
    }
}

/// What is shown after most batches.
pub const EVERYTHING: Wanted = Wanted::Full(FullReason::NoCursor);

/// A client that no other test has.
pub fn new_client() -> ClientId {
    let id = Stamp::take(1).ids().next().unwrap();
    ClientId::from_verified_claim(&id.to_hex()).unwrap()
}

/// Plans a body as one batch without a key.
pub fn planner(client: &ClientId, body: &Value) -> SyncPlanner {
    let batch = parse(client, body);
    let stamp = Stamp::take(batch.ids());
    SyncPlanner::new(Arc::new(batch), stamp)
}

/// Executes a body as one batch without a key.
pub async fn execute(store: &dyn Store, client: &ClientId, body: &Value) -> Result<Outcome, ExecuteError> {
    store.execute(client, Arc::new(planner(client, body)), EVERYTHING).await
}

/// Executes a body as one batch under a key.
pub async fn execute_with_key(
    store: &dyn Store,
    client: &ClientId,
    key: &str,
    body: &Value,
) -> Result<Outcome, ExecuteError> {
    let batch = parse(client, body);
    let stamp = Stamp::take(batch.ids());
    let (fingerprint, at) = (batch.fingerprint.clone(), stamp.time());
    let inner = SyncPlanner::new(Arc::new(batch), stamp);
    let planner: Arc<dyn Planner> =
        Arc::new(Idempotent { inner, key: IdempotencyKey::new(key).unwrap(), fingerprint, at });
    store.execute(client, planner, EVERYTHING).await
}

fn parse(client: &ClientId, body: &Value) -> Batch {
    Batch::parse(body.to_string().as_bytes(), client, 10_000).unwrap()
}
