//! The file of the embedded engine: what finds records in it, and what it is made of.

use std::fs;

use mongodb::bson::oid::ObjectId;
use redb::TableDefinition;
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::planting::{Held, Place, open};
use super::{check, shop};
use crate::harness::Engine;

#[test]
fn what_finds_records_in_the_file_is_checked() {
    let said =
        [("invoice_numbers", "is not among the taken ones"), ("purchased_invoices", "is not noted to have a history")];
    for (table, said) in said {
        let (setup, _) = shop(Engine::Embedded);
        let database = open(&setup);
        let transaction = database.begin_write().unwrap();
        let table = TableDefinition::<&[u8], ()>::new(table);
        transaction.open_table(table).unwrap().retain(|_, ()| false).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
        assert!(told.contains(said), "{told}");
    }
}

/// Deltas are read from the log of commits.
#[test]
fn a_log_of_commits_that_is_not_of_the_records_is_found() {
    let (setup, client) = shop(Engine::Embedded);
    let client = ObjectId::parse_str(&client).unwrap();
    let commits = TableDefinition::<&[u8], &[u8]>::new("commits");
    let key = |revision: i64| [&client.bytes()[..], &revision.to_be_bytes()].concat();
    let database = open(&setup);
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(commits).unwrap();
    let [items, nothing] = [(Collection::Items as u8).to_be_bytes().to_vec(), vec![9; 12]];
    table.insert(&key(2)[..], &[items, nothing].concat()[..]).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
    assert!(told.contains("written 090909090909090909090909 of items, which is not there"), "{told}");
    assert!(told.contains("it is of the commit 2, whose log does not name it"), "{told}");
}

/// In MongoDB the `clientId` is what finds a record; in the file the key is, and both must say the same.
#[test]
fn a_record_that_says_it_is_another_clients_is_found() {
    let (setup, _) = shop(Engine::Embedded);
    let place = Place::Data(Collection::Items);
    let mut items = Held::take(Engine::Embedded, &setup, place);
    let item = items.0.values_mut().next().unwrap();
    item.insert("clientId", ObjectId::new());
    items.put(Engine::Embedded, &setup, place);
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
    assert!(told.contains("says that it is another's"), "{told}");
    // And it gets into no archive.
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let told = run(on(Engine::Embedded, &setup, &["export", archive.to_str().unwrap()])).expect_findings();
    assert!(told.contains("LEFT OUT") && told.contains("is not this client's"), "{told}");
}

/// What redb does not look at when it reads, it looks at when it is asked to.
#[test]
fn a_file_that_is_damaged_is_found_and_stays_as_it_is() {
    let (setup, client) = shop(Engine::Embedded);
    check(Engine::Embedded, &setup).expect_ok();
    let file = setup.directory().join("viveka-sync.redb");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<_> = bytes.windows(4).enumerate().filter(|(_, part)| *part == b"Tea\0").map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] = b'S');
    fs::write(&file, &bytes).unwrap();
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
    assert!(told.contains(&format!("PROBLEM  the store: {} is damaged", file.display())), "{told}");
    assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
    assert!(fs::read(&file).unwrap() == bytes);
    run(on(Engine::Embedded, &setup, &["check", "--client", &client])).expect_ok();
}

#[test]
fn a_check_writes_nothing() {
    let (setup, _) = shop(Engine::Embedded);
    let file = setup.directory().join("viveka-sync.redb");
    // A server may end before it has closed its file; then the next one who opens it puts it in order.
    check(Engine::Embedded, &setup).expect_ok();
    let before = fs::read(&file).unwrap();
    check(Engine::Embedded, &setup).expect_ok();
    assert!(fs::read(&file).unwrap() == before);
}
