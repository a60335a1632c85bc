//! `viveka-sync check` is silent on what this program wrote, and finds each fault that was planted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc, oid::ObjectId};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::command::{PATIENCE, Ran, on, run};
use super::seeds::{seed, seed_counters};
use crate::harness::{Engine, Phone, Request, Server, Setup, block_on, database_at, eventually, random_hex};

/// One thing that is done to a store behind its back, and what the check must say of it.
struct Fault {
    what: &'static str,
    place: Place,
    /// Changes the first record for which it does not say [`Fate::Skip`].
    edit: fn(&mut Document) -> Fate,
    severity: &'static str,
    said: &'static str,
}

#[derive(Clone, Copy)]
enum Place {
    Data(Collection),
    Receipts,
    LocalIds,
    Counters,
}

enum Fate {
    Skip,
    Replace,
    Remove,
    /// The changed record comes beside the one that is there.
    Twin,
}

fn set(record: &mut Document, fields: Document) -> Fate {
    record.extend(fields);
    Fate::Replace
}

fn number(record: &Document, name: &str) -> f64 {
    record.get_f64(name).unwrap_or(f64::NAN)
}

fn is_tea(record: &Document) -> bool {
    record.get_str("localId").is_ok_and(|local_id| local_id == "tea")
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "less is paid than the payments come to",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"paidAmount": 1.5}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "1.5 is paid, and its payments come to 2",
    },
    Fault {
        what: "more is paid than is owed",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"paidAmount": 50.0}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "50 is paid of 20",
    },
    Fault {
        what: "less than nothing is paid",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 { set(invoice, doc! {"paidAmount": -1.0}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "-1 is paid of",
    },
    Fault {
        what: "a paid amount that is no number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"paidAmount": "much"}),
        severity: "problem",
        said: "is no number",
    },
    Fault {
        what: "an open invoice that is said to be finalised",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"isFinalized": true}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it is finalised, and 3 is paid of 20",
    },
    Fault {
        what: "a paid invoice that is said to be open",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 25.0 { set(invoice, doc! {"isFinalized": false}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it is open, and 25 is paid of 25",
    },
    Fault {
        what: "a payment that did not reach its invoice",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"revision": 1_i64}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it was last changed by commit 1, and a payment on it is of commit 2",
    },
    Fault {
        what: "the last payment is gone",
        place: Place::Data(Collection::Payments),
        edit: |payment| if number(payment, "amount") == 1.5 { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "no payment on it is of that commit",
    },
    Fault {
        what: "a payment on no invoice",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"invoiceId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "it is paid on the invoice 090909090909090909090909, which is not there",
    },
    Fault {
        what: "a payment of nothing",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"amount": 0.0}),
        severity: "problem",
        said: "its amount is no number above 0",
    },
    Fault {
        what: "the purchase history is gone",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |_| Fate::Remove,
        severity: "problem",
        said: "no purchase history",
    },
    Fault {
        what: "a purchase history twice",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |_| Fate::Twin,
        severity: "problem",
        said: "it has 2 purchase histories",
    },
    Fault {
        what: "a purchase history of no invoice",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"invoiceId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "it is of the invoice 090909090909090909090909, which is not there",
    },
    Fault {
        what: "a purchase history of another sum",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"totalAmount": 1.0}),
        severity: "problem",
        said: "its total is 1, and its invoice's is 25",
    },
    Fault {
        what: "a purchase history whose sum is a text",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"totalAmount": "25"}),
        severity: "problem",
        said: "its total is no number, and its invoice's is 25",
    },
    Fault {
        what: "a purchase history of another customer",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"clientCustomerId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "its customer is 090909090909090909090909, and its invoice's is",
    },
    Fault {
        what: "a purchase history of another sum, of another service",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| {
            history.remove("revision");
            set(history, doc! {"totalAmount": 1.0})
        },
        severity: "note",
        said: "its total is 1, and its invoice's is 25",
    },
    Fault {
        what: "less than nothing in stock",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"stock": -3.0}),
        severity: "problem",
        said: "its stock is -3",
    },
    Fault {
        what: "a price that is a text",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"price": "12.5"}),
        severity: "problem",
        said: "its price is no number",
    },
    Fault {
        what: "a price of another service that is a text, in an item whose stock was lowered here",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"price": "12.5", "__v": 0}),
        severity: "note",
        said: "its price is no number",
    },
    Fault {
        what: "a total that is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"totalAmount": "20"}),
        severity: "problem",
        said: "its total or its paid amount is no number",
    },
    Fault {
        what: "a quantity that is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            let line = invoice.get_array_mut("products").unwrap()[0].as_document_mut();
            line.unwrap().insert("quantity", "2");
            Fate::Replace
        },
        severity: "problem",
        said: "in its line 0 the quantity is no number",
    },
    Fault {
        what: "an amount that is a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"amount": "1.5"}),
        severity: "problem",
        said: "its amount is no number above 0",
    },
    Fault {
        what: "a record from the future",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"revision": 77_i64}),
        severity: "problem",
        said: "its revision is 77, and the client is at revision 2",
    },
    Fault {
        what: "a revision that is no number",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"revision": "x"}),
        severity: "problem",
        said: "its revision is no whole number",
    },
    Fault {
        what: "an item that a local id and a receipt name is gone",
        place: Place::Data(Collection::Items),
        edit: |item| if is_tea(item) { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "which is not there",
    },
    Fault {
        what: "a local id that is forgotten",
        place: Place::LocalIds,
        edit: |local| if is_tea(local) { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "its localId \"tea\" is not registered",
    },
    Fault {
        what: "a record that has another local id",
        place: Place::Data(Collection::Items),
        edit: |item| if is_tea(item) { set(item, doc! {"localId": "tee"}) } else { Fate::Skip },
        severity: "problem",
        said: "which says that its localId is \"tee\"",
    },
    Fault {
        what: "a local id of nothing",
        place: Place::LocalIds,
        edit: |local| set(local, doc! {"kind": "things"}),
        severity: "problem",
        said: "it does not say what it stands for",
    },
    Fault {
        what: "a receipt that tells of nothing",
        place: Place::Receipts,
        edit: |receipt| {
            let synced = receipt.get_document_mut("receipt").and_then(|inner| inner.get_document_mut("synced"));
            synced.unwrap().insert("paymentsCreated", [ObjectId::from_bytes([9; 12])].to_vec());
            Fate::Replace
        },
        severity: "problem",
        said: "it tells of 090909090909090909090909 of payments, which is not there",
    },
    Fault {
        what: "a receipt from the future",
        place: Place::Receipts,
        edit: |receipt| {
            receipt.get_document_mut("receipt").unwrap().insert("revision", 77_i64);
            Fate::Replace
        },
        severity: "problem",
        said: "its revision is 77",
    },
    Fault {
        what: "the client is set back",
        place: Place::Counters,
        edit: |counters| set(counters, doc! {"revision": 1_i64}),
        severity: "problem",
        said: "its revision is 2, and the client is at revision 1",
    },
    Fault {
        what: "an invoice number below the first",
        place: Place::Counters,
        edit: |counters| set(counters, doc! {"nextInvoice": 0_i64}),
        severity: "problem",
        said: "its next invoice would be number 0",
    },
    Fault {
        what: "two invoices with one number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 {
                set(invoice, doc! {"invoiceNumber": "INV-000001"})
            } else {
                Fate::Skip
            }
        },
        severity: "note",
        said: "2 invoices have the number \"INV-000001\"",
    },
    Fault {
        what: "a payment of another service that its invoice does not know",
        place: Place::Data(Collection::Payments),
        edit: |payment| {
            if number(payment, "amount") == 25.0 {
                payment.remove("revision");
                payment.remove("localId");
                return Fate::Twin;
            }
            Fate::Skip
        },
        severity: "note",
        said: "25 is paid, and with those of other services its payments come to 50",
    },
    Fault {
        what: "an invoice of another service that is odd",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 {
                invoice.remove("revision");
                invoice.remove("localId");
                return set(invoice, doc! {"_id": ObjectId::new(), "isFinalized": true, "invoiceNumber": "x"}).twin();
            }
            Fate::Skip
        },
        severity: "note",
        said: "it is finalised, and 0 is paid of",
    },
];

