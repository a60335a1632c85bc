//! `viveka-sync check` is silent on what this program wrote, and finds each fault that was planted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, bson, doc, oid::ObjectId, rawdoc};
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

fn receipt(stored: &mut Document) -> &mut Document {
    stored.get_document_mut("receipt").unwrap()
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
        said: "its revision is 1, and 3 records are of later commits, up to 2",
    },
    Fault {
        what: "an invoice number below the first",
        place: Place::Counters,
        edit: |counters| set(counters, doc! {"nextInvoice": 0_i64}),
        severity: "problem",
        said: "its next invoice would be number 0",
    },
    Fault {
        what: "the client's counters are gone",
        place: Place::Counters,
        edit: |_| Fate::Remove,
        severity: "problem",
        said: "of commits up to 2",
    },
    Fault {
        what: "a receipt whose lists are a text",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"synced": "all"}),
        severity: "problem",
        said: "its synced cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt one of whose ids is a text",
        place: Place::Receipts,
        edit: |stored| {
            let synced = receipt(stored).get_document_mut("synced").unwrap();
            set(synced, doc! {"itemsUpdated": ["64b0000000000000000000c1x"]})
        },
        severity: "problem",
        said: "its synced cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt without a summary",
        place: Place::Receipts,
        edit: |stored| {
            receipt(stored).remove("summary");
            Fate::Replace
        },
        severity: "problem",
        said: "its summary cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose ids are a list",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"idMap": {"items": 7, "invoices": [], "payments": []}}),
        severity: "problem",
        said: "its idMap cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose ids name a record that is not there",
        place: Place::Receipts,
        edit: |stored| {
            let pair = bson!(["1", ObjectId::from_bytes([9; 12])]);
            set(receipt(stored).get_document_mut("idMap").unwrap(), doc! {"items": [pair]})
        },
        severity: "problem",
        said: "it tells of 090909090909090909090909 of items, which is not there",
    },
    Fault {
        what: "a receipt whose warnings are a text",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"warnings": "none"}),
        severity: "problem",
        said: "its warnings cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose fingerprint is a number",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"fingerprint": 7}),
        severity: "problem",
        said: "its fingerprint cannot be read",
    },
    Fault {
        what: "a receipt whose fingerprint is none",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"fingerprint": "0123"}),
        severity: "problem",
        said: "its fingerprint is none",
    },
    Fault {
        what: "a receipt that does not say when it was made",
        place: Place::Receipts,
        edit: |stored| {
            stored.remove("createdAt");
            Fate::Replace
        },
        severity: "problem",
        said: "its createdAt cannot be read",
    },
    Fault {
        what: "a receipt that says it in words",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"createdAt": "2025-01-12T00:00:00.000Z"}),
        severity: "problem",
        said: "its createdAt",
    },
    Fault {
        what: "two receipts of one commit",
        place: Place::Receipts,
        edit: |stored| match stored.get_str("key") {
            Ok("second") => set(receipt(stored), doc! {"revision": 1_i64}),
            _ => Fate::Skip,
        },
        severity: "problem",
        said: "it says that its batch took the revision 1, and so does that of \"first\"",
    },
    Fault {
        what: "a record that lost its revision",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("revision");
            Fate::Replace
        },
        severity: "problem",
        said: "which carries no revision",
    },
    Fault {
        what: "a record that lost its local id",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("localId");
            Fate::Replace
        },
        severity: "problem",
        said: "which has no localId",
    },
    Fault {
        what: "a local id whose content is a number",
        place: Place::LocalIds,
        edit: |local| set(local, doc! {"content": 7}),
        severity: "problem",
        said: "it does not say what it stands for",
    },
    Fault {
        what: "an invoice that sells a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"products": "tea"}),
        severity: "problem",
        said: "its products is no list, or an empty one",
    },
    Fault {
        what: "an invoice that sells nothing",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"products": []}),
        severity: "problem",
        said: "its products is no list, or an empty one",
    },
    Fault {
        what: "a line of less than nothing",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            let line = invoice.get_array_mut("products").unwrap()[0].as_document_mut();
            set(line.unwrap(), doc! {"quantity": -2.0})
        },
        severity: "problem",
        said: "in its line 0 the quantity is -2",
    },
    Fault {
        what: "an invoice without a number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            invoice.remove("invoiceNumber");
            Fate::Replace
        },
        severity: "problem",
        said: "its invoiceNumber is missing",
    },
    Fault {
        what: "an invoice whose number is no text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"invoiceNumber": 7}),
        severity: "problem",
        said: "its invoiceNumber is no text",
    },
    Fault {
        what: "an invoice whose date is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"invoiceDate": "2025-01-12"}),
        severity: "problem",
        said: "its invoiceDate is no date",
    },
    Fault {
        what: "an invoice that is perhaps finalised",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"isFinalized": "no"}),
        severity: "problem",
        said: "its isFinalized is neither true nor false",
    },
    Fault {
        what: "an item without a name",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("name");
            Fate::Replace
        },
        severity: "problem",
        said: "its name is missing",
    },
    Fault {
        what: "an item that is perhaps there",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"isActive": 1}),
        severity: "problem",
        said: "its isActive is neither true nor false",
    },
    Fault {
        what: "a payment whose date is a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"paidAt": "today"}),
        severity: "problem",
        said: "its paidAt is no date",
    },
    Fault {
        what: "a payment on a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"invoiceId": "first"}),
        severity: "problem",
        said: "it is paid on the invoice \"first\", which is a text and no id",
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
            table.retain(|_, _| false).unwrap();
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

/// Counters that no arithmetic of the database can raise; the file's have a type.
#[test]
fn counters_that_cannot_be_raised_are_one_problem() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let (setup, _) = shop(engine);
        let sound = Held::take(engine, &setup, Place::Counters);
        let faults = [
            (doc! {"nextInvoice": "4"}, "its nextInvoice is no whole number, so no batch is committed"),
            (doc! {"revision": "2"}, "its revision is no whole number, so no batch is committed; 14 records are"),
            (doc! {"revision": 2.5}, "its revision is no whole number"),
            (doc! {"lineage": 7}, "its lineage cannot be read"),
        ];
        for (fields, said) in faults {
            let mut unfit = sound.clone();
            unfit.0.values_mut().for_each(|counters| counters.extend(fields.clone()));
            unfit.put(engine, &setup, Place::Counters);
            let told = run(on(engine, &setup, &["check"])).expect_findings();
            assert!(told.contains(said), "{told}");
            assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
        }
    }
}

