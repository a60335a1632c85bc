//! What is not taken, and that nothing of it is there then.

use std::fs;
use std::path::{Path, PathBuf};

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use tempfile::TempDir;
use viveka_sync::model::Collection;

use super::command::{Ran, on, program, run, run_once};
use super::seeds::seed;
use crate::harness::{Engine, Phone, Server, Setup, on_every_engine, random_hex};

/// An archive of a shop with some items.
struct Exported {
    client: String,
    archive: PathBuf,
    _directory: TempDir,
}

impl Exported {
    fn new(encoding: &str) -> Self {
        let (setup, client) = (Setup::embedded(), random_hex(12));
        let items = (0..3).map(|n| doc! { "_id": ObjectId::new(), "name": format!("item {n}"), "price": n });
        seed(Engine::Embedded, &setup, &client, &[(Collection::Items, items.collect())]);
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        let arguments = ["export", "--encoding", encoding, archive.to_str().unwrap()];
        run(on(Engine::Embedded, &setup, &arguments)).expect_ok();
        Self { client, archive, _directory: directory }
    }

    fn path(&self) -> &str {
        self.archive.to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.archive.join("clients").join(&self.client).join(name)
    }

    /// Imports it, which must fail, and gives what was said. Nothing of the client is there then.
    #[track_caller]
    fn refused(&self, engine: Engine, setup: &Setup) -> String {
        let said = run(on(engine, setup, &["import", self.path()])).expect_failure();
        run(on(engine, setup, &["import", "--discard", self.path()]));
        let server = Server::start_ready(setup);
        let pull = Phone::of(&server, &self.client).pull().expect_ok();
        assert_eq!(pull["data"]["items"], json!([]), "{said}");
        said
    }
}

fn edit(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    fs::write(path, change(fs::read(path).unwrap())).unwrap();
}

