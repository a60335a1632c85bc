//! The login service's records of a shop: `clients` and `devicesessions`, which an import meets, and never replaces.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use tempfile::TempDir;
use viveka_sync::model::Collection;

use super::command::{PATIENCE, on, run};
use super::seeds::{seed, seed_accounts};
use crate::harness::{Engine, Setup, block_on, database_at, eventually, on_every_engine};

/// An archive of a shop with an account, a session and items.
struct Shop {
    client: ObjectId,
    session: ObjectId,
    archive: PathBuf,
    _directory: TempDir,
}

impl Shop {
    fn exported(items: usize) -> Self {
        let (setup, client, session) = (Setup::on(Engine::ReplicaSet), ObjectId::new(), ObjectId::new());
        let items = (0..items).map(|n| doc! { "_id": ObjectId::new(), "name": format!("item {n}"), "price": 1.5 });
        seed(Engine::ReplicaSet, &setup, &client.to_hex(), &[(Collection::Items, items.collect())]);
        let directory = tempfile::tempdir().unwrap();
        let shop = Self { client, session, archive: directory.path().join("archive"), _directory: directory };
        seed_accounts(Engine::ReplicaSet, &setup, &[shop.account("old")], &[shop.session("phone")]);
        run(on(Engine::ReplicaSet, &setup, &["export", shop.path()])).expect_ok();
        shop
    }

    fn path(&self) -> &str {
        self.archive.to_str().unwrap()
    }

    fn account(&self, name: &str) -> Document {
        doc! { "_id": self.client, "name": name, "isActive": true }
    }

    fn session(&self, device: &str) -> Document {
        doc! { "_id": self.session, "clientId": self.client, "device": device, "isActive": true }
    }
}

/// What an import says of its one client: the outcome, and why it was refused.
fn outcome(engine: Engine, setup: &Setup, arguments: &[&str]) -> (String, String) {
    let ran = run(on(engine, setup, &[&["import", "--json"], arguments].concat()));
    let report: Value = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{}", ran.error));
    let row = &report["clients"][0];
    assert_eq!(ran.code, if row["outcome"] == "refused" { 2 } else { 0 }, "{row}");
    (row["outcome"].as_str().unwrap().to_owned(), row["why"].as_str().unwrap_or_default().to_owned())
}

