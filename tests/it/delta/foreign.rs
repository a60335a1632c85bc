//! Other programs write to the six collections: their records and changes carry no `revision`, come with every full
//! answer while `SOLE_WRITER` is off, and break no delta.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::copy::{Copy, get, mode_of, pull_since, shown, since};
use crate::harness::{Engine, Mongod, Phone, Server, Setup, block_on, database};

/// Engines whose records other programs may write.
const SHARED: [Engine; 2] = [Engine::ReplicaSet, Engine::LoneMongod];

/// A shop of one item, and the database that it is in.
struct Shop {
    _server: Server,
    engine: Engine,
    database: String,
    phone: Phone,
    item: String,
}

impl Shop {
    fn open(engine: Engine) -> Self {
        let setup = Setup::on(engine);
        let server = Server::start_ready(&setup);
        let phone = Phone::new(&server);
        let answer = phone.sync(&json!({"item": {"create": [{"name": "Tea", "price": 10, "stock": 9}]}})).expect_ok();
        let item = answer["synced"]["itemsCreated"][0].as_str().unwrap().to_owned();
        Self { _server: server, engine, database: setup.database_name().to_owned(), phone, item }
    }

    /// What another program does to a collection.
    fn write(&self, collection: &str, change: &Foreign) {
        block_on(async {
            let db = database(Mongod::shared(self.engine.topology().unwrap()), &self.database).await;
            let collection = db.collection::<Document>(collection);
            match change {
                Foreign::Insert(record) => drop(collection.insert_one(record).await.unwrap()),
                Foreign::Set(id, fields) => {
                    let changed = collection.update_one(doc! {"_id": oid(id)}, doc! {"$set": fields}).await.unwrap();
                    assert_eq!(changed.matched_count, 1);
                }
                Foreign::Delete(id) => {
                    assert_eq!(collection.delete_one(doc! {"_id": oid(id)}).await.unwrap().deleted_count, 1);
                }
            }
        });
    }

    /// A record of this shop as another program makes it.
    fn record(&self, fields: Document) -> (String, Foreign) {
        let id = ObjectId::new();
        let mut record = doc! {"_id": id, "clientId": oid(&self.phone.client), "__v": 0};
        record.extend(fields);
        (id.to_hex(), Foreign::Insert(record))
    }
}

enum Foreign {
    Insert(Document),
    Set(String, Document),
    Delete(String),
}

fn oid(hex: &str) -> ObjectId {
    ObjectId::parse_str(hex).unwrap()
}

fn full(phone: &Phone) -> Value {
    phone.pull().expect_ok()["data"].clone()
}

#[test]
fn every_foreign_write_changes_the_etag_and_the_full_answer() {
    for engine in SHARED {
        let shop = Shop::open(engine);
        let phone = &shop.phone;
        let mut tag = phone.send(get(None)).header("ETag").unwrap();
        let mut step = |collection: &str, change: &Foreign, check: &dyn Fn(&Value) -> bool| {
            shop.write(collection, change);
            let answer = phone.send(get(None).header("If-None-Match", &tag));
            assert!(check(&answer.expect_ok()["data"]), "{engine:?} {collection}: {}", answer.json());
            let next = answer.header("ETag").unwrap();
            assert_ne!(tag, next, "{engine:?} {collection}");
            assert_eq!(phone.send(get(None).header("If-None-Match", &next)).status, 304);
            assert_eq!(answer.bytes, phone.pull().bytes);
            tag = next;
        };
        for (collection, list) in [
            ("items", "items"),
            ("itemgroups", "itemGroups"),
            ("clientcustomers", "clientCustomers"),
            ("invoices", "invoices"),
            ("payments", "payments"),
            ("purchasehistories", "purchaseHistory"),
        ] {
            let (id, insert) = shop.record(doc! {"name": "Foreign"});
            let shown = |data: &Value| data[list].as_array().unwrap().iter().any(|record| record["_id"] == id.as_str());
            step(collection, &insert, &shown);
            let change = Foreign::Set(id.clone(), doc! {"extra": "seen"});
            step(collection, &change, &|data| {
                data[list].as_array().unwrap().iter().any(|record| record["extra"] == "seen")
            });
            step(collection, &Foreign::Delete(id.clone()), &|data| !shown(data));
        }
        step("items", &Foreign::Set(shop.item.clone(), doc! {"price": 77.0}), &|data| data["items"][0]["price"] == 77);
    }
}

