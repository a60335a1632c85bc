//! One shop is restored from its backup, as docs/production.md says, and no other shop loses anything.

use std::path::Path;

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};

use super::command::{on, program, run};
use crate::harness::{Engine, Phone, Server, Setup, block_on, database_at, random_hex};

/// The collections that the page names.
const COLLECTIONS: [&str; 8] = [
    "itemgroups",
    "items",
    "clientcustomers",
    "invoices",
    "payments",
    "purchasehistories",
    "syncreceipts",
    "synclocalids",
];

fn sell(server: &Server, client: &str, name: &str) -> Value {
    let batch = json!({"item": {"create": [{"localId": name, "name": name, "price": 1}]}});
    Phone::of(server, client).sync_with_key(&batch, name).expect_ok()
}

fn names(server: &Server, client: &str) -> Vec<String> {
    let pull = Phone::of(server, client).pull().expect_ok();
    let items = pull["data"]["items"].as_array().unwrap().iter();
    // Ids of different servers come in any order.
    let mut names: Vec<_> = items.map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// What a phone sees of a shop that was set back to its backup, in which there is tea, and then a cup was added.
fn expect_restored(server: &Server, client: &str, later: &Value) {
    assert_eq!(names(server, client), ["Tea"]);
    let delta = Phone::of(server, client).sync(&json!({"since": later["cursor"]})).expect_ok();
    assert_eq!(delta["dataMode"], "full", "what the phone has seen does not hold: {delta}");
    // What the backup holds is not applied twice, and what it does not hold comes back with the phone's queue.
    assert_eq!(sell(server, client, "Tea")["summary"]["itemsCreated"], 1);
    sell(server, client, "Cup");
    assert_eq!(names(server, client), ["Cup", "Tea"]);
}

#[test]
fn on_mongodb_while_other_shops_are_served() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/production.md")).unwrap();
    assert!(COLLECTIONS.iter().all(|name| page.contains(&format!("\"{name}\""))), "the page names them all");

    let (engine, directory) = (Engine::ReplicaSet, tempfile::tempdir().unwrap());
    let (setup, [client, other]) = (Setup::on(engine), [random_hex(12), random_hex(12)]);
    let [backup, before] = ["one-shop", "before"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    let mut server = Server::start_ready(&setup);
    sell(&server, &client, "Tea");
    sell(&server, &other, "Bread");
    run(on(engine, &setup, &["export", "--client", &client, &backup])).expect_ok();
    let later = sell(&server, &client, "Cup");

    run(on(engine, &setup, &["export", "--client", &client, &before])).expect_ok();
    run(program(&["import", "--verify", "--client", &client, &backup], &[])).expect_ok();
    let manifest = std::fs::read(Path::new(&backup).join("manifest.json")).unwrap();
    let archive: Value = serde_json::from_slice::<Value>(&manifest).unwrap()["archive"].clone();
    let shop = ObjectId::parse_str(&client).unwrap();
    block_on(async {
        let mark = doc! { "importing": { "archive": archive.as_str().unwrap() } };
        let clients = database_at(&setup).await.collection::<Document>("syncclients");
        clients.replace_one(doc! { "_id": shop }, mark).await.unwrap();
    });
    Phone::of(&server, &client).pull().expect_error(503, "store_unavailable");
    server.restart_ready();
    Phone::of(&server, &client).pull().expect_error(503, "store_unavailable");
    assert_eq!(names(&server, &other), ["Bread"]);
    block_on(async {
        let db = database_at(&setup).await;
        for name in COLLECTIONS {
            db.collection::<Document>(name).delete_many(doc! { "clientId": shop }).await.unwrap();
        }
    });
    run(on(engine, &setup, &["import", "--keep-accounts", "--client", &client, &backup])).expect_ok();
    run(on(engine, &setup, &["check", "--client", &client])).expect_ok();
    expect_restored(&server, &client, &later);
    assert_eq!(names(&server, &other), ["Bread"]);
}

#[test]
fn in_the_embedded_engine_with_the_others_carried_over() {
    let directory = tempfile::tempdir().unwrap();
    let (setup, [client, other]) = (Setup::embedded(), [random_hex(12), random_hex(12)]);
    let [backup, before] = ["one-shop", "before"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    let server = Server::start_ready(&setup);
    sell(&server, &client, "Tea");
    drop(server);
    run(on(Engine::Embedded, &setup, &["export", "--client", &client, &backup])).expect_ok();
    let server = Server::start_ready(&setup);
    let later = sell(&server, &client, "Cup");
    sell(&server, &other, "Bread");
    drop(server);

    let new = Setup::embedded();
    run(on(Engine::Embedded, &setup, &["export", &before])).expect_ok();
    run(on(Engine::Embedded, &new, &["import", "--client", &client, &backup])).expect_ok();
    let told = run(on(Engine::Embedded, &new, &["import", &before])).expect_failure();
    assert_eq!(told.matches("REFUSED: ").count(), 1, "{told}");
    assert!(told.contains(&format!("REFUSED: client {client} has data already")), "{told}");
    run(on(Engine::Embedded, &new, &["check"])).expect_ok();
    let server = Server::start_ready(&new);
    expect_restored(&server, &client, &later);
    assert_eq!(names(&server, &other), ["Bread"]);
}