/// What the store holds of the login service, by an export of it: (accounts, sessions).
fn held(engine: Engine, setup: &Setup, client: ObjectId) -> (Vec<Document>, Vec<Document>) {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    run(on(engine, setup, &["export", "--encoding", "jsonl", archive.to_str().unwrap()])).expect_ok();
    let read = |name: &str| {
        let file = archive.join("clients").join(client.to_hex()).join(format!("{name}.jsonl"));
        let lines = std::fs::read_to_string(file).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (read("clients"), read("devicesessions"))
}

on_every_engine! {
    fn an_account_that_says_the_same_is_no_reason_to_refuse(engine: Engine) {
        let (shop, setup) = (Shop::exported(3), Setup::on(engine));
        // The same fields in another order are the same account.
        let account = doc! { "_id": shop.client, "isActive": true, "name": "old" };
        seed_accounts(engine, &setup, std::slice::from_ref(&account), &[]);
        assert_eq!(outcome(engine, &setup, &[shop.path()]).0, "imported");
        let (accounts, sessions) = held(engine, &setup, shop.client);
        assert!(accounts[0].iter().eq(account.iter()), "it is left as it was: {accounts:?}");
        assert_eq!(sessions, [shop.session("phone")]);
        assert_eq!(outcome(engine, &setup, &[shop.path()]).0, "present");
    }

    fn another_account_is_refused_and_kept_if_that_is_wanted(engine: Engine) {
        let (shop, setup) = (Shop::exported(3), Setup::on(engine));
        let (account, device) = (shop.account("new"), doc! { "_id": ObjectId::new(), "clientId": shop.client, "device": "new" });
        seed_accounts(engine, &setup, std::slice::from_ref(&account), std::slice::from_ref(&device));
        let (outcome_, why) = outcome(engine, &setup, &[shop.path()]);
        assert_eq!(outcome_, "refused");
        assert!(why.contains(&shop.client.to_hex()) && why.contains("of clients") && why.contains("--keep-accounts"), "{why}");
        assert!(run(on(engine, &setup, &["import", "--discard", shop.path()])).expect_ok().contains("nothing to discard"));

        assert_eq!(outcome(engine, &setup, &["--keep-accounts", shop.path()]).0, "imported");
        assert_eq!(held(engine, &setup, shop.client), (vec![account], vec![device]));
        assert!(run(on(engine, &setup, &["check"])).expect_ok().contains(" 0 problems"));
    }

    fn another_session_is_refused(engine: Engine) {
        let (shop, setup) = (Shop::exported(3), Setup::on(engine));
        seed_accounts(engine, &setup, &[shop.account("old")], &[shop.session("stolen")]);
        let (outcome, why) = outcome(engine, &setup, &[shop.path()]);
        assert_eq!(outcome, "refused");
        assert!(why.contains(&shop.session.to_hex()) && why.contains("devicesessions"), "{why}");
        assert_eq!(held(engine, &setup, shop.client), (vec![shop.account("old")], vec![shop.session("stolen")]));
    }
}

#[test]
fn a_session_that_another_client_has_is_not_taken_over() {
    let (shop, setup) = (Shop::exported(3), Setup::on(Engine::ReplicaSet));
    let foreign = doc! { "_id": shop.session, "clientId": ObjectId::new(), "device": "another shop's" };
    seed_accounts(Engine::ReplicaSet, &setup, &[], std::slice::from_ref(&foreign));
    let (outcome_, why) = outcome(Engine::ReplicaSet, &setup, &[shop.path()]);
    assert!(outcome_ == "refused" && why.contains("of another client"), "{why}");
    assert_eq!(stored(&setup, "devicesessions"), std::slice::from_ref(&foreign));
    // The store's sessions stay as they are, whosever they are.
    assert_eq!(outcome(Engine::ReplicaSet, &setup, &["--keep-accounts", shop.path()]).0, "imported");
    assert_eq!(stored(&setup, "devicesessions"), [foreign]);
}

#[test]
fn what_the_login_service_writes_meanwhile_stays_on_a_replica_set() {
    written_meanwhile(Engine::ReplicaSet);
}

#[test]
fn what_the_login_service_writes_meanwhile_stays_on_a_lone_mongod() {
    written_meanwhile(Engine::LoneMongod);
}

/// The login service goes on while an import runs: it logs in devices, and it changes records that the import has made.
fn written_meanwhile(engine: Engine) {
    let (shop, setup) = (Shop::exported(60_000), Setup::on(engine));
    let new_device = doc! { "_id": ObjectId::new(), "clientId": shop.client, "device": "new", "isActive": true };
    let renamed = shop.account("renamed meanwhile");

    let items = || {
        block_on(async {
            database_at(&setup).await.collection::<Document>("items").count_documents(doc! {}).await.unwrap()
        })
    };
    let mut import =
        on(engine, &setup, &["import", shop.path()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the import is in the middle", PATIENCE, || (items() > 0).then_some(()));
    seed_accounts(engine, &setup, std::slice::from_ref(&renamed), std::slice::from_ref(&new_device));
    assert_eq!(import.try_wait().unwrap(), None, "it ended before");
    assert!(import.wait().unwrap().success());
    assert_eq!(items(), 60_000);
    assert_eq!(stored(&setup, "clients"), std::slice::from_ref(&renamed));
    let sessions = stored(&setup, "devicesessions");
    assert!(sessions.contains(&new_device) && sessions.contains(&shop.session("phone")), "{sessions:?}");

    // And it stays when an import is taken back, which removes what it has made itself.
    let discarded = Setup::on(engine);
    mark(&discarded, &shop);
    seed_accounts(engine, &discarded, std::slice::from_ref(&renamed), &[shop.session("phone"), new_device.clone()]);
    run(on(engine, &discarded, &["import", "--discard", shop.path()])).expect_ok();
    assert_eq!(stored(&discarded, "clients"), [renamed]);
    assert_eq!(stored(&discarded, "devicesessions"), [new_device]);
}

/// Sets the mark of an import that was killed after it had written the account and the session of the archive.
fn mark(setup: &Setup, shop: &Shop) {
    use sha2::Digest;
    let manifest: Value = serde_json::from_slice(&std::fs::read(shop.archive.join("manifest.json")).unwrap()).unwrap();
    let note = |collection: &str, record: Document| {
        let digest = sha2::Sha256::digest(record.to_vec().unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        doc! { "collection": collection, "id": record.get_object_id("_id").unwrap(), "sha256": digest }
    };
    let accounts = [note("clients", shop.account("old")), note("devicesessions", shop.session("phone"))];
    let marker =
        doc! { "archive": manifest["archive"].as_str().unwrap(), "empty": true, "accounts": accounts.to_vec() };
    block_on(async {
        let clients = database_at(setup).await.collection::<Document>("syncclients");
        clients.insert_one(doc! { "_id": shop.client, "importing": marker }).await.unwrap();
    });
}

fn stored(setup: &Setup, collection: &str) -> Vec<Document> {
    block_on(async {
        let records = database_at(setup).await.collection::<Document>(collection);
        records.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap()
    })
}

/// What was exported once more has the same account, wherever it has been in between.
#[test]
fn accounts_survive_a_stay_in_the_embedded_engine() {
    let (shop, embedded) = (Shop::exported(1), Setup::embedded());
    run(on(Engine::Embedded, &embedded, &["import", shop.path()])).expect_ok();
    let again = shop.archive.with_extension("again");
    let exported = run(on(Engine::Embedded, &embedded, &["export", "--json", again.to_str().unwrap()])).expect_json();
    assert_eq!(exported["clients"][0]["collections"]["clients"]["records"], json!(1));
    let third = Setup::on(Engine::LoneMongod);
    run(on(Engine::LoneMongod, &third, &["import", again.to_str().unwrap()])).expect_ok();
    assert_eq!(stored(&third, "clients"), [shop.account("old")]);
    assert_eq!(stored(&third, "devicesessions"), [shop.session("phone")]);
}