#[test]
fn foreign_records_come_with_full_answers_until_a_batch_touches_them() {
    for engine in SHARED {
        let shop = Shop::open(engine);
        let phone = &shop.phone;
        let mut copy = Copy::new();
        copy.take_in(&phone.pull().expect_ok()).unwrap();
        let (foreign, insert) = shop.record(doc! {"name": "Foreign", "price": 3.0, "stock": 5.0});
        shop.write("items", &insert);
        let (bill, insert) = shop.record(doc! {
            "clientCustomerId": ObjectId::new(), "totalAmount": 30.0, "paidAmount": 0.0, "isFinalized": false,
            "products": [], "invoiceNumber": "F-1",
        });
        shop.write("invoices", &insert);

        let answer = pull_since(phone, copy.cursor.as_ref().unwrap());
        assert_eq!((mode_of(&answer).as_str(), shown(&answer).len()), ("delta", 0), "{engine:?}");
        assert_eq!(full(phone)["items"].as_array().unwrap().len(), 2, "{engine:?}");

        let sale = json!({
            "invoice": {"create": [{"products": [{"productId": foreign, "quantity": 2}]}]},
            "payment": {"create": [{"invoiceId": bill, "amount": 30}]},
        });
        let answer = phone.sync(&since(&sale, copy.cursor.clone())).expect_ok();
        assert_eq!(mode_of(&answer), "delta");
        assert_eq!(shown(&answer)["items"], [foreign], "{engine:?}");
        assert!(shown(&answer)["invoices"].contains(&bill), "{engine:?}");
        assert_eq!(shown(&answer)["purchaseHistory"].len(), 1, "{engine:?}");
        copy.take_in(&answer).unwrap();
        assert_eq!(copy.data(), full(phone), "{engine:?}: nothing is left that only a full answer would show");
    }
}

#[test]
fn foreign_changes_and_deletions_break_no_delta() {
    for engine in SHARED {
        let shop = Shop::open(engine);
        let phone = &shop.phone;
        let mut copy = Copy::new();
        copy.take_in(&phone.pull().expect_ok()).unwrap();
        shop.write("items", &Foreign::Set(shop.item.clone(), doc! {"name": "Renamed elsewhere"}));
        let new = json!({"item": {"create": [{"name": "Bun", "price": 1}, {"name": "Jam", "price": 1}]}});
        let answer = phone.sync(&since(&new, copy.cursor.clone())).expect_ok();
        assert_eq!((mode_of(&answer).as_str(), shown(&answer)["items"].len()), ("delta", 2), "{engine:?}");
        copy.take_in(&answer).unwrap();
        assert_eq!(full(phone)["items"][0]["name"], json!("Renamed elsewhere"), "{engine:?}");

        // A batch that touches the record shows all of it.
        let change = json!({"item": {"update": [{"_id": shop.item, "price": 11}]}});
        copy.take_in(&phone.sync(&since(&change, copy.cursor.clone())).expect_ok()).unwrap();
        assert_eq!(copy.data(), full(phone), "{engine:?}");

        let gone = answer["synced"]["itemsCreated"][0].as_str().unwrap().to_owned();
        shop.write("items", &Foreign::Delete(gone.clone()));
        phone.sync(&json!({"item": {"update": [{"_id": gone, "price": 2}]}})).expect_error(422, "batch_rejected");
        let answer = pull_since(phone, copy.cursor.as_ref().unwrap());
        assert_eq!((mode_of(&answer).as_str(), shown(&answer).len()), ("delta", 0), "{engine:?}");
        assert_eq!(full(phone)["items"].as_array().unwrap().len(), 2, "{engine:?}");
        copy.take_in(&phone.pull().expect_ok()).unwrap();
        assert_eq!(copy.data(), full(phone), "{engine:?}");
    }
}

/// Also where there is room to keep datasets.
#[test]
fn what_others_write_is_shown_at_once() {
    for engine in SHARED {
        let setup = Setup::on(engine).env("DATASET_CACHE_BYTES", (64 << 20).to_string()).env("SOLE_WRITER", "false");
        let server = Server::start_ready(&setup);
        let phone = Phone::new(&server);
        phone.sync(&json!({"item": {"create": [{"name": "Tea", "price": 10}]}})).expect_ok();
        phone.pull().expect_ok();
        block_on(async {
            let db = database(Mongod::shared(engine.topology().unwrap()), setup.database_name()).await;
            let items = db.collection::<Document>("items");
            items.update_many(doc! {}, doc! {"$set": {"name": "Renamed"}}).await.unwrap();
        });
        assert_eq!(full(&phone)["items"][0]["name"], json!("Renamed"), "{engine:?}");
        let answer = phone.sync(&json!({"item": {"create": [{"name": "Bun", "price": 10}]}})).expect_ok();
        assert_eq!(answer["data"]["items"][0]["name"], json!("Renamed"), "{engine:?}");
    }
}
