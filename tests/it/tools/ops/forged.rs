//! Archives that somebody has made over, with digests that are right: each record must say that it is the client's.

use std::fs;
use std::path::PathBuf;

use mongodb::bson::Document;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::command::{on, program, run};
use crate::harness::{Engine, Phone, Server, Setup, random_hex};

const KEY: &str = "own-key";

/// An archive of a shop that has synced once under a key.
struct Archive {
    client: String,
    path: PathBuf,
    _directory: TempDir,
}

fn batch() -> Value {
    json!({"item": {"create": [{"localId": "tea", "name": "Tea", "price": 1}]}})
}

impl Archive {
    fn new() -> Self {
        let (setup, client, directory) = (Setup::embedded(), random_hex(12), tempfile::tempdir().unwrap());
        let server = Server::start_ready(&setup);
        Phone::of(&server, &client).sync_with_key(&batch(), KEY).expect_ok();
        drop(server);
        let path = directory.path().join("archive");
        run(on(Engine::Embedded, &setup, &["export", path.to_str().unwrap()])).expect_ok();
        Self { client, path, _directory: directory }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Makes over the records of a collection and the manifest, and all digests.
    fn make_over(&self, collection: &str, records: impl Fn(&mut Vec<Document>), manifest: impl Fn(&mut Value)) {
        let directory = self.path.join("clients").join(&self.client);
        let file = directory.join(format!("{collection}.bson"));
        let (before, mut all) = (fs::read(&file).unwrap(), Vec::new());
        let mut left = &before[..];
        while !left.is_empty() {
            all.push(Document::from_reader(&mut left).unwrap());
        }
        records(&mut all);
        let bytes: Vec<u8> = all.iter().flat_map(|record| record.to_vec().unwrap()).collect();
        fs::write(&file, &bytes).unwrap();
        let summary_file = directory.join("client.json");
        let mut summary: Value = serde_json::from_slice(&fs::read(&summary_file).unwrap()).unwrap();
        summary["collections"][collection]["sha256"] = json!(sha256(&bytes));
        summary["collections"][collection]["bytes"] = json!(bytes.len());
        summary["collections"][collection]["records"] = json!(all.len());
        fs::write(&summary_file, summary.to_string()).unwrap();
        let manifest_file = self.path.join("manifest.json");
        let mut made_over: Value = serde_json::from_slice(&fs::read(&manifest_file).unwrap()).unwrap();
        made_over["clients"][&self.client] = json!(sha256(summary.to_string().as_bytes()));
        manifest(&mut made_over);
        fs::write(&manifest_file, made_over.to_string()).unwrap();
    }
}

#[test]
fn what_came_of_another_clients_keys_is_not_taken() {
    for collection in ["syncreceipts", "synclocalids", "items"] {
        let (archive, other) = (Archive::new(), mongodb::bson::oid::ObjectId::new());
        archive.make_over(collection, |records| drop(records[0].insert("clientId", other)), |_| {});
        let said = run(program(&["import", "--verify", archive.path()], &[])).expect_findings();
        assert!(said.contains(collection) && said.contains("is not this client's"), "{said}");
        for engine in [Engine::Embedded, Engine::ReplicaSet] {
            let setup = Setup::on(engine);
            let said = run(on(engine, &setup, &["import", archive.path()])).expect_failure();
            assert!(said.contains("is not this client's"), "{said}");
        }
    }
}

#[test]
fn what_stands_twice_or_in_another_order_is_not_taken() {
    let twice = |records: &mut Vec<Document>| records.push(records[0].clone());
    let before = |records: &mut Vec<Document>| {
        let mut first = records[0].clone();
        first.insert("_id", mongodb::bson::oid::ObjectId::from_bytes([0; 12]));
        records.push(first);
    };
    for (why, change) in [("is there twice", &twice as &dyn Fn(&mut Vec<Document>)), ("in another order", &before)] {
        let archive = Archive::new();
        archive.make_over("items", change, |_| {});
        let said = run(program(&["import", "--verify", archive.path()], &[])).expect_findings();
        assert!(said.contains("REFUSED") && said.contains(why), "{said}");
        for engine in [Engine::Embedded, Engine::ReplicaSet] {
            let said = run(on(engine, &Setup::on(engine), &["import", archive.path()])).expect_failure();
            assert!(said.contains("REFUSED") && said.contains(why), "{said}");
        }
    }
}

/// Receipts of the first version of archives did not say whose they are.
#[test]
fn an_archive_of_the_first_version_is_taken() {
    let archive = Archive::new();
    let first = |manifest: &mut Value| manifest["version"] = json!(1);
    archive.make_over("syncreceipts", |receipts| drop(receipts[0].remove("clientId").unwrap()), first);
    for engine in [Engine::Embedded, Engine::ReplicaSet] {
        let setup = Setup::on(engine);
        run(on(engine, &setup, &["import", archive.path()])).expect_ok();
        let again = run(on(engine, &setup, &["import", "--json", archive.path()])).expect_json();
        assert_eq!(again["clients"][0]["outcome"], "present");
        let server = Server::start_ready(&setup);
        let replay = Phone::of(&server, &archive.client).sync_with_key(&batch(), KEY);
        assert_eq!(replay.header("Idempotency-Replayed").as_deref(), Some("true"));
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
