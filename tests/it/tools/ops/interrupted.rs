//! kill -9 in the middle, and the same command again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::seeds::seed;
use crate::harness::{Engine, Phone, Server, Setup, block_on, database_at, eventually, random_hex};

/// So many that no import is done before it is killed.
const ITEMS: usize = 60_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A store with a large shop and a small one.
fn filled(engine: Engine) -> (Setup, [String; 2]) {
    let setup = Setup::on(engine);
    let clients = [random_hex(12), random_hex(12)];
    for (client, count) in clients.iter().zip([ITEMS, 10]) {
        let items = (0..count)
            .map(|n| doc! { "_id": ObjectId::new(), "name": format!("item {n}"), "price": 1.5, "n": n as i64 });
        seed(engine, &setup, client, &[(Collection::Items, items.collect())]);
    }
    (setup, clients)
}

fn archive_of(engine: Engine, setup: &Setup, archive: &Path) -> Value {
    run(on(engine, setup, &["export", "--json", archive.to_str().unwrap()])).expect_json()
}

fn count_of(setup: &Setup, client: &str) -> usize {
    let server = Server::start_ready(setup);
    Phone::of(&server, client).pull().expect_ok()["data"]["items"].as_array().unwrap().len()
}

/// Runs a command until something is to be seen of it, and kills it then.
fn kill_when(engine: Engine, setup: &Setup, arguments: &[&str], mut seen: impl FnMut() -> bool) {
    let mut child = on(engine, setup, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the command is in the middle", PATIENCE, || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was killed");
        seen().then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_export_goes_on_where_it_was_killed() {
    let (setup, clients) = filled(Engine::Embedded);
    let directory = tempfile::tempdir().unwrap();
    let (whole, killed) = (directory.path().join("whole"), directory.path().join("killed"));
    let expected = archive_of(Engine::Embedded, &setup, &whole);
    let large = killed.join("clients").join(format!("{}.part", clients[0])).join("items.bson");
    kill_when(Engine::Embedded, &setup, &["export", killed.to_str().unwrap()], || large.exists());
    let import = run(on(Engine::Embedded, &Setup::embedded(), &["import", killed.to_str().unwrap()])).expect_failure();
    assert!(import.contains("run it again"), "{import}");

    let exported = archive_of(Engine::Embedded, &setup, &killed);
    assert_eq!(exported["clients"], expected["clients"]);
    let target = Setup::embedded();
    run(on(Engine::Embedded, &target, &["import", killed.to_str().unwrap()])).expect_ok();
    assert_eq!(count_of(&target, &clients[0]), ITEMS);
}

#[test]
fn an_import_into_the_embedded_engine_is_there_as_a_whole_or_not_at_all() {
    let (setup, clients) = filled(Engine::Embedded);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    archive_of(Engine::Embedded, &setup, &archive);
    let target = Setup::embedded();
    let file = target.directory().join("viveka-sync.redb");
    let import = ["import", archive.to_str().unwrap()];
    // The file grows as its transaction is filled.
    kill_when(Engine::Embedded, &target, &import, || std::fs::metadata(&file).is_ok_and(|file| file.len() > 4 << 20));
    assert!([0, ITEMS].contains(&count_of(&target, &clients[0])));
    run(on(Engine::Embedded, &target, &import)).expect_ok();
    assert_eq!((count_of(&target, &clients[0]), count_of(&target, &clients[1])), (ITEMS, 10));
}

#[test]
fn an_import_into_a_replica_set_is_not_served_before_it_is_whole() {
    killed_on_mongodb(Engine::ReplicaSet);
}

#[test]
fn an_import_into_a_lone_mongod_is_not_served_before_it_is_whole() {
    killed_on_mongodb(Engine::LoneMongod);
}

fn killed_on_mongodb(engine: Engine) {
    let (setup, clients) = filled(Engine::Embedded);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    archive_of(Engine::Embedded, &setup, &archive);
    let archive = archive.to_str().unwrap();
    let target = Setup::on(engine);
    let mut server = Server::start_ready(&target);
    let phone = Phone::of(&server, &clients[0]);
    // What a phone learns of the empty shop must not hold afterwards.
    let empty = phone.pull().expect_ok();

    let held = || {
        let client = ObjectId::parse_str(&clients[0]).unwrap();
        block_on(async {
            let items = database_at(&target).await.collection::<Document>("items");
            items.count_documents(doc! { "clientId": client }).await.unwrap()
        })
    };
    let import = ["import", "--client", &clients[0], archive];
    kill_when(engine, &target, &import, || held() > 0);
    assert!((1..ITEMS as u64).contains(&held()), "{} items are there", held());
    let batch = json!({"item": {"create": [{"name": "Own", "price": 1}]}});
    let refused = |phone: &Phone| {
        phone.pull().expect_error(503, "store_unavailable");
        phone.sync_with_key(&batch, "key").expect_error(503, "store_unavailable");
        phone.sync(&json!({"since": empty["cursor"]})).expect_error(503, "store_unavailable");
    };
    refused(&phone);
    let told = run(on(engine, &target, &["check"])).expect_findings();
    assert!(told.contains("begun and not finished"), "{told}");
    server.restart_ready();
    refused(&Phone::of(&server, &clients[0]));

    // It is taken back, and begun anew.
    let discarded = run(on(engine, &target, &["import", "--discard", archive])).expect_ok();
    assert!(discarded.contains("discarded") && held() == 0, "{discarded}");
    assert_eq!(Phone::of(&server, &clients[0]).pull().expect_ok()["data"], empty["data"]);
    kill_when(engine, &target, &import, || held() > 0);
    run(on(engine, &target, &["import", archive])).expect_ok();
    let pull = Phone::of(&server, &clients[0]).sync(&json!({"since": empty["cursor"]})).expect_ok();
    assert_eq!((&pull["dataMode"], &pull["fullSyncReason"]), (&json!("full"), &json!("cursor_expired")));
    assert_eq!(pull["data"]["items"].as_array().unwrap().len(), ITEMS);
    assert_eq!(Phone::of(&server, &clients[1]).pull().expect_ok()["data"]["items"].as_array().unwrap().len(), 10);
}
