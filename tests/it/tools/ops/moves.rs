//! A shop that moves from one engine to another is the same shop: to the byte, and for every retry.

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::seeds::seed;
use crate::harness::{Answer, Engine, Phone, Request, Server, Setup, block_on, database_at, random_hex};

#[test]
fn from_the_embedded_engine_to_a_replica_set_and_back() {
    there_and_back(Engine::Embedded, Engine::ReplicaSet, "bson");
}

#[test]
fn from_the_embedded_engine_to_a_lone_mongod_and_back_as_json() {
    there_and_back(Engine::Embedded, Engine::LoneMongod, "jsonl");
}

#[test]
fn from_a_lone_mongod_to_a_replica_set_and_back() {
    there_and_back(Engine::LoneMongod, Engine::ReplicaSet, "bson");
}

fn there_and_back(one: Engine, other: Engine, encoding: &str) {
    let shop = Shop::new();
    let first = Setup::on(one);
    shop.open(one, &first);
    let seen = shop.trade(&first);

    let second = Setup::on(other);
    let sums = move_all(one, &first, other, &second, encoding);
    let moved = shop.expect_the_same(&second, &seen);

    // And back, into a store of the first kind that has not seen it.
    let third = Setup::on(one);
    let back = move_all(other, &second, one, &third, encoding);
    for collection in ["itemgroups", "clientcustomers", "clients", "devicesessions"] {
        assert_eq!(back["clients"][0]["collections"][collection], sums["clients"][0]["collections"][collection]);
    }
    shop.expect_the_same(&third, &moved);
}

/// Exports from one store and imports into another, each twice: the second time changes nothing. Gives what the export
/// says.
fn move_all(from: Engine, source: &Setup, to: Engine, target: &Setup, encoding: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let archive = archive.to_str().unwrap();
    let export = || run(on(from, source, &["export", "--encoding", encoding, "--json", archive])).expect_json();
    let exported = export();
    assert_eq!(export(), exported);
    run(on(to, target, &["import", "--verify", archive])).expect_ok();
    let outcome = || run(on(to, target, &["import", "--json", archive])).expect_json()["clients"][0]["outcome"].clone();
    assert_eq!((outcome(), outcome()), (json!("imported"), json!("present")));
    assert!(run(on(to, target, &["check"])).expect_ok().contains(" 0 problems"));
    exported
}

/// A shop with everything that a store keeps.
struct Shop {
    client: String,
    group: ObjectId,
    customer: ObjectId,
}

/// What its phones know.
struct Seen {
    /// The bytes of `data` of a full answer.
    data: Vec<u8>,
    revision: Value,
    cursor: String,
    /// The answers that came of keys, as they were told.
    answers: Vec<Value>,
    next_number: String,
}

impl Shop {
    fn new() -> Self {
        let [group, customer] = std::array::from_fn(|_| ObjectId::new());
        Self { client: random_hex(12), group, customer }
    }

    /// What other services have put there: groups, customers, old records, fields that nobody knows here.
    fn open(&self, engine: Engine, setup: &Setup) {
        let strange = doc! { "deep": [1_i64, { "b": 2_i32, "a": mongodb::bson::Bson::Null }], "when": mongodb::bson::DateTime::now() };
        let group = doc! { "_id": self.group, "name": "Drinks", "__v": 0, "strange": strange };
        let customer = doc! { "_id": self.customer, "name": "Asha", "phoneNumber": "9800000001", "balance": 1.5 };
        let price: mongodb::bson::Decimal128 = "30.50".parse().unwrap();
        let item = doc! { "_id": ObjectId::new(), "name": "Milk", "price": price, "stock": 12_i64, "color": "white" };
        let records = [
            (Collection::ItemGroups, vec![group]),
            (Collection::ClientCustomers, vec![customer]),
            (Collection::Items, vec![item]),
        ];
        seed(engine, setup, &self.client, &records);
        if engine.topology().is_some() {
            let client = ObjectId::parse_str(&self.client).unwrap();
            block_on(async {
                let db = database_at(setup).await;
                let account = doc! { "_id": client, "name": "The shop", "isActive": true };
                let session = doc! { "_id": ObjectId::new(), "clientId": client, "device": "phone" };
                db.collection::<Document>("clients").insert_one(account).await.unwrap();
                db.collection::<Document>("devicesessions").insert_one(session).await.unwrap();
            });
        }
    }