#[test]
fn one_cause_is_told_once() {
    for engine in [Engine::Embedded, Engine::ReplicaSet] {
        let (setup, client) = shop(engine);
        let sound = Held::take(engine, &setup, Place::Counters);
        let mut set_back = sound.clone();
        set_back.0.values_mut().for_each(|counters| drop(counters.insert("revision", 0_i64)));
        let faults = [
            (Held(BTreeMap::new()), "it is missing, and 14 records are of commits up to 2"),
            (set_back, "its revision is 0, and 14 records are of later commits, up to 2"),
        ];
        for (counters, said) in faults {
            counters.put(engine, &setup, Place::Counters);
            let told = run(on(engine, &setup, &["check"])).expect_findings();
            assert!(told.contains(&format!("PROBLEM  client {client} syncclients: {said}")), "{told}");
            assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
            assert!(told.contains("1 client, ") && told.contains(": 1 problem, "), "{told}");
        }
    }
}

#[test]
fn of_many_that_are_alike_some_are_told() {
    let (setup, _) = shop(Engine::Embedded);
    let place = Place::Data(Collection::Items);
    let mut items = Held::take(Engine::Embedded, &setup, place);
    let (key, item) = items.0.iter().next().map(|(key, item)| (key.clone(), item.clone())).unwrap();
    for number in 0..25_u8 {
        let (mut key, mut item) = (key.clone(), item.clone());
        let id = ObjectId::from_bytes([number; 12]);
        key[13..].copy_from_slice(&id.bytes());
        item.extend(doc! {"_id": id, "stock": -1.0 - f64::from(number)});
        items.0.insert(key, item);
    }
    items.put(Engine::Embedded, &setup, place);
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
    assert_eq!(told.matches("its stock is -").count(), 20, "{told}");
    assert!(told.contains(" items: and 5 more of this kind\n"), "{told}");
    let all = findings(&check(Engine::Embedded, &setup));
    let stocks = all.iter().filter(|finding| finding["why"].as_str().unwrap().starts_with("its stock is -"));
    assert_eq!(stocks.count(), 25);
}

