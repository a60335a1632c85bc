//! One shop that is damaged, in an archive or in a store: it is told, and the others are done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use tempfile::TempDir;
use viveka_sync::model::Collection;

use super::command::{PATIENCE, Ran, on, program, run};
use super::seeds::seed;
use crate::harness::{Engine, Setup, eventually, random_hex};

/// A store of two shops and its archive.
struct Two {
    setup: Setup,
    damaged: String,
    sound: String,
    archive: PathBuf,
    _directory: TempDir,
}

impl Two {
    fn new() -> Self {
        let (setup, directory) = (Setup::embedded(), tempfile::tempdir().unwrap());
        let archive = directory.path().join("archive");
        let two = Self { setup, damaged: random_hex(12), sound: random_hex(12), archive, _directory: directory };
        for client in [&two.damaged, &two.sound] {
            let items = vec![doc! { "_id": ObjectId::new(), "name": "Tea" }];
            seed(Engine::Embedded, &two.setup, client, &[(Collection::Items, items)]);
        }
        two
    }

    fn exported() -> Self {
        let two = Self::new();
        two.export(&[]).expect_ok();
        two
    }

    fn export(&self, more: &[&str]) -> Ran {
        run(on(Engine::Embedded, &self.setup, &[&["export", self.path()], more].concat()))
    }

    fn path(&self) -> &str {
        self.archive.to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.archive.join("clients").join(&self.damaged).join(name)
    }

    /// Expects the damaged shop to be refused and the other one not.
    #[track_caller]
    fn expect_one_refused(&self, ran: &Ran, code: i32, outcome: &str) -> Value {
        assert_eq!(ran.code, code, "{}{}", ran.output, ran.error);
        let told: Value = serde_json::from_str(&ran.output).unwrap();
        let row =
            |client: &str| told["clients"].as_array().unwrap().iter().find(|row| row["client"] == client).unwrap();
        assert_eq!(row(&self.damaged)["outcome"], "refused", "{told}");
        assert!(row(&self.damaged)["why"].as_str().unwrap().contains(&self.damaged), "{told}");
        assert_eq!(row(&self.sound)["outcome"], outcome, "{told}");
        told
    }
}

/// What happens to the archive.
type Damage = fn(&Two);

fn pipe(path: &Path) {
    fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_damaged_part_of_an_archive_refuses_its_shop_alone() {
    let damages: [(&str, Damage); 6] = [
        ("is missing", |two| fs::remove_file(two.file("client.json")).unwrap()),
        ("is not the file that the manifest knows", |two| fs::write(two.file("client.json"), "{").unwrap()),
        ("No such file", |two| fs::remove_file(two.file("items.bson")).unwrap()),
        ("damaged", |two| fs::write(two.file("items.bson"), "").unwrap()),
        ("it is no regular file", |two| pipe(&two.file("client.json"))),
        ("it is no regular file", |two| pipe(&two.file("items.bson"))),
    ];
    for (why, damage) in damages {
        let two = Two::exported();
        damage(&two);
        let verified = run(program(&["import", "--verify", "--json", two.path()], &[]));
        let told = two.expect_one_refused(&verified, 1, "verified");
        assert!(told.to_string().contains(why), "{why}: {told}");
        let said = run(program(&["import", "--verify", two.path()], &[])).expect_findings();
        assert_eq!(said.matches("REFUSED: ").count(), 1, "{said}");
        for engine in [Engine::Embedded, Engine::ReplicaSet] {
            let imported = run(on(engine, &Setup::on(engine), &["import", "--json", two.path()]));
            two.expect_one_refused(&imported, 2, "imported");
        }
    }
}

#[test]
fn what_the_manifest_does_not_name_is_told() {
    let two = Two::exported();
    fs::create_dir(two.archive.join("clients/strange")).unwrap();
    for arguments in [&["import", "--verify", two.path()][..], &["import", two.path()]] {
        let setup = Setup::embedded();
        let said = run(on(Engine::Embedded, &setup, arguments)).expect_ok();
        assert!(said.contains("note: not in the manifest, and not looked at: clients/{strange}"), "{said}");
    }
    let told = run(program(&["import", "--verify", "--json", two.path()], &[])).expect_json();
    assert_eq!(told["unknown"], json!(["strange"]));
}

#[test]
fn a_shop_with_a_record_that_cannot_be_read_is_left_out_of_an_export() {
    let two = Two::new();
    let path = two.setup.directory().join("viveka-sync.redb");
    let database = eventually("nobody has the file open", PATIENCE, || redb::Database::open(&path).ok());
    let id = ObjectId::new();
    let client = ObjectId::parse_str(&two.damaged).unwrap();
    let key = [&client.bytes()[..], &[Collection::Items as u8], &id.bytes()].concat();
    let transaction = database.begin_write().unwrap();
    let mut records = transaction.open_table(redb::TableDefinition::<&[u8], &[u8]>::new("records")).unwrap();
    records.insert(&key[..], &b"no record"[..]).unwrap();
    drop(records);
    transaction.commit().unwrap();
    drop(database);
    // The second time the archive is complete.
    for _ in 0..2 {
        let said = two.export(&[]).expect_findings();
        let told = format!("LEFT OUT: client {}: the record {id} of items cannot be", two.damaged);
        assert!(said.contains(&told) && said.contains("1 client, 1 record, read back"), "{said}");
    }
    let verified = run(program(&["import", "--verify", "--json", two.path()], &[])).expect_json();
    assert_eq!(verified["unknown"], json!([]));
    assert_eq!(verified["clients"][0]["client"], json!(two.sound));
    // Whoever asks for it alone gets nothing that looks like a backup.
    let alone = two.archive.with_extension("alone");
    let alone = ["export", "--client", &two.damaged, alone.to_str().unwrap()];
    let said = run(on(Engine::Embedded, &two.setup, &alone)).expect_failure();
    assert!(said.contains(&id.to_string()), "{said}");
}

/// Each command says on which store it works before it does.
#[test]
fn the_store_is_named_first() {
    let two = Two::exported();
    let directory = two.setup.directory().to_str().unwrap();
    for arguments in [&["check"][..], &["export", two.path()], &["import", two.path()]] {
        let ran = run(on(Engine::Embedded, &two.setup, arguments));
        assert_eq!(ran.error.lines().next(), Some(&*format!("store: the directory {directory}")), "{}", ran.error);
        let setup = Setup::on(Engine::ReplicaSet);
        let ran = run(on(Engine::ReplicaSet, &setup, arguments));
        let first = ran.error.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("store: the database {} of 127.0.0.1:", setup.database_name())), "{first}");
    }
}
