//! What is MongoDB's alone: databases that other programs filled, indexes, and interrupted batches.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::{ClientOptions, IndexOptions};
use mongodb::{Database, IndexModel};
use serde_json::{Value, json};

use crate::behaviour::errors::assert_error;
use crate::harness::{Engine, Mongod, Phone, Request, Server, Setup, Topology, database, unique_name};

/// A database of its own, and how to start servers on it.
async fn new_database(topology: Topology) -> (Database, Setup) {
    let (mongod, name) = (Mongod::shared(topology), unique_name("mongo"));
    let db = database(mongod, &name).await;
    (db, Setup::at(mongod).database(name))
}

/// A shop as the Node backend leaves it: Mongoose's indexes and `__v`, whole numbers as int32, fields of
/// its own, no revisions.
async fn fill_as_node_does(db: &Database, client: ObjectId) -> [ObjectId; 2] {
    let (item, invoice, at) = (ObjectId::new(), ObjectId::new(), DateTime::from_millis(1_736_640_000_000));
    let stamps = doc! {"clientId": client, "createdAt": at, "updatedAt": at, "__v": 0};
    let with_stamps = |mut record: Document| {
        record.extend(stamps.clone());
        record
    };
    let tea = doc! {"_id": item, "name": "Tea", "price": 10, "stock": 5, "barcode": "890", "lowStockQuantity": 5};
    let open = doc! {
        "_id": invoice, "clientCustomerId": ObjectId::new(), "clientCustomerPhone": "9", "invoiceNumber": "INV-000001",
        "subtotal": 30, "totalAmount": 30, "paidAmount": 0.30000000000000004, "isFinalized": false, "generatedAt": at,
        "products": [{"_id": ObjectId::new(), "productId": item, "itemName": "Tea", "costPerUnit": 10, "quantity": 3}],
    };
    db.collection("items").insert_one(with_stamps(tea)).await.unwrap();
    db.collection("invoices").insert_one(with_stamps(open)).await.unwrap();
    for collection in ["items", "invoices", "payments"] {
        let index = IndexModel::builder().keys(doc! {"clientId": 1}).build();
        db.collection::<Document>(collection).create_index(index).await.unwrap();
    }
    [item, invoice]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_node_backend_is_used_as_it_is() {
    for topology in [Topology::ReplicaSet, Topology::Lone] {
        let (db, setup) = new_database(topology).await;
        let client = ObjectId::new();
        let [item, invoice] = fill_as_node_does(&db, client).await;
        let server = Server::start(&setup);
        let phone = Phone::of(&server, &client.to_hex());
        let sale = json!({
            "invoice": {"create": [{"products": [{"productId": item.to_hex(), "quantity": 2}]}]},
            "payment": {"create": [{"invoiceId": invoice.to_hex(), "amount": 29.7}]},
        });
        let answer = phone.sync(&sale).expect_ok();
        // In one second ids of two processes come in any order.
        let (old, new): (Vec<_>, Vec<_>) =
            answer["data"]["invoices"].as_array().unwrap().iter().partition(|known| known["_id"] == invoice.to_hex());
        let (old, new) = (old[0], new[0]);
        assert_eq!((&old["paidAmount"], &old["isFinalized"]), (&json!(30), &json!(true)));
        assert_eq!(new["invoiceNumber"], json!("INV-000002"), "the first number is taken");
        assert_eq!(answer["data"]["purchaseHistory"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&answer["data"]["items"][0]["stock"], &answer["data"]["items"][0]["dealerIds"]),
            (&json!(3), &json!([]))
        );

        let stored = db.collection::<Document>("items").find_one(doc! {"_id": item}).await.unwrap();
        let stored = stored.unwrap();
        let field = |name| stored.get(name).cloned().unwrap_or(Bson::Null);
        assert_eq!(field("barcode"), Bson::from("890"), "fields that this program does not know survive");
        assert_eq!((field("__v"), field("price")), (Bson::Int32(0), Bson::Int32(10)), "and what did not change too");
        assert_eq!((field("stock"), field("revision")), (Bson::Double(3.0), Bson::Int64(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_start_with_the_client() {
    let (db, setup) = new_database(Topology::ReplicaSet).await;
    let _server = Server::start(&setup);
    for collection in ["itemgroups", "items", "clientcustomers", "invoices", "payments", "purchasehistories"] {
        let keys = keys(&db, collection).await;
        assert!(keys.contains(&doc! {"clientId": 1, "_id": 1}), "{collection}");
        assert!(keys.contains(&doc! {"clientId": 1, "revision": 1}), "{collection}");
    }
    assert!(keys(&db, "invoices").await.contains(&doc! {"clientId": 1, "invoiceNumber": 1}));
    assert!(keys(&db, "purchasehistories").await.contains(&doc! {"clientId": 1, "invoiceId": 1}));
    assert!(keys(&db, "syncreceipts").await.contains(&doc! {"clientId": 1, "key": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_expire_as_configured() {
    let (db, setup) = new_database(Topology::Lone).await;
    for (days, expected) in [("400", Some(400 * 86_400)), ("7", Some(7 * 86_400)), ("0", None)] {
        let _server = Server::start(&setup.clone().env("RECEIPT_DAYS", days));
        let expiry = indexes(&db, "syncreceipts").await.into_iter().find_map(|index| index.options?.expire_after);
        assert_eq!(expiry.map(|expiry| expiry.as_secs()), expected, "RECEIPT_DAYS={days}");
    }
}

async fn indexes(db: &Database, collection: &str) -> Vec<IndexModel> {
    db.collection::<Document>(collection).list_indexes().await.unwrap().try_collect().await.unwrap()
}

async fn keys(db: &Database, collection: &str) -> Vec<Document> {
    indexes(db, collection).await.into_iter().map(|index| index.keys).collect()
}

/// What a server that died right after the commit point leaves on a lone mongod: the intent of a batch
/// that made one item, as the client's first revision.
async fn leave_an_intent(db: &Database, client: ObjectId) {
    let item = ObjectId::new();
    let at = DateTime::from_millis(1_736_640_000_000);
    let fields = doc! {
        "_id": item, "name": "Tea", "price": 1.0, "createdAt": at, "updatedAt": at, "clientId": client, "revision": 1i64,
    };
    let intent = doc! {
        "_id": {"clientId": client, "revision": 1i64}, "clientId": client, "nextInvoice": null, "receipt": null,
        "batch": ObjectId::new(), "parts": 0,
        "steps": [{"change": {"collection": "items", "id": item, "kind": "insert", "fields": fields}, "before": null}],
    };
    db.collection("syncintents").insert_one(intent).await.unwrap();
}

async fn intents(db: &Database) -> u64 {
    db.collection::<Document>("syncintents").count_documents(doc! {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_batch_is_finished_at_the_start() {
    let (db, setup) = new_database(Topology::Lone).await;
    leave_an_intent(&db, ObjectId::new()).await;
    let server = Server::start(&setup);
    server.wait_for_log(|line| line.contains("finished a batch that was interrupted"));
    assert_eq!(intents(&db).await, 0);
    assert_eq!(db.collection::<Document>("items").count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_batch_is_finished_by_the_next_batch_and_the_next_pull() {
    let (db, setup) = new_database(Topology::Lone).await;
    let server = Server::start(&setup);
    let more = json!({"item": {"create": [{"name": "Bun", "price": 2}]}});
    let ways: [&(dyn Fn(&Phone) -> Value + Sync); 2] =
        [&|phone| phone.sync(&more).expect_ok(), &|phone| phone.pull().expect_ok()];
    for (way, items) in ways.iter().zip([2, 1]) {
        let client = ObjectId::new();
        leave_an_intent(&db, client).await;
        let answer = way(&Phone::of(&server, &client.to_hex()));
        assert_eq!(answer["revision"], json!(items));
        assert_eq!(answer["data"]["items"].as_array().unwrap().len(), items);
        assert_eq!(intents(&db).await, 0);
    }
}

/// An index of another program may refuse what our rules allow. That batch fails, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_unique_index_stops_one_batch_and_no_client() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let (db, setup) = new_database(engine.topology().unwrap()).await;
        let unique = IndexModel::builder()
            .keys(doc! {"clientId": 1, "invoiceNumber": 1})
            .options(IndexOptions::builder().unique(true).build())
            .build();
        db.collection::<Document>("invoices").create_index(unique).await.unwrap();
        let server = Server::start(&setup);
        let phone = Phone::new(&server);
        let sale = json!({"invoice": {"create": [
            {"invoiceNumber": "A-1", "products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 1}]},
        ]}});
        phone.sync(&sale).expect_ok();
        let before = phone.pull().expect_ok();
        let refused = phone.sync(&sale).expect_error(422, "batch_rejected");
        let error = &refused["errors"][0];
        assert_eq!((&error["path"], &error["code"]), (&json!("/invoice/create/0"), &json!("refused_by_database")));
        assert_eq!(phone.pull().expect_ok(), before);
        assert_eq!(
            phone.sync(&json!({"item": {"create": [{"name": "Bun", "price": 2}]}})).expect_ok()["revision"],
            json!(2)
        );
    }
}

/// What this program cannot read is a bug, of which the outside hears no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_cannot_be_read_is_an_internal_error() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let (db, setup) = new_database(engine.topology().unwrap()).await;
        let server = Server::start(&setup);
        let phone = Phone::new(&server);
        let receipt = doc! {"clientId": ObjectId::parse_str(&phone.client).unwrap(), "key": "k"};
        db.collection("syncreceipts").insert_one(receipt).await.unwrap();
        let batch = json!({"item": {"create": [{"name": "Bun", "price": 2}]}});
        assert_error(&phone, Request::sync().header("X-Idempotency-Key", "k").json(&batch), "internal_error");
        assert_eq!(phone.pull().expect_ok()["revision"], json!(0));
    }
}

/// A server that is killed inside a transaction leaves it open, and with it the shop's counter, for up to
/// a minute. Another server must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_dead_server_left_does_not_hold_up_its_client() {
    let (mongod, name) = (Mongod::shared(Topology::ReplicaSet), unique_name("orphan"));
    let server = Server::start(&Setup::at(mongod).database(name.clone()));
    let phone = Phone::new(&server);
    phone.sync(&json!({"item": {"create": [{"name": "Tea", "price": 1}]}})).expect_ok();

    let mut options = ClientOptions::parse(mongod.url()).await.unwrap();
    options.app_name = Some("viveka-sync".into());
    let dead = mongodb::Client::with_options(options).unwrap();
    let mut session = dead.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let counter = doc! {"_id": ObjectId::parse_str(&phone.client).unwrap()};
    let clients = dead.database(&name).collection::<Document>("syncclients");
    clients.update_one(counter, doc! {"$inc": {"revision": 1}}).session(&mut session).await.unwrap();

    let asked = Instant::now();
    let answer = phone.sync(&json!({"item": {"create": [{"name": "Bun", "price": 1}]}})).expect_ok();
    assert_eq!(answer["revision"], json!(2));
    // Another server on this mongod may have been the one to end it.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(session);
}