/// Of the shops beside it all is told.
#[test]
fn a_record_that_is_no_bson_is_told_and_the_others_are_checked() {
    let (setup, client) = shop(Engine::Embedded);
    let other = "ffffffffffffffffffffffff";
    let faulty = vec![doc! { "_id": ObjectId::new(), "revision": 9_i64 }];
    seed(Engine::Embedded, &setup, other, &[(Collection::Items, faulty)]);
    for place in [Place::Data(Collection::Items), Place::Data(Collection::Invoices), Place::Receipts, Place::LocalIds] {
        let held = Held::take(Engine::Embedded, &setup, place);
        let client_key = ObjectId::parse_str(&client).unwrap().bytes();
        let key = held.0.keys().find(|key| key.starts_with(&client_key)).unwrap();
        let database = open(&setup);
        let transaction = database.begin_write().unwrap();
        transaction.open_table(place.table()).unwrap().insert(&key[..], &b"no bson"[..]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
        let id = match key.len() {
            25 => ObjectId::from_bytes(key[13..].try_into().unwrap()).to_hex(),
            _ => String::from_utf8(key[12..].to_vec()).unwrap(),
        };
        let said = format!("PROBLEM  client {client} {} {id}: it cannot be decoded", place.collection());
        assert!(told.contains(&said), "{told}");
        assert!(told.contains(&format!("PROBLEM  client {other} syncclients: it is missing")), "{told}");
        held.put(Engine::Embedded, &setup, place);
    }
}

#[test]
fn a_record_with_a_text_that_is_none_is_told_and_the_others_are_checked() {
    let (setup, client) = shop(Engine::ReplicaSet);
    let id = ObjectId::parse_str(&client).unwrap();
    let spoilt = |record: RawDocumentBuf| {
        let mut bytes = record.into_bytes();
        let at = bytes.windows(5).position(|part| part == b"spoil").unwrap();
        bytes[at] = 0xff;
        RawDocumentBuf::from_bytes(bytes).unwrap()
    };
    let item = ObjectId::new();
    block_on(async {
        let db = database_at(&setup).await;
        let record = spoilt(rawdoc! { "_id": item, "clientId": id, "name": "spoil" });
        db.collection::<RawDocumentBuf>("items").insert_one(record).await.unwrap();
        let record = spoilt(
            rawdoc! { "_id": {"clientId": id, "key": "bad"}, "clientId": id, "key": "bad", "fingerprint": "spoil" },
        );
        db.collection::<RawDocumentBuf>("syncreceipts").insert_one(record).await.unwrap();
    });
    let told = run(on(Engine::ReplicaSet, &setup, &["check"])).expect_findings();
    assert!(told.contains(&format!("PROBLEM  client {client} items {item}: it cannot be decoded")), "{told}");
    assert!(told.contains(&format!("PROBLEM  client {client} syncreceipts bad: it cannot be decoded")), "{told}");
    assert_eq!(told.matches("PROBLEM").count(), 2, "{told}");
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
fn receipts_that_do_not_expire_as_they_are_to_are_found() {
    let (setup, _) = shop(Engine::ReplicaSet);
    let index = |seconds: i64| doc! { "collMod": "syncreceipts", "index": {"keyPattern": {"createdAt": 1}, "expireAfterSeconds": seconds} };
    let told = || run(on(Engine::ReplicaSet, &setup, &["check"])).expect_findings();
    block_on(async { database_at(&setup).await.run_command(index(60)).await.unwrap() });
    let other = told();
    assert!(
        other.contains("PROBLEM  syncreceipts: receipts expire after 60 seconds by the index createdAt_1"),
        "{other}"
    );
    block_on(async {
        let receipts = database_at(&setup).await.collection::<Document>("syncreceipts");
        receipts.drop_index("createdAt_1").await.unwrap();
    });
    let missing = told();
    assert!(missing.contains("PROBLEM  syncreceipts: the index on createdAt is missing"), "{missing}");
    assert_eq!(missing.matches("PROBLEM").count(), 1, "{missing}");
    run(on(Engine::ReplicaSet, &setup, &["check", "--receipt-days", "0"])).expect_ok();
}

#[test]
fn an_intent_that_cannot_be_read_is_found() {
    let (setup, client) = shop(Engine::LoneMongod);
    let id = ObjectId::parse_str(&client).unwrap();
    let heads = [
        doc! { "_id": {"clientId": id, "revision": 3_i64}, "clientId": id, "steps": 7 },
        doc! { "_id": {"batch": ObjectId::new(), "part": 0}, "steps": "none" },
    ];
    block_on(async {
        database_at(&setup).await.collection::<Document>("syncintents").insert_many(heads).await.unwrap();
    });
    let told = run(on(Engine::LoneMongod, &setup, &["check"])).expect_findings();
    assert!(
        told.contains(&format!("PROBLEM  client {client} syncintents 3: a batch that is decided cannot be read")),
        "{told}"
    );
    assert_eq!(told.matches("PROBLEM").count(), 2, "{told}");
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