impl Fate {
    fn twin(self) -> Self {
        Self::Twin
    }
}

/// A store with a shop whose books are in order.
fn shop(engine: Engine) -> (Setup, String) {
    let (setup, client) = (Setup::on(engine), random_hex(12));
    let customer = ObjectId::new();
    seed(engine, &setup, &client, &[(Collection::ClientCustomers, vec![doc! { "_id": customer, "name": "Asha" }])]);
    let mut server = Server::start_ready(&setup);
    let phone = Phone::of(&server, &client);
    let customer = customer.to_hex();
    let first = json!({
        "item": {"create": [{"_id": 1, "localId": "tea", "name": "Tea", "price": 12.5, "stock": 100}]},
        "invoice": {"create": [
            {"_id": 1, "localId": "paid", "products": [{"productId": 1, "quantity": 2}], "clientCustomerId": customer},
            {"_id": 2, "localId": "open", "totalAmount": 20, "paidAmount": 1, "clientCustomerId": customer,
             "products": [{"productId": 1, "quantity": 1}]},
            {"_id": 3, "products": [{"productId": 1, "quantity": 1}]}]},
        "payment": {"create": [{"invoiceId": 1, "amount": 25, "localId": "all"}, {"invoiceId": 2, "amount": 0.5}]}
    });
    phone.sync_with_key(&first, "first").expect_ok();
    let second = json!({"payment": {"create": [{"invoiceId": "open", "amount": 1.5}]}});
    phone.sync_with_key(&second, "second").expect_ok();
    assert_eq!(server.terminate(), 0);
    (setup, client)
}

