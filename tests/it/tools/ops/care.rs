//! What the operator's commands must not do to those who do not look: other shops' receipts, archives, mistyped ids.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Document, doc};
use serde_json::json;

use super::command::{on, run};
use crate::harness::{Engine, Phone, Server, Setup, block_on, database_at};

/// An archive of one shop of a store of its own.
fn archive(directory: &Path) -> String {
    let setup = Setup::on(Engine::Embedded);
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    phone.sync_with_key(&json!({"item": {"create": [{"name": "Tea", "price": 10}]}}), "k-1").expect_ok();
    drop(server);
    let archive = directory.join("archive").to_str().unwrap().to_owned();
    run(on(Engine::Embedded, &setup, &["export", &archive])).expect_ok();
    archive
}

/// Nobody but servers says for how long receipts are kept.
#[test]
fn an_import_leaves_the_expiry_of_receipts_alone() {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(directory.path());
    let target = Setup::on(Engine::ReplicaSet).env("RECEIPT_DAYS", "0");
    drop(Server::start(&target));
    run(on(Engine::ReplicaSet, &target, &["import", "--receipt-days", "400", &archive])).expect_ok();
    let expiring = block_on(async {
        let receipts = database_at(&target).await.collection::<Document>("syncreceipts");
        let indexes: Vec<_> = receipts.list_indexes().await.unwrap().try_collect().await.unwrap();
        assert!(indexes.iter().any(|index| index.keys == doc! {"clientId": 1, "key": 1}), "the others are made");
        indexes.iter().filter_map(|index| index.options.as_ref()?.expire_after).count()
    });
    assert_eq!(expiring, 0);
}

#[test]
fn an_archive_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(directory.path());
    let mut left = vec![Path::new(&archive).to_owned()];
    while let Some(path) = left.pop() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        if path.is_dir() {
            left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_check_of_a_client_that_is_not_there_is_no_success() {
    let setup = Setup::on(Engine::Embedded);
    drop(Server::start(&setup));
    let refused =
        run(on(Engine::Embedded, &setup, &["check", "--client", "64b0000000000000000000ff"])).expect_failure();
    assert!(refused.contains("64b0000000000000000000ff"), "{refused}");
}

/// What cannot be taken is taken back: the shop is not locked out until somebody finds out how to discard it.
#[test]
fn a_refused_import_leaves_the_shop_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(directory.path());
    let client = std::fs::read_dir(Path::new(&archive).join("clients")).unwrap().next().unwrap().unwrap().file_name();
    let client = client.to_str().unwrap();
    let items = std::fs::read(Path::new(&archive).join("clients").join(client).join("items.bson")).unwrap();
    let item = RawDocument::from_bytes(&items).unwrap().get_object_id("_id").unwrap();
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let target = Setup::on(engine);
        let server = Server::start_ready(&target);
        let foreign = doc! {"_id": item, "clientId": ObjectId::new(), "name": "another shop's"};
        let stored = async || database_at(&target).await.collection::<Document>("items");
        block_on(async { stored().await.insert_one(&foreign).await.unwrap() });
        let told = run(on(engine, &target, &["import", &archive])).expect_failure();
        assert!(told.contains("REFUSED"), "{told}");
        let phone = Phone::of(&server, client);
        assert_eq!(phone.pull().expect_ok()["data"]["items"], json!([]));
        assert_eq!(block_on(async { stored().await.find_one(doc! {}).await.unwrap() }), Some(foreign));
        phone.sync(&json!({"item": {"create": [{"name": "Own", "price": 1}]}})).expect_ok();
    }
}
