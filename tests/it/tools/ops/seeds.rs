//! Records that are in a store before a server starts, as other services would have put them there.

use mongodb::bson::{Document, doc, oid::ObjectId};
use viveka_sync::model::{ClientId, Collection, Revision};
use viveka_sync::store::embedded::EmbeddedStore;
use viveka_sync::store::{AccountCollection, DatasetMemory};

use super::command::PATIENCE;
use crate::harness::{Engine, Setup, block_on, database_at, eventually};

/// Puts records of a client into a store that no server has open.
pub fn seed(engine: Engine, setup: &Setup, client: &str, records: &[(Collection, Vec<Document>)]) {
    match engine.topology() {
        None => with_file(setup, |store| {
            let client = ClientId::from_verified_claim(client).unwrap();
            for (collection, records) in records {
                store.import(&client, *collection, records.clone()).unwrap();
            }
        }),
        Some(_) => block_on(async {
            let db = database_at(setup).await;
            for (collection, records) in records {
                let owned = records.iter().cloned().map(|mut record| {
                    record.insert("clientId", ObjectId::parse_str(client).unwrap());
                    record
                });
                let owned: Vec<_> = owned.collect();
                if !owned.is_empty() {
                    db.collection::<Document>(collection.name()).insert_many(owned).await.unwrap();
                }
            }
        }),
    }
}

/// Sets a client's counters in a store that no server has open.
pub fn seed_counters(engine: Engine, setup: &Setup, client: &str, revision: i64, next_invoice: i64) {
    match engine.topology() {
        None => with_file(setup, |store| {
            let client = ClientId::from_verified_claim(client).unwrap();
            store.import_counters(&client, Revision(revision), next_invoice).unwrap();
        }),
        Some(_) => block_on(async {
            let counters = doc! {
                "_id": ObjectId::parse_str(client).unwrap(), "revision": revision, "nextInvoice": next_invoice,
            };
            database_at(setup).await.collection::<Document>("syncclients").insert_one(counters).await.unwrap();
        }),
    }
}

fn with_file(setup: &Setup, work: impl FnOnce(&EmbeddedStore)) {
    let memory = DatasetMemory { cache: 0, stream_above: usize::MAX };
    let open = || EmbeddedStore::open(setup.directory(), 0, memory).ok();
    work(&eventually("nobody has the file open", PATIENCE, open));
}

/// Puts accounts and sessions into a store that no server has open, as a login service does; those that are there are
/// replaced.
pub fn seed_accounts(engine: Engine, setup: &Setup, accounts: &[Document], sessions: &[Document]) {
    match engine.topology() {
        None => with_file(setup, |store| {
            store.import_accounts(AccountCollection::Clients, accounts).unwrap();
            store.import_accounts(AccountCollection::DeviceSessions, sessions).unwrap();
        }),
        Some(_) => block_on(async {
            let db = database_at(setup).await;
            for (collection, records) in [("clients", accounts), ("devicesessions", sessions)] {
                for record in records {
                    let id = doc! { "_id": record.get("_id").unwrap() };
                    let records = db.collection::<Document>(collection);
                    records.replace_one(id, record).upsert(true).await.unwrap();
                }
            }
        }),
    }
}
