//! What an import has left that did not come to its end: others are not held up by it, and it can be taken back without
//! its archive.

use std::path::Path;
use std::process::Stdio;

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::command::{PATIENCE, on, program, run};
use super::seeds::seed;
use crate::harness::{Engine, Phone, Server, Setup, block_on, database_at, eventually, random_hex};

const ENGINES: [Engine; 2] = [Engine::ReplicaSet, Engine::LoneMongod];

/// A store with a shop, and with what is left of an import of another one.
fn half_imported(engine: Engine) -> (Setup, [String; 2]) {
    let (setup, clients) = (Setup::on(engine), [random_hex(12), random_hex(12)]);
    for client in &clients {
        seed(engine, &setup, client, &[(Collection::Items, vec![doc! { "_id": ObjectId::new(), "name": "Tea" }])]);
    }
    block_on(async {
        let marker = doc! { "archive": "an archive that is gone", "empty": true };
        let half = doc! { "_id": ObjectId::parse_str(&clients[1]).unwrap(), "importing": marker };
        database_at(&setup).await.collection::<Document>("syncclients").insert_one(half).await.unwrap();
    });
    (setup, clients)
}

#[test]
fn an_export_leaves_it_out_says_so_and_holds_all_others() {
    for engine in ENGINES {
        let (setup, [whole, half]) = half_imported(engine);
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        let export = |arguments: &[&str]| run(on(engine, &setup, &[&["export"], arguments].concat()));
        let path = archive.to_str().unwrap();
        let told = export(&[path]).expect_findings();
        assert!(told.contains("LEFT OUT") && told.contains(&format!("--discard --client {half}")), "{told}");
        // The same again finds the same.
        let ran = export(&["--json", path]);
        let report: Value = serde_json::from_str(&ran.output).unwrap();
        assert_eq!((ran.code, &report["leftOut"][0]["client"]), (1, &json!(half)));
        assert_eq!(report["clients"].as_array().unwrap().len(), 1);

        let target = Setup::embedded();
        run(on(Engine::Embedded, &target, &["import", path])).expect_ok();
        let server = Server::start_ready(&target);
        for (client, items) in [(&whole, 1), (&half, 0)] {
            let pull = Phone::of(&server, client).pull().expect_ok();
            assert_eq!(pull["data"]["items"].as_array().unwrap().len(), items);
        }
        // Who asks for this one gets nothing that looks like a backup of it.
        let alone = directory.path().join("alone");
        let told = export(&["--client", &half, alone.to_str().unwrap()]).expect_failure();
        assert!(told.contains("begun and not finished"), "{told}");
        let told = run(program(&["import", "--verify", alone.to_str().unwrap()], &[])).expect_failure();
        assert!(told.contains("did not come to its end"), "{told}");
        // Once it is gone, the archive is of all.
        run(on(engine, &setup, &["import", "--discard", "--client", &half])).expect_ok();
        export(&[path]).expect_ok();
    }
}

#[test]
fn it_is_taken_back_without_its_archive() {
    for engine in ENGINES {
        let (setup, [whole, half]) = half_imported(engine);
        let server = Server::start_ready(&setup);
        Phone::of(&server, &half).pull().expect_error(503, "store_unavailable");
        let discard = |client: &str| run(on(engine, &setup, &["import", "--discard", "--client", client]));
        // One that is whole is left alone.
        assert!(discard(&whole).expect_ok().contains("nothing to discard"));
        assert!(discard(&half).expect_ok().contains("discarded"));
        assert!(discard(&half).expect_ok().contains("nothing to discard"));
        let items = |client: &str| Phone::of(&server, client).pull().expect_ok()["data"]["items"].clone();
        assert_eq!((items(&half), items(&whole).as_array().unwrap().len()), (json!([]), 1));
    }
}