fn check(engine: Engine, setup: &Setup) -> Ran {
    run(on(engine, setup, &["check", "--json"]))
}

fn findings(ran: &Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{}", ran.error));
    report["findings"].as_array().unwrap().clone()
}

#[test]
fn each_fault_is_found_in_the_embedded_engine() {
    let (setup, client) = shop(Engine::Embedded);
    find_all(Engine::Embedded, &setup, &client);
}

#[test]
fn each_fault_is_found_on_a_replica_set() {
    let (setup, client) = shop(Engine::ReplicaSet);
    find_all(Engine::ReplicaSet, &setup, &client);
}

#[test]
fn each_fault_is_found_on_a_lone_mongod() {
    let (setup, client) = shop(Engine::LoneMongod);
    find_all(Engine::LoneMongod, &setup, &client);
}

fn find_all(engine: Engine, setup: &Setup, client: &str) {
    let healthy = check(engine, setup);
    assert_eq!(healthy.code, 0, "{}", healthy.output);
    let silent = |finding: &Value| finding["severity"] == "note" && finding["client"].is_null();
    assert!(findings(&healthy).iter().all(silent), "{}", healthy.output);
    for fault in FAULTS {
        let before = Held::take(engine, setup, fault.place);
        let after = before.edited(fault, client);
        after.put(engine, setup, fault.place);
        let ran = check(engine, setup);
        before.put(engine, setup, fault.place);
        let found = findings(&ran);
        let meant = |finding: &&Value| finding["why"].as_str().is_some_and(|why| why.contains(fault.said));
        let Some(finding) = found.iter().find(meant) else { panic!("{}: {}", fault.what, ran.output) };
        assert_eq!(finding["severity"], fault.severity, "{}: {finding}", fault.what);
        assert_eq!(finding["client"], client, "{}: {finding}", fault.what);
        let problems = found.iter().any(|finding| finding["severity"] == "problem");
        assert_eq!(ran.code, i32::from(problems), "{}", fault.what);
        assert!(problems || fault.severity == "note", "{}", fault.what);
    }
    assert_eq!(check(engine, setup).code, 0, "all is as it was");
}

/// All records of one place in a store, by their keys.
#[derive(Clone)]
struct Held(BTreeMap<Vec<u8>, Document>);

type Bytes<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
const COUNTERS: TableDefinition<'_, &[u8], (i64, i64)> = TableDefinition::new("clients");

impl Place {
    fn collection(self) -> &'static str {
        match self {
            Self::Data(collection) => collection.name(),
            Self::Receipts => "syncreceipts",
            Self::LocalIds => "synclocalids",
            Self::Counters => "syncclients",
        }
    }

    fn table(self) -> Bytes<'static> {
        TableDefinition::new(match self {
            Self::Data(_) => "records",
            Self::Receipts => "receipts",
            Self::LocalIds => "local_ids",
            Self::Counters => unreachable!("it has another type"),
        })
    }

    /// Whether a key of the table is of this place.
    fn has(self, key: &[u8]) -> bool {
        match self {
            Self::Data(collection) => key[12] == collection as u8,
            _ => true,
        }
    }
}

fn open(setup: &Setup) -> redb::Database {
    let path = setup.directory().join("viveka-sync.redb");
    eventually("nobody has the file open", PATIENCE, || redb::Database::open(&path).ok())
}

