//! A server that dies, or stops, in the middle of a MongoDB transaction: its shop does not wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::harness::{Mongod, Phone, Request, Server, Setup, Topology, block_on, database, eventually};

/// How soon the shop's retry must be answered.
const ANSWERED: Duration = Duration::from_secs(5);
/// How many devices each shop has that send at once.
const DEVICES: usize = 8;

#[test]
fn a_server_that_was_killed_in_a_transaction_takes_the_retry_when_it_is_back() {
    let mongod = Mongod::start(Topology::ReplicaSet);
    let setup = Setup::at(&mongod);
    let mut server = Server::start(&setup);
    let shop = Phone::new(&server).client;
    let sent = caught_in_transactions(&mongod, &server, &setup, &[&shop], || server.kill())[0];
    server.restart();
    let phone = Phone::of(&server, &shop);
    retry(&phone, sent - 1);
    retry_all(&phone, sent);
    audit(&phone, sent);
}

/// Other shops' batches go on meanwhile, and however many retries there are, few searches are made.
#[test]
fn another_server_takes_a_storm_of_retries_of_what_a_dead_one_left() {
    let mongod = Mongod::start(Topology::ReplicaSet);
    let setup = Setup::at(&mongod).env("LOG", "info,viveka_sync::store=debug");
    let (dead, alive) = (Server::start(&setup), Server::start(&setup));
    let shops: [_; 4] = std::array::from_fn(|_| Phone::new(&dead).client);
    let sent = caught_in_transactions(&mongod, &dead, &setup, &shops.each_ref().map(String::as_str), || dead.kill());

    let retried = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (alive, shops, sent, retried) = (&alive, &shops, &sent, &retried);
        let others: Vec<_> = (0..2).map(|_| scope.spawn(|| sell_until(Phone::new(alive), retried))).collect();
        // Of each shop the batch that was under way, and new ones from its other devices.
        let retries: Vec<_> = (0..shops.len() * DEVICES)
            .map(|retry| (retry % shops.len(), retry / shops.len()))
            .map(|(shop, device)| scope.spawn(move || retry(&Phone::of(alive, &shops[shop]), sent[shop] - 1 + device)))
            .collect();
        let raised = Raised(retried);
        retries.into_iter().for_each(|retry| retry.join().unwrap());
        drop(raised);
        for other in others {
            let (phone, sold) = other.join().unwrap();
            audit(&phone, sold);
        }
    });
    for (shop, sent) in shops.iter().zip(sent) {
        let (phone, sent) = (Phone::of(&alive, shop), sent - 1 + DEVICES);
        retry_all(&phone, sent);
        audit(&phone, sent);
    }

    let lines = |text: &str| alive.log().iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines("ended transactions that a dead process had left open"), 1);
    let searches = lines("looking for orphaned transactions");
    assert!((1..=4).contains(&searches), "{searches} searches");
}

/// Who only sleeps is taken for dead. That does no harm: its transaction is gone, and it runs again.
#[test]
fn a_transaction_of_a_server_that_only_sleeps_can_be_ended() {
    let mongod = Mongod::start(Topology::ReplicaSet);
    let setup = Setup::at(&mongod);
    let (sleeper, awake) = (Server::start(&setup), Server::start(&setup));
    let shop = Phone::new(&sleeper).client;
    let phone = Phone::of(&awake, &shop);
    let sent = caught_in_transactions(&mongod, &sleeper, &setup, &[&shop], || {
        let mine = json!({"item": {"create": [{"name": "mine", "price": 1}]}});
        let (answer, took) = timed(|| phone.sync_with_key(&mine, "mine"));
        answer.expect_ok();
        assert!(took < ANSWERED, "{took:?}");
        awake.wait_for_log(|line| line.contains("ended transactions that a dead process had left open"));
        sleeper.resume();
    })[0];
    retry_all(&Phone::of(&sleeper, &shop), sent);
    audit(&Phone::of(&sleeper, &shop), sent);
}