/// Somebody takes an import for dead that is not. Nobody is served half a shop by that.
#[test]
fn an_import_that_is_taken_back_while_it_runs_leaves_nothing() {
    for engine in ENGINES {
        let (source, target, client) = (Setup::embedded(), Setup::on(engine), random_hex(12));
        let items = (0..60_000).map(|n| doc! { "_id": ObjectId::new(), "name": format!("item {n}") });
        seed(Engine::Embedded, &source, &client, &[(Collection::Items, items.collect())]);
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        let archive = archive.to_str().unwrap();
        run(on(Engine::Embedded, &source, &["export", archive])).expect_ok();
        let held = || {
            block_on(async {
                let items = database_at(&target).await.collection::<Document>("items");
                items.count_documents(doc! {}).await.unwrap()
            })
        };
        let mut import = on(engine, &target, &["import", archive]);
        let import = import.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the import is in the middle", PATIENCE, || (held() > 0).then_some(()));
        run(on(engine, &target, &["import", "--discard", "--client", &client])).expect_ok();
        let import = import.wait_with_output().unwrap();
        let told = String::from_utf8(import.stdout).unwrap();
        assert!(!import.status.success() && told.contains("was taken back while it ran"), "{told}");
        assert_eq!(held(), 0);
        run(on(engine, &target, &["import", archive])).expect_ok();
        assert_eq!(held(), 60_000);
    }
}

/// A discard that was killed in the middle is brought to its end by the next import, or by the next discard.
#[test]
fn taking_back_can_be_killed_too() {
    let client = random_hex(12);
    let source = Setup::embedded();
    seed(Engine::Embedded, &source, &client, &[(Collection::Items, vec![doc! { "_id": ObjectId::new() }])]);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    run(on(Engine::Embedded, &source, &["export", archive.to_str().unwrap()])).expect_ok();
    let manifest: Value = serde_json::from_slice(&std::fs::read(archive.join("manifest.json")).unwrap()).unwrap();
    let archive = archive.to_str().unwrap();
    for arguments in [&["import", archive][..], &["import", "--discard", archive]] {
        let setup = Setup::on(Engine::ReplicaSet);
        let left = doc! { "_id": ObjectId::new(), "name": "left" };
        seed(Engine::ReplicaSet, &setup, &client, &[(Collection::Items, vec![left])]);
        let marker = doc! { "archive": manifest["archive"].as_str().unwrap(), "empty": true, "discarding": true };
        let half = doc! { "_id": ObjectId::parse_str(&client).unwrap(), "importing": marker };
        block_on(async {
            database_at(&setup).await.collection::<Document>("syncclients").insert_one(half).await.unwrap();
        });
        run(on(Engine::ReplicaSet, &setup, arguments)).expect_ok();
        let server = Server::start_ready(&setup);
        let pull = Phone::of(&server, &client).pull().expect_ok();
        let items = if arguments.contains(&"--discard") { 0 } else { 1 };
        assert_eq!(pull["data"]["items"].as_array().unwrap().len(), items);
        assert!(!pull["data"].to_string().contains("left"), "{pull}");
    }
}

/// Another archive's import says how to go on.
#[test]
fn an_import_of_another_archive_tells_the_way_out() {
    let (setup, [_, half]) = half_imported(Engine::ReplicaSet);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let source = Setup::embedded();
    seed(Engine::Embedded, &source, &half, &[(Collection::Items, vec![doc! { "_id": ObjectId::new() }])]);
    run(on(Engine::Embedded, &source, &["export", archive.to_str().unwrap()])).expect_ok();
    let archive = archive.to_str().unwrap();
    for arguments in [&["import", archive][..], &["import", "--discard", archive]] {
        let told = run(on(Engine::ReplicaSet, &setup, arguments)).expect_failure();
        assert!(told.contains(&format!("viveka-sync import --discard --client {half}")), "{told}");
    }
    run(on(Engine::ReplicaSet, &setup, &["import", "--discard", "--client", &half])).expect_ok();
    run(on(Engine::ReplicaSet, &setup, &["import", archive])).expect_ok();
}

#[test]
fn taking_back_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let client = random_hex(12);
    let told = run(program(&["import", "--discard", "--client", &client], &[("DATA_DIR", data.to_str().unwrap())]));
    assert!(told.expect_failure().contains("there is no store in"));
    assert!(!data.exists());

    let setup = Setup::on(Engine::ReplicaSet);
    run(on(Engine::ReplicaSet, &setup, &["import", "--discard", "--client", &client])).expect_ok();
    let made = block_on(async { database_at(&setup).await.list_collection_names().await.unwrap() });
    assert!(made.is_empty(), "{made:?}");
}

/// Without an archive it must be said whose.
#[test]
fn an_import_of_nothing_is_a_mistake() {
    for arguments in [&["import"][..], &["import", "--discard"], &["import", "--client", "64b0000000000000000000c1"]] {
        let ran = run(program(arguments, &[("DATA_DIR", Path::new("/nowhere").to_str().unwrap())]));
        assert!(ran.code == 2 && ran.error.contains("DIRECTORY"), "{}", ran.error);
    }
}