impl Held {
    fn take(engine: Engine, setup: &Setup, place: Place) -> Self {
        if engine.topology().is_some() {
            return Self(block_on(async {
                let collection = database_at(setup).await.collection::<Document>(place.collection());
                let all: Vec<Document> =
                    collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
                (0_u32..).zip(all).map(|(index, record)| (index.to_be_bytes().to_vec(), record)).collect()
            }));
        }
        let transaction = open(setup).begin_read().unwrap();
        if let Place::Counters = place {
            let table = transaction.open_table(COUNTERS).unwrap();
            let entries = table.iter().unwrap().map(Result::unwrap);
            return Self(
                entries
                    .map(|(key, value)| {
                        let (revision, next) = value.value();
                        (key.value().to_vec(), doc! { "revision": revision, "nextInvoice": next })
                    })
                    .collect(),
            );
        }
        let table = transaction.open_table(place.table()).unwrap();
        let entries = table.iter().unwrap().map(Result::unwrap);
        let entries = entries.map(|(key, value)| (key.value().to_vec(), Document::from_reader(value.value()).unwrap()));
        Self(entries.filter(|(key, _)| place.has(key)).collect())
    }

    /// The same with one fault.
    fn edited(&self, fault: &Fault, client: &str) -> Self {
        let mut after = self.clone();
        for (key, record) in &self.0 {
            let mut edited = record.clone();
            match (fault.edit)(&mut edited) {
                Fate::Skip => continue,
                Fate::Replace => drop(after.0.insert(key.clone(), edited)),
                Fate::Remove => drop(after.0.remove(key)),
                Fate::Twin => {
                    let id = ObjectId::new();
                    edited.insert("_id", id);
                    edited.insert("clientId", ObjectId::parse_str(client).unwrap());
                    let mut key = key.clone();
                    match key.len() {
                        25 => key[13..].copy_from_slice(&id.bytes()),
                        _ => key.push(1),
                    }
                    after.0.insert(key, edited);
                }
            }
            return after;
        }
        panic!("{}: there is no such record", fault.what)
    }

    /// Makes this all that is in the place.
    fn put(&self, engine: Engine, setup: &Setup, place: Place) {
        if engine.topology().is_some() {
            return block_on(async {
                let collection = database_at(setup).await.collection::<Document>(place.collection());
                collection.delete_many(doc! {}).await.unwrap();
                if !self.0.is_empty() {
                    collection.insert_many(self.0.values()).await.unwrap();
                }
            });
        }
        let transaction = open(setup).begin_write().unwrap();
        if let Place::Counters = place {
            let mut table = transaction.open_table(COUNTERS).unwrap();
            for (key, record) in &self.0 {
                let counters = (record.get_i64("revision").unwrap(), record.get_i64("nextInvoice").unwrap());
                table.insert(&key[..], counters).unwrap();
            }
        } else {
            let mut table = transaction.open_table(place.table()).unwrap();
            table.retain(|key, _| !place.has(key)).unwrap();
            for (key, record) in &self.0 {
                table.insert(&key[..], &record.to_vec().unwrap()[..]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

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

#[test]
fn a_missing_index_is_found() {
    let (setup, _) = shop(Engine::ReplicaSet);
    block_on(async {
        let db = database_at(&setup).await;
        db.collection::<Document>("synclocalids").drop_index("clientId_1_localId_1").await.unwrap();
    });
    let told = run(on(Engine::ReplicaSet, &setup, &["check"])).expect_findings();
    assert!(told.contains("PROBLEM  synclocalids: the unique index"), "{told}");
    assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
}

#[test]
fn only_the_client_that_is_asked_for_is_checked() {
    let (setup, client) = shop(Engine::Embedded);
    let other = random_hex(12);
    seed(
        Engine::Embedded,
        &setup,
        &other,
        &[(Collection::Items, vec![doc! { "_id": ObjectId::new(), "revision": 9_i64 }])],
    );
    let of = |client: &str| run(on(Engine::Embedded, &setup, &["check", "--client", client]));
    of(&client).expect_ok();
    assert!(of(&other).expect_findings().contains(&format!("PROBLEM  client {other} items")));
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

/// The scenario fixtures: what was there, and what a phone sent.
fn scenarios() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    all.sort();
    let read = |path: &std::path::PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    all.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

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