    fn batches(&self) -> [(&'static str, Value); 2] {
        let (customer, group) = (self.customer.to_hex(), self.group.to_hex());
        let day = json!({
            "item": {"create": [
                {"_id": 1, "localId": "tea", "name": "Tea", "price": 12.5, "stock": 100, "groupId": group},
                {"_id": 2, "localId": "cup", "name": "Cup", "price": 0.3}]},
            "invoice": {"create": [
                {"_id": 1, "localId": "i-1", "products": [{"productId": 1, "quantity": 2}], "clientCustomerId": customer},
                {"_id": 2, "localId": "i-2", "products": [{"productId": 2, "quantity": 7}], "paidAmount": 0.1}]},
            "payment": {"create": [
                {"localId": "p-1", "invoiceId": 1, "amount": 25},
                {"localId": "p-2", "invoiceId": 2, "amount": 0.2}]}
        });
        let later = json!({"item": {"update": [{"_id": "tea", "price": 13}]}, "invoice": {"create": [
            {"localId": "i-3", "products": [{"productId": "tea", "quantity": 1}]}]}});
        [("day", day), ("later", later)]
    }

    fn trade(&self, setup: &Setup) -> Seen {
        let mut server = Server::start_ready(setup);
        let phone = Phone::of(&server, &self.client);
        let answers = self.batches().map(|(key, batch)| told(&phone.sync_with_key(&batch, key)));
        let seen = Seen::of(&phone, answers.to_vec(), "INV-000004");
        assert_eq!(server.terminate(), 0);
        seen
    }

    /// A server on this store serves the same shop, which goes on from there. Gives what is known then.
    fn expect_the_same(&self, setup: &Setup, seen: &Seen) -> Seen {
        let mut server = Server::start_ready(setup);
        let phone = Phone::of(&server, &self.client);
        let pull = phone.pull();
        let answer = pull.expect_ok();
        assert_eq!(String::from_utf8_lossy(&data_of(&pull)), String::from_utf8_lossy(&seen.data));
        assert_eq!(answer["revision"], seen.revision);

        for ((key, batch), told_then) in self.batches().iter().zip(&seen.answers) {
            let replay = phone.sync_with_key(batch, key);
            assert_eq!(replay.header("Idempotency-Replayed").as_deref(), Some("true"), "{key}");
            assert_eq!(told(&replay), *told_then, "{key}");
            // Packed anew without a key, each of its creates is known.
            let again = phone.sync(&json!({"item": {"create": batch["item"]["create"]}}));
            assert_eq!(again.expect_ok()["summary"]["itemsCreated"], json!(0));
        }
        let since = |cursor: &str| {
            let body = json!({"since": cursor});
            phone.send(Request::sync().json(&body)).expect_ok()
        };
        let old = since(&seen.cursor);
        assert_eq!(old["dataMode"], json!("full"), "{old}");
        assert_eq!(since(old["cursor"].as_str().unwrap())["dataMode"], json!("delta"));

        let invoice = json!({"invoice": {"create": [{"products": [{"productId": "tea", "quantity": 1}]}]}});
        let sold = phone
            .send(Request::sync().json(&json!({"invoice": invoice["invoice"], "since": old["cursor"]})))
            .expect_ok();
        assert_eq!(sold["dataMode"], json!("delta"));
        assert_eq!(sold["data"]["invoices"][0]["invoiceNumber"], json!(seen.next_number), "{sold}");
        assert_eq!(sold["data"]["invoices"].as_array().unwrap().len(), 1);
        let next = format!("INV-{:06}", seen.next_number[4..].parse::<u32>().unwrap() + 1);
        let now = Seen::of(&phone, seen.answers.clone(), &next);
        assert_eq!(server.terminate(), 0);
        now
    }
}

impl Seen {
    fn of(phone: &Phone, answers: Vec<Value>, next_number: &str) -> Self {
        let pull = phone.pull();
        let answer = pull.expect_ok();
        Self {
            data: data_of(&pull),
            revision: answer["revision"].clone(),
            cursor: answer["cursor"].as_str().unwrap().to_owned(),
            answers,
            next_number: next_number.to_owned(),
        }
    }
}

/// What an answer tells of its batch.
fn told(answer: &Answer) -> Value {
    let answer = answer.expect_ok();
    json!([answer["summary"], answer["synced"], answer["idMap"], answer["warnings"], answer["revision"]])
}

/// The bytes of `data`, which ends the body or stands before other members.
fn data_of(answer: &Answer) -> Vec<u8> {
    let start = answer.bytes.windows(8).position(|bytes| bytes == b"\"data\":{").expect("data");
    answer.bytes[start..].to_vec()
}
