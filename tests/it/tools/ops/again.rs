//! A shop that is there already: the same one is told to be there, another one is refused, and nothing changes.

use std::path::Path;

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::seeds::seed;
use crate::harness::{Engine, Phone, Server, Setup, on_every_engine, random_hex};

/// A shop in a store of its own, whose phone has synced.
fn shop(name: &str, client: &str) -> Setup {
    let setup = Setup::embedded();
    sell(&setup, client, name);
    setup
}

fn sell(setup: &Setup, client: &str, name: &str) {
    let mut server = Server::start_ready(setup);
    let batch = json!({"item": {"create": [{"localId": name, "name": name, "price": 1}]}});
    Phone::of(&server, client).sync_with_key(&batch, name).expect_ok();
    assert_eq!(server.terminate(), 0);
}

fn export(setup: &Setup, archive: &Path) {
    run(on(Engine::Embedded, setup, &["export", archive.to_str().unwrap()])).expect_ok();
}

/// What an import says of its one client, with its exit code.
fn import(engine: Engine, setup: &Setup, archive: &Path) -> (i32, Value) {
    let ran = run(on(engine, setup, &["import", "--json", archive.to_str().unwrap()]));
    let report: Value = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{}", ran.error));
    (ran.code, report["clients"][0].clone())
}

fn expect_refused(engine: Engine, setup: &Setup, archive: &Path, said: &[&str]) {
    let (code, row) = import(engine, setup, archive);
    assert_eq!((code, &row["outcome"]), (2, &json!("refused")), "{row}");
    let why = row["why"].as_str().unwrap();
    assert!(said.iter().all(|said| why.contains(said)) && why.contains("it stays as it is"), "{why}");
}

on_every_engine! {
    fn the_same_shop_is_there_already_and_another_one_is_refused(engine: Engine) {
        let (directory, client, target) = (tempfile::tempdir().unwrap(), random_hex(12), Setup::on(engine));
        let [first, again, other] = ["first", "again", "other"].map(|name| directory.path().join(name));
        let source = shop("Tea", &client);
        export(&source, &first);
        export(&source, &again);
        export(&shop("Cup", &client), &other);
        assert_eq!(import(engine, &target, &first).1["outcome"], "imported");
        // The same books are the same, whichever archive they come in.
        for archive in [&first, &again] {
            let (code, row) = import(engine, &target, archive);
            assert_eq!((code, &row["outcome"], &row["revision"]), (0, &json!("present"), &json!(1)), "{row}");
        }
        // As many records with other bytes are not.
        expect_refused(engine, &target, &other, &["items with other bytes", "has data already"]);

        sell(&target, &client, "Milk");
        let gone_on = "was imported from this archive before and has gone on since";
        expect_refused(engine, &target, &first, &[gone_on, "revision 2 where the archive has 1", "items 2"]);
        expect_refused(engine, &target, &again, &["has data already", "revision 2 where the archive has 1"]);
        let server = Server::start_ready(&target);
        assert_eq!(Phone::of(&server, &client).pull().expect_ok()["data"]["items"].as_array().unwrap().len(), 2);
    }

    fn a_shop_that_has_lost_something_is_not_said_to_be_there(engine: Engine) {
        let (directory, client, target) = (tempfile::tempdir().unwrap(), random_hex(12), Setup::on(engine));
        let archive = directory.path().join("archive");
        export(&shop("Tea", &client), &archive);
        assert_eq!(import(engine, &target, &archive).1["outcome"], "imported");
        // By another service, so that no revision tells.
        let group = doc! { "_id": ObjectId::new(), "name": "Drinks" };
        seed(engine, &target, &client, &[(Collection::ItemGroups, vec![group])]);
        expect_refused(engine, &target, &archive, &["itemgroups 1 where the archive has 0"]);
    }
}

/// Receipts that the archive still has and the store need not keep are no difference.
#[test]
fn expired_receipts_are_no_difference() {
    let (directory, client, target) = (tempfile::tempdir().unwrap(), random_hex(12), Setup::on(Engine::ReplicaSet));
    let (source, archive) = (Setup::embedded(), directory.path().join("archive"));
    sell(&source, &client, "Tea");
    age_receipts(&source);
    export(&source, &archive);
    let (_, row) = import(Engine::ReplicaSet, &target, &archive);
    assert_eq!((&row["outcome"], &row["expired"]), (&json!("imported"), &json!(1)));
    assert_eq!(import(Engine::ReplicaSet, &target, &archive).1["outcome"], "present");
}

/// Makes all receipts of a file ten years old.
fn age_receipts(setup: &Setup) {
    use mongodb::bson::{DateTime, Document};
    let path = setup.directory().join("viveka-sync.redb");
    let database = crate::harness::eventually("nobody has the file open", super::command::PATIENCE, || {
        redb::Database::open(&path).ok()
    });
    let transaction = database.begin_write().unwrap();
    let mut receipts = transaction.open_table(redb::TableDefinition::<&[u8], &[u8]>::new("receipts")).unwrap();
    let old = DateTime::from_millis(DateTime::now().timestamp_millis() - 3650 * 86_400_000);
    let entries: Vec<(Vec<u8>, Document)> = redb::ReadableTable::iter(&receipts)
        .unwrap()
        .map(|entry| entry.map(|(key, value)| (key.value().to_vec(), Document::from_reader(value.value()).unwrap())))
        .collect::<Result<_, _>>()
        .unwrap();
    for (key, mut receipt) in entries {
        receipt.insert("createdAt", old);
        receipts.insert(&key[..], &receipt.to_vec().unwrap()[..]).unwrap();
    }
    drop(receipts);
    transaction.commit().unwrap();
}
