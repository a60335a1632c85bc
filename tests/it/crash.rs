//! kill -9, of the server and of the database, under load: nothing that was acknowledged is lost, and
//! nothing is doubled or half there once every phone has retried.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use mongodb::bson::doc;
use serde_json::{Value, json};

use crate::harness::{Engine, Mongod, Phone, Request, Server, Setup, Topology, block_on, database};

const CLIENTS: usize = 3;
const PHONES_PER_CLIENT: usize = 2;
const BATCHES_PER_PHONE: usize = 12;
const KILLS: usize = 3;

#[test]
fn killing_the_server_on_the_embedded_engine() {
    survive_server_kills(&Setup::on(Engine::Embedded));
}

#[test]
fn killing_the_server_on_a_replica_set() {
    let mongod = Mongod::start(Topology::ReplicaSet);
    end_orphaned_transactions_soon(&mongod);
    survive_server_kills(&Setup::at(&mongod));
}

#[test]
fn killing_the_server_on_a_lone_mongod() {
    survive_server_kills(&Setup::on(Engine::LoneMongod));
}

#[test]
fn killing_a_replica_set_member() {
    survive_database_kills(Mongod::start(Topology::ReplicaSet));
}

#[test]
fn killing_a_lone_mongod() {
    survive_database_kills(Mongod::start(Topology::Lone));
}

#[test]
fn a_stop_lets_batches_in_flight_finish() {
    let setup = Setup::on(Engine::Embedded);
    let mut server = Server::start(&setup);
    let phone = Phone::new(&server);
    let batch = json!({"item": {"create": vec![json!({"name": "Tea", "price": 1}); 5000]}});
    let answer = std::thread::scope(|scope| {
        let sent = scope.spawn(|| phone.try_send(Request::sync().header("X-Idempotency-Key", "k").json(&batch)));
        assert_eq!(server.terminate(), 0);
        sent.join().unwrap()
    });
    server.restart();
    let phone = Phone::of(&server, &phone.client);
    let stored = phone.pull().expect_ok()["data"]["items"].as_array().unwrap().len();
    match answer {
        Ok(answer) if answer.status == 503 => assert_eq!(stored, 0, "it was refused"),
        Ok(answer) => assert_eq!((answer.expect_ok()["revision"].as_i64(), stored), (Some(1), 5000)),
        // The stop came first: the batch was refused as a whole.
        Err(_) => assert!(stored == 0 || stored == 5000, "{stored} items of a batch of 5000"),
    }
}

/// A server that dies inside a transaction leaves it open; the database ends it after this time.
fn end_orphaned_transactions_soon(mongod: &Mongod) {
    let command = doc! {"setParameter": 1, "transactionLifetimeLimitSeconds": 2};
    block_on(async { database(mongod, "admin").await.run_command(command).await }).unwrap();
}

fn survive_server_kills(setup: &Setup) {
    let server = Mutex::new(Server::start(setup));
    let clients = new_clients(&server);
    let (acknowledged, acks) = channel();
    std::thread::scope(|scope| {
        sell(scope, &server, &clients, acknowledged);
        for _ in 0..KILLS {
            wait_for_acks(&acks);
            let mut server = server.lock().unwrap();
            server.kill();
            server.restart();
        }
    });
    audit(&server, &clients);
}

fn survive_database_kills(mut mongod: Mongod) {
    let server = Mutex::new(Server::start(&Setup::at(&mongod)));
    let clients = new_clients(&server);
    let (acknowledged, acks) = channel();
    std::thread::scope(|scope| {
        sell(scope, &server, &clients, acknowledged);
        for _ in 0..KILLS {
            wait_for_acks(&acks);
            mongod.kill();
            mongod.restart();
        }
    });
    audit(&server, &clients);
}

/// A client and the item that its phones sell.
struct Client {
    id: String,
    item: String,
}

fn new_clients(server: &Mutex<Server>) -> Vec<Client> {
    let new_client = |_| {
        let phone = Phone::new(&server.lock().unwrap());
        let made = phone.sync(&json!({"item": {"create": [{"name": "Tea", "price": 10, "stock": 1000}]}})).expect_ok();
        Client { id: phone.client, item: made["synced"]["itemsCreated"][0].as_str().unwrap().to_owned() }
    };
    (0..CLIENTS).map(new_client).collect()
}

/// Starts the phones. Each sends its queue, and each batch until it is acknowledged.
fn sell<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    server: &'scope Mutex<Server>,
    clients: &'scope [Client],
    acknowledged: Sender<()>,
) {
    for client in clients {
        for phone in 0..PHONES_PER_CLIENT {
            let acknowledged = acknowledged.clone();
            scope.spawn(move || {
                for number in 0..BATCHES_PER_PHONE {
                    send_until_acknowledged(server, client, &format!("phone-{phone}-batch-{number}"));
                    // Nobody listens any more once the last kill is done.
                    let _ = acknowledged.send(());
                }
            });
        }
    }
}

fn send_until_acknowledged(server: &Mutex<Server>, client: &Client, key: &str) {
    loop {
        // While a server is started anew, phones wait here.
        let phone = Phone::of(&server.lock().unwrap(), &client.id);
        let request = Request::sync().header("X-Idempotency-Key", key).json(&batch(&client.item, key));
        match phone.try_send(request) {
            Ok(answer) if answer.status == 200 => return,
            Ok(answer) => assert!([409, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.bytes)),
            Err(_) => {}
        }
    }
}

/// One sale, one new item and one payment, all of which carry the batch's key.
fn batch(item: &str, key: &str) -> Value {
    json!({
        "item": {"create": [{"name": key, "price": 1}]},
        "invoice": {"create": [{"_id": 1, "notes": key, "products": [{"productId": item, "quantity": 1}]}]},
        "payment": {"create": [{"invoiceId": 1, "amount": 10, "note": key}]},
    })
}

/// Waits until phones are in the middle of their queues.
fn wait_for_acks(acks: &Receiver<()>) {
    let between_kills = CLIENTS * PHONES_PER_CLIENT * BATCHES_PER_PHONE / (KILLS + 1);
    for _ in 0..between_kills {
        acks.recv().expect("phones have more to send");
    }
}

/// Every batch of every phone is there, whole and once.
fn audit(server: &Mutex<Server>, clients: &[Client]) {
    let batches = PHONES_PER_CLIENT * BATCHES_PER_PHONE;
    for client in clients {
        let answer = Phone::of(&server.lock().unwrap(), &client.id).pull().expect_ok();
        let data = &answer["data"];
        assert_eq!(answer["revision"], json!(1 + batches), "one revision for each batch and the first");
        let sold = data["items"].as_array().unwrap().iter().find(|item| item["_id"] == client.item.as_str());
        assert_eq!(sold.unwrap()["stock"], json!(1000 - batches));
        for (list, field, others) in [("items", "name", 1), ("invoices", "notes", 0), ("payments", "note", 0)] {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for record in data[list].as_array().unwrap() {
                *counts.entry(record[field].as_str().unwrap()).or_default() += 1;
            }
            assert_eq!(counts.len(), batches + others, "{list}: {counts:?}");
            assert!(counts.values().all(|count| *count == 1), "{list}: {counts:?}");
        }
        assert!(data["invoices"].as_array().unwrap().iter().all(|invoice| invoice["isFinalized"] == json!(true)));
    }
}