/// Sends batches of shops until the server, stopped at any moment, has left a transaction open that holds a shop; then
/// does what `then` says, which must kill or resume it. Gives how many batches each shop sent, answered or not.
fn caught_in_transactions(
    mongod: &Mongod,
    server: &Server,
    setup: &Setup,
    shops: &[&str],
    then: impl FnOnce(),
) -> Vec<usize> {
    let caught = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let selling: Vec<_> = shops.iter().map(|shop| scope.spawn(|| send_until(server, shop, &caught))).collect();
        let raised = Raised(&caught);
        eventually("a server stopped in its transactions", Duration::from_secs(60), || {
            server.pause();
            // Twice, for the first look may come before a commit that was sent already.
            if (0..2).all(|_| held(mongod, setup, shops) >= 1) {
                return Some(());
            }
            server.resume();
            None
        });
        drop(raised);
        then();
        selling.into_iter().map(|selling| selling.join().unwrap()).collect()
    })
}

/// A flag that is raised in any case, also by a failure: who goes on until then must not go on for ever.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn send_until(server: &Server, shop: &str, stop: &AtomicBool) -> usize {
    let (phone, mut sent) = (Phone::of(server, shop), 0);
    while !stop.load(Ordering::Relaxed) {
        let answer = phone.try_send(request(sent));
        sent += 1;
        // A server that was killed gives no answer.
        let Ok(answer) = answer else { break };
        assert!([200, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.bytes));
    }
    sent
}

/// How many of the shops cannot be written, because an open transaction has.
fn held(mongod: &Mongod, setup: &Setup, shops: &[&str]) -> usize {
    block_on(async {
        let db = database(mongod, setup.database_name()).await;
        let clients = db.collection::<Document>("syncclients");
        let mut session = db.client().start_session().await.unwrap();
        let mut held = 0;
        for shop in shops {
            session.start_transaction().await.unwrap();
            let counter = doc! {"_id": ObjectId::parse_str(shop).unwrap()};
            let probe = clients.update_one(counter, doc! {"$set": {"probe": true}}).session(&mut session).await;
            held += usize::from(probe.is_err());
            session.abort_transaction().await.unwrap();
        }
        held
    })
}

/// Batch number so many of a shop.
fn batch(number: usize) -> Value {
    let name = format!("batch-{number}");
    json!({
        "item": {"create": [{"_id": 1, "name": name, "price": 1, "stock": 10}]},
        "invoice": {"create": [{"_id": 1, "products": [{"productId": 1, "quantity": 1}]}]},
        "payment": {"create": [{"invoiceId": 1, "amount": 1, "note": name}]},
    })
}

fn request(number: usize) -> Request {
    Request::sync().header("X-Idempotency-Key", &format!("batch-{number}")).json(&batch(number))
}

/// One retry, which is taken soon.
fn retry(phone: &Phone, number: usize) {
    let (answer, took) = timed(|| phone.send(request(number)));
    answer.expect_ok();
    assert!(took < ANSWERED, "{took:?}");
}

fn retry_all(phone: &Phone, sent: usize) {
    (0..sent).for_each(|number| drop(phone.send(request(number)).expect_ok()));
}

fn sell_until(phone: Phone, stop: &AtomicBool) -> (Phone, usize) {
    let mut sold = 0;
    while !stop.load(Ordering::Relaxed) {
        phone.send(request(sold)).expect_ok();
        sold += 1;
    }
    (phone, sold)
}

/// Every batch is there once.
fn audit(phone: &Phone, sent: usize) {
    let answer = phone.pull().expect_ok();
    let mut names: Vec<_> =
        answer["data"]["payments"].as_array().unwrap().iter().map(|p| p["note"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut expected: Vec<_> = (0..sent).map(|number| format!("batch-{number}")).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(answer["data"]["invoices"].as_array().unwrap().len(), sent);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}