on_every_engine! {
    fn a_damaged_archive_is_not_taken(engine: Engine) {
        let exported = Exported::new("jsonl");
        edit(&exported.file("items.jsonl"), |bytes| String::from_utf8(bytes).unwrap().replace("item 1", "item 7").into());
        let said = exported.refused(engine, &Setup::on(engine));
        assert!(said.contains("damaged") && said.contains(&exported.client), "{said}");
        let verified = run(program(&["import", "--verify", exported.path()], &[])).expect_findings();
        assert!(verified.contains("damaged"), "{verified}");
    }

    fn records_of_another_client_are_not_taken(engine: Engine) {
        let exported = Exported::new("jsonl");
        let other = random_hex(12);
        let [items, client, manifest] =
            [exported.file("items.jsonl"), exported.file("client.json"), exported.archive.join("manifest.json")];
        // Whoever forges one makes its digests right too.
        edit(&items, |bytes| String::from_utf8(bytes).unwrap().replace(&exported.client, &other).into());
        let mut summary: Value = serde_json::from_slice(&fs::read(&client).unwrap()).unwrap();
        let records = fs::read_to_string(&items).unwrap();
        let records = records.lines().map(|line| serde_json::from_str::<Document>(line).unwrap());
        let bytes: Vec<u8> = records.flat_map(|record| record.to_vec().unwrap()).collect();
        summary["collections"]["items"]["sha256"] = json!(sha256(&bytes));
        fs::write(&client, summary.to_string()).unwrap();
        let mut sealed: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
        sealed["clients"][&exported.client] = json!(sha256(&fs::read(&client).unwrap()));
        fs::write(&manifest, sealed.to_string()).unwrap();

        let setup = Setup::on(engine);
        let said = exported.refused(engine, &setup);
        assert!(said.contains("is not this client's"), "{said}");
        let server = Server::start_ready(&setup);
        assert_eq!(Phone::of(&server, &other).pull().expect_ok()["data"]["items"], json!([]));
    }

    fn a_client_with_data_is_not_taken_and_stays_as_it_is(engine: Engine) {
        let (exported, setup) = (Exported::new("bson"), Setup::on(engine));
        let mut server = Server::start_ready(&setup);
        let phone = Phone::of(&server, &exported.client);
        let before = phone.sync(&json!({"item": {"create": [{"name": "Own", "price": 1}]}})).expect_ok()["data"].clone();
        assert_eq!(server.terminate(), 0);
        let said = run(on(engine, &setup, &["import", exported.path()])).expect_failure();
        assert!(said.contains("has data already"), "{said}");
        let server = Server::start_ready(&setup);
        assert_eq!(Phone::of(&server, &exported.client).pull().expect_ok()["data"], before);
    }

    fn a_client_with_records_of_other_services_is_not_taken(engine: Engine) {
        let (exported, setup) = (Exported::new("bson"), Setup::on(engine));
        seed(engine, &setup, &exported.client, &[(Collection::ItemGroups, vec![doc! { "_id": ObjectId::new(), "name": "G" }])]);
        let said = run(on(engine, &setup, &["import", exported.path()])).expect_failure();
        assert!(said.contains("itemgroups 1 where the archive has 0"), "{said}");
        let said = run(on(engine, &setup, &["import", "--discard", exported.path()])).expect_ok();
        assert!(said.contains("nothing to discard"), "{said}");
        let server = Server::start_ready(&setup);
        let pull = Phone::of(&server, &exported.client).pull().expect_ok();
        assert_eq!(pull["data"]["itemGroups"].as_array().unwrap().len(), 1);
    }

    /// The directory, the summary in it and each record must name the same client.
    fn an_archive_whose_clients_are_mixed_up_is_not_taken(engine: Engine) {
        let (exported, setup, other) = (Exported::new("bson"), Setup::on(engine), random_hex(12));
        // Somebody moves the books of one shop into the place of another, and makes the manifest right.
        let clients = exported.archive.join("clients");
        fs::rename(clients.join(&exported.client), clients.join(&other)).unwrap();
        edit(&exported.archive.join("manifest.json"), |bytes| {
            String::from_utf8(bytes).unwrap().replace(&exported.client, &other).into()
        });
        for (code, arguments) in [(1, &["import", "--verify", exported.path()][..]), (2, &["import", exported.path()])] {
            let Ran { code: ended, output: said, .. } = run(on(engine, &setup, arguments));
            assert_eq!(ended, code, "{said}");
            assert!(said.contains(&format!("it is of client {}", exported.client)) && said.contains(&other), "{said}");
        }
        // And the summary too.
        let summary = clients.join(&other).join("client.json");
        edit(&summary, |bytes| String::from_utf8(bytes).unwrap().replace(&exported.client, &other).into());
        edit(&exported.archive.join("manifest.json"), |bytes| {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            manifest["clients"][&other] = json!(sha256(&fs::read(&summary).unwrap()));
            manifest.to_string().into()
        });
        for (code, arguments) in [(1, &["import", "--verify", exported.path()][..]), (2, &["import", exported.path()])] {
            let ran = run(on(engine, &setup, arguments));
            let said = ran.output;
            assert_eq!(ran.code, code, "{said}{}", ran.error);
            assert!(said.contains("REFUSED") && said.contains("is not this client's"), "{said}");
        }
        let server = Server::start_ready(&setup);
        for client in [&other, &exported.client] {
            assert_eq!(Phone::of(&server, client).pull().expect_ok()["data"]["items"], json!([]));
        }
    }
}

#[test]
fn an_id_that_another_client_has_is_found_on_a_replica_set() {
    foreign_id(Engine::ReplicaSet);
}

#[test]
fn an_id_that_another_client_has_is_found_on_a_lone_mongod() {
    foreign_id(Engine::LoneMongod);
}

/// In MongoDB ids are unique over all clients. What is there stays, and what was sent is not taken.
fn foreign_id(engine: Engine) {
    let (exported, setup, other) = (Exported::new("jsonl"), Setup::on(engine), random_hex(12));
    let first = fs::read_to_string(exported.file("items.jsonl")).unwrap();
    let mut first: Document = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    first.insert("name", "of another shop");
    seed(engine, &setup, &other, &[(Collection::Items, vec![first])]);
    let said = exported.refused(engine, &setup);
    assert!(
        said.contains(
            "items holds 2 records after the import where 3 were sent: the others have ids that another shop"
        ),
        "{said}"
    );
    let server = Server::start_ready(&setup);
    let pull = Phone::of(&server, &other).pull().expect_ok();
    assert_eq!(pull["data"]["items"][0]["name"], json!("of another shop"));
}

