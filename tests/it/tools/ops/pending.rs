//! A batch that a lone mongod's server decided and did not apply, because it died.

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};

use super::command::{on, run};
use crate::harness::{Engine, Setup, block_on, database_at};

/// A store with such a batch of a client, which makes one item.
fn interrupted() -> (Setup, ObjectId) {
    let (setup, client, item) = (Setup::on(Engine::LoneMongod), ObjectId::new(), ObjectId::new());
    let fields = doc! { "_id": item, "name": "Tea", "price": 1.0, "clientId": client, "revision": 1_i64 };
    let change = doc! { "collection": "items", "id": item, "kind": "insert", "fields": fields };
    let intent = doc! {
        "_id": { "clientId": client, "revision": 1_i64 }, "clientId": client, "nextInvoice": Bson::Null,
        "lineage": Bson::Null, "receipt": Bson::Null, "batch": ObjectId::new(), "parts": 0,
        "steps": [{ "change": change, "before": Bson::Null }],
    };
    block_on(async {
        database_at(&setup).await.collection::<Document>("syncintents").insert_one(intent).await.unwrap();
    });
    (setup, client)
}

fn intents(setup: &Setup) -> u64 {
    block_on(async {
        database_at(setup).await.collection::<Document>("syncintents").count_documents(doc! {}).await.unwrap()
    })
}

#[test]
fn a_check_tells_of_it_and_leaves_it() {
    let (setup, client) = interrupted();
    let said = run(on(Engine::LoneMongod, &setup, &["check", "--client", &client.to_hex()])).expect_findings();
    assert!(said.contains("PROBLEM") && said.contains("is decided and not applied"), "{said}");
    assert_eq!(intents(&setup), 1);
}

#[test]
fn an_export_finishes_it_first() {
    let (setup, client) = interrupted();
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let arguments = ["export", "--json", "--client", &client.to_hex(), archive.to_str().unwrap()];
    // The client is known by its intent alone.
    let exported = run(on(Engine::LoneMongod, &setup, &arguments)).expect_json();
    assert_eq!(exported["clients"][0]["revision"], 1, "{exported}");
    assert_eq!(exported["clients"][0]["collections"]["items"]["records"], 1);
    assert_eq!(intents(&setup), 0);
}
