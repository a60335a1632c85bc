//! Records that nobody can read: they are told, and all that is beside them is checked.

use mongodb::bson::{Document, RawDocumentBuf, doc, oid::ObjectId, rawdoc};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::planting::{Held, Place, open};
use super::seeds::seed;
use super::shop;
use crate::harness::{Engine, block_on, database_at};

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