#[test]
fn a_complete_archive_is_never_changed() {
    let (setup, client) = (Setup::embedded(), random_hex(12));
    let item = |n: i32| doc! { "_id": ObjectId::new(), "name": "Tea", "n": n };
    seed(Engine::Embedded, &setup, &client, &[(Collection::Items, vec![item(1)])]);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let export = || run(on(Engine::Embedded, &setup, &["export", archive.to_str().unwrap()]));
    assert_eq!(export().expect_ok(), export().expect_ok());
    let complete = fs::read(archive.join("manifest.json")).unwrap();
    // Nobody would want yesterday's archive in place of today's without a word.
    seed(Engine::Embedded, &setup, &client, &[(Collection::Items, vec![item(2)])]);
    assert!(export().expect_failure().contains("the store has moved on"));
    seed(Engine::Embedded, &setup, &random_hex(12), &[(Collection::Items, vec![item(3)])]);
    assert!(export().expect_failure().contains("the store has moved on"));
    assert_eq!(fs::read(archive.join("manifest.json")).unwrap(), complete);
    run(program(&["import", "--verify", archive.to_str().unwrap()], &[])).expect_ok();
}

#[test]
fn an_export_that_did_not_come_to_its_end_is_not_imported() {
    let exported = Exported::new("bson");
    edit(&exported.archive.join("manifest.json"), |bytes| {
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest["clients"] = Value::Null;
        manifest.to_string().into()
    });
    let said = run(program(&["import", "--verify", exported.path()], &[])).expect_failure();
    assert!(said.contains("run it again"), "{said}");
}

#[test]
fn a_directory_with_something_else_is_not_written_to() {
    let exported = Exported::new("bson");
    let setup = Setup::embedded();
    seed(Engine::Embedded, &setup, &random_hex(12), &[(Collection::Items, vec![doc! { "_id": ObjectId::new() }])]);
    let said = run(on(Engine::Embedded, &setup, &["export", exported.path()])).expect_failure();
    assert!(said.contains("another store"), "{said}");
    let said = run(on(Engine::Embedded, &setup, &["export", exported.path(), "--encoding", "jsonl"])).expect_failure();
    assert!(said.contains("another encoding"), "{said}");
    let said = run(on(Engine::Embedded, &setup, &["export", exported.file("").to_str().unwrap()])).expect_failure();
    assert!(said.contains("not empty"), "{said}");
}

#[test]
fn a_file_that_a_server_has_open_is_told_in_one_line() {
    let setup = Setup::embedded();
    let _server = Server::start(&setup);
    for arguments in [&["export", "/nowhere/archive"][..], &["check"]] {
        let ran = run_once(&mut on(Engine::Embedded, &setup, arguments));
        assert_eq!((ran.code, ran.error.lines().count()), (2, 1), "{}", ran.error);
        assert!(ran.error.contains("in use by another process"), "{}", ran.error);
    }
}

#[test]
fn a_login_that_mongodb_refuses_is_told_plainly() {
    let url = Setup::on(Engine::ReplicaSet).mongo_url().replace("mongodb://", "mongodb://shop:s3cret@");
    let exported = Exported::new("bson");
    let nowhere = exported.archive.join("none");
    for arguments in [&["check"][..], &["export", nowhere.to_str().unwrap()], &["import", exported.path()]] {
        let said = run(program(arguments, &[("MONGO_URL", &url)])).expect_failure();
        assert!(said.starts_with("error: cannot use MONGO_URL: MongoDB refused the login: "), "{said}");
        assert!(said.lines().count() == 1 && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for arguments in [&["export", "/nowhere/archive"][..], &["check"]] {
        let said = run(program(arguments, &[("DATA_DIR", data.to_str().unwrap())])).expect_failure();
        assert!(said.contains("there is no store in"), "{said}");
        assert!(!data.exists());
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
