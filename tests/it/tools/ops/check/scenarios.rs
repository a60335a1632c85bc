//! Nothing is wrong with what the scenario fixtures leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mongodb::bson::{Document, doc};
use serde_json::Value;
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::seeds::{seed, seed_counters};
use crate::harness::{Engine, Phone, Request, Server, Setup, block_on, database_at, random_hex};

#[test]
fn nothing_is_wrong_with_what_the_scenarios_leave_in_the_embedded_engine() {
    let setup = Setup::embedded();
    let plays: Vec<_> = scenarios().into_iter().map(|(_, scenario)| (random_hex(12), scenario)).collect();
    plays.iter().for_each(|(client, scenario)| prepare(Engine::Embedded, &setup, client, scenario));
    let mut server = Server::start_ready(&setup);
    let applied = plays.iter().filter(|(client, scenario)| play(&server, client, scenario) == 200).count();
    assert!(applied > 25, "{applied}");
    assert_eq!(server.terminate(), 0);
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_ok();
    assert!(told.contains(" 0 problems"), "{told}");
}

#[test]
fn nothing_is_wrong_with_what_the_scenarios_leave_on_a_replica_set() {
    let setup = Setup::on(Engine::ReplicaSet);
    let server = Server::start_ready(&setup);
    for (name, scenario) in scenarios() {
        let client = random_hex(12);
        // Ids are unique over all clients, and scenarios like the same ones.
        block_on(async {
            for collection in Collection::ALL {
                let db = database_at(&setup).await;
                db.collection::<Document>(collection.name()).delete_many(doc! {}).await.unwrap();
            }
        });
        prepare(Engine::ReplicaSet, &setup, &client, &scenario);
        play(&server, &client, &scenario);
        let ran = run(on(Engine::ReplicaSet, &setup, &["check", "--client", &client]));
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.output, ran.error);
    }
}

/// The scenario fixtures: what was there, and what a phone sent.
fn scenarios() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    all.sort();
    let read = |path: &std::path::PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    all.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

fn prepare(engine: Engine, setup: &Setup, client: &str, scenario: &Value) {
    let mut before: BTreeMap<String, Vec<Document>> = serde_json::from_str(&scenario["before"].to_string()).unwrap();
    let counters = before.remove("syncclients").and_then(|mut counters| counters.pop()).unwrap_or_default();
    // Some have records with a revision, and no counter that says where the client is.
    let whole = |name, default| counters.get(name).and_then(|value| value.as_i32()).map_or(default, i64::from);
    seed_counters(engine, setup, client, whole("revision", 4), whole("nextInvoice", 1));
    let records = before.into_iter().map(|(name, records)| {
        (Collection::ALL.into_iter().find(|collection| collection.name() == name).unwrap(), records)
    });
    seed(engine, setup, client, &records.collect::<Vec<_>>());
}

/// Sends what the scenario sends, and gives the status.
fn play(server: &Server, client: &str, scenario: &Value) -> u16 {
    let request = Request::sync().header("X-Idempotency-Key", client);
    Phone::of(server, client).send(request.json(&scenario["request"]["body"])).status
}
