//! A store that goes away: down at the start, killed or stopped in the middle, another kind when it is back, a full
//! disk. The server says so, lets nobody wait, and comes back by itself.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::bson::oid::ObjectId;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Mongod, Phone, Request, Server, Setup, Topology, block_on, database, eventually, unique_name,
};

/// As long as phones wait; no answer may take longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// An answer of a server that knows that its store is away.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// How soon a server must have noticed that its store is back.
const BACK: Duration = Duration::from_secs(10);

#[test]
fn a_server_starts_before_its_database() {
    for topology in [Topology::ReplicaSet, Topology::Lone] {
        let mut mongod = Mongod::start(topology);
        let setup = Setup::at(&mongod);
        mongod.kill();
        let server = Server::start(&setup);
        assert_away(&server);
        assert_away(&server);
        mongod.restart();
        wait_until_back(&server, topology);
        assert_eq!(sell(&Phone::new(&server), "key").expect_ok()["revision"], json!(1));
        assert_sane_log(&server);
    }
}

#[test]
fn a_batch_that_was_interrupted_is_finished_before_the_first_one() {
    let mut mongod = Mongod::start(Topology::Lone);
    let (client, name) = (ObjectId::new(), unique_name("away"));
    leave_an_intent(&mongod, &name, client);
    mongod.kill();
    let server = Server::start(&Setup::at(&mongod).database(name));
    mongod.restart();
    wait_until_back(&server, Topology::Lone);
    let log = server.log();
    let line =
        |text: &str| log.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log:?}"));
    assert!(line("finished a batch that was interrupted") < line("the database is back"));
    assert_eq!(Phone::of(&server, &client.to_hex()).pull().expect_ok()["revision"], json!(1));
}

#[test]
fn a_replica_set_that_is_not_initiated_is_waited_for() {
    let mongod = Mongod::start_uninitiated(Topology::ReplicaSet);
    let setups = [mongod.url(), mongod.direct_url()].map(|url| Setup::at(&mongod).env("MONGO_URL", url));
    let servers = setups.each_ref().map(Server::start);
    servers.iter().for_each(assert_away);
    mongod.initiate();
    for server in &servers {
        // Not as a lone mongod, though one of the URLs leads to this very process.
        wait_until_back(server, Topology::ReplicaSet);
        sell(&Phone::new(server), "key").expect_ok();
    }
}

/// Credentials that nobody knows are an operator's mistake, whenever the database says so.
#[test]
fn what_cannot_come_right_stops_the_start_with_one_line() {
    let mut mongod = Mongod::start(Topology::ReplicaSet);
    let url = mongod.url().replace("mongodb://", "mongodb://shop:pass-and-secret@");
    let setup = Setup::at(&mongod).env("MONGO_URL", url);
    let refusal = Server::refused(&setup);
    assert!(refusal.contains("cannot use MONGO_URL") && refusal.contains("refused the login"), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");

    mongod.kill();
    let server = Server::start(&setup);
    mongod.restart();
    let log = server.expect_failure();
    assert!(log.contains("cannot use MONGO_URL") && !log.contains("and-secret"), "{log}");
    assert!(!refusal.contains("and-secret"), "{refusal}");
}

#[test]
fn a_database_that_is_killed_is_back_without_a_restart() {
    for topology in [Topology::ReplicaSet, Topology::Lone] {
        let mut mongod = Mongod::start(topology);
        let server = Server::start(&Setup::at(&mongod));
        let phone = Phone::new(&server);
        sell(&phone, "before").expect_ok();
        mongod.kill();
        assert_unavailable(&sell(&phone, "during"), "during");
        wait_until_away(&server);
        assert_away(&server);
        mongod.restart();
        wait_until_back(&server, topology);
        sell(&phone, "during").expect_ok();
        assert_eq!(phone.pull().expect_ok()["revision"], json!(2));
    }
}

/// Connections stay and nobody answers: no phone waits for longer than it would, and afterwards no connection
/// waits for an answer to a question that nobody asks any more.
#[test]
fn a_database_that_stops_answering_is_back_when_it_answers() {
    for topology in [Topology::ReplicaSet, Topology::Lone] {
        let mongod = Mongod::start(topology);
        let server = Server::start(&Setup::at(&mongod));
        let phones: Vec<_> = (0..12).map(|_| Phone::new(&server)).collect();
        for phone in &phones {
            sell(phone, "before").expect_ok();
        }
        mongod.pause();
        let slowest = at_once(&phones, |phone| {
            let (answer, took) = timed(|| sell(phone, "during"));
            assert_unavailable(&answer, "during");
            took
        });
        assert!(slowest.iter().all(|took| *took < LONGEST_ANSWER), "{slowest:?}");
        wait_until_away(&server);
        assert_away(&server);
        mongod.resume();
        wait_until_back(&server, topology);
        at_once(&phones, |phone| {
            sell_until_taken(phone, "during");
            let pull = phone.pull().expect_ok();
            assert_eq!((&pull["revision"], pull["data"]["items"].as_array().unwrap().len()), (&json!(2), 2));
        });
    }
}

/// What was found out about a deployment must not outlive an outage.
#[test]
fn a_lone_mongod_that_comes_back_as_a_replica_set_is_used_as_one_and_the_other_way_round() {
    let mut mongod = Mongod::start(Topology::Lone);
    let name = unique_name("kind");
    let server = Server::start(&Setup::at(&mongod).database(&name));
    let phone = Phone::new(&server);
    sell(&phone, "lone").expect_ok();
    let interrupted = ObjectId::new();
    leave_an_intent(&mongod, &name, interrupted);
    mongod.restart_as(Topology::ReplicaSet);
    mongod.initiate();
    mongod.wait_until_writable();
    sell_until_taken(&phone, "set");
    assert_used_as(&server, Topology::ReplicaSet);
    // What only a lone mongod needs is looked for all the same.
    assert_eq!(Phone::of(&server, &interrupted.to_hex()).pull().expect_ok()["revision"], json!(1));
    mongod.restart_as(Topology::Lone);
    mongod.wait_until_writable();
    sell_until_taken(&phone, "lone-again");
    assert_used_as(&server, Topology::Lone);
    let pull = phone.pull().expect_ok();
    assert_eq!((&pull["revision"], pull["data"]["items"].as_array().unwrap().len()), (&json!(3), 3));
}

#[test]
fn a_full_disk_is_told_and_done_with_when_there_is_room() {
    let setup = Setup::embedded();
    let mut server = Server::start(&setup);
    let phone = Phone::new(&server);
    sell(&phone, "before").expect_ok();
    let file = setup.directory().join("viveka-sync.redb");
    server.limit_files(Some(std::fs::metadata(file).unwrap().len()));

    let batch = |number: usize| json!({"item": {"create": vec![json!({"name": "Bun", "price": number}); 2000]}});
    let mut taken = 0;
    let refused = eventually("the disk is full", Duration::from_secs(60), || {
        let answer = phone.sync_with_key(&batch(taken), &format!("fill-{taken}"));
        if answer.status != 200 {
            return Some(answer);
        }
        taken += 1;
        None
    });
    assert_unavailable(&refused, "the batch that met the end of the disk");
    assert_away(&server);
    // Nothing half-written, and what is there can be read.
    let full = phone.pull().expect_ok();
    assert_eq!(full["revision"], json!(1 + taken));
    assert_eq!(full["data"]["items"].as_array().unwrap().len(), 1 + 2000 * taken);
    assert!(Server::refused(&setup).contains("in use by another process"), "the file stays locked");

    server.limit_files(None);
    eventually("health is back", BACK, || (health(&server).status == 200).then_some(()));
    phone.sync_with_key(&batch(taken), &format!("fill-{taken}")).expect_ok();
    // The receipts of before are there, too.
    assert!(sell(&phone, "before").header("Idempotency-Replayed").is_some());
    server.restart();
    let pull = Phone::of(&server, &phone.client).pull().expect_ok();
    assert_eq!(
        (&pull["revision"], pull["data"]["items"].as_array().unwrap().len()),
        (&json!(2 + taken), 1 + 2000 * (taken + 1))
    );
}

/// What a server that died in the middle of a batch leaves on a lone mongod: the batch made one item, as the
/// client's first revision.
fn leave_an_intent(mongod: &Mongod, name: &str, client: ObjectId) {
    let item = ObjectId::new();
    let fields = doc! {"_id": item, "name": "Tea", "price": 1.0, "clientId": client, "revision": 1i64};
    let change = doc! {"collection": "items", "id": item, "kind": "insert", "fields": fields};
    let intent = doc! {
        "_id": {"clientId": client, "revision": 1i64}, "clientId": client, "nextInvoice": null, "receipt": null,
        "batch": ObjectId::new(), "parts": 0, "steps": [{"change": change, "before": null}],
    };
    let insert = async { database(mongod, name).await.collection("syncintents").insert_one(intent).await };
    block_on(insert).unwrap();
}

/// An item that carries its key.
fn sell(phone: &Phone, key: &str) -> Answer {
    phone.sync_with_key(&json!({"item": {"create": [{"name": key, "price": 1}]}}), key)
}

fn sell_until_taken(phone: &Phone, key: &str) {
    eventually("a batch is taken", Duration::from_secs(30), || {
        let answer = sell(phone, key);
        assert!([200, 409, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.bytes));
        (answer.status == 200).then_some(())
    });
}

fn health(server: &Server) -> Answer {
    Phone::new(server).send(Request::new("GET", "/api/health").without_token())
}

/// Health and sync say so, at once.
fn assert_away(server: &Server) {
    let phone = Phone::new(server);
    for ask in [&(|| health(server)) as &dyn Fn() -> Answer, &|| sell(&phone, "key")] {
        let (answer, took) = timed(ask);
        assert_unavailable(&answer, "away");
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[track_caller]
fn assert_unavailable(answer: &Answer, when: &str) {
    let body = answer.expect_error(503, "store_unavailable");
    assert_eq!((&body["success"], &body["errors"]), (&json!(false), &json!([])), "{when}");
    assert!(answer.header("Retry-After").is_some(), "{when}");
}

fn wait_until_away(server: &Server) {
    eventually("the outage is known", BACK, || {
        let (answer, took) = timed(|| health(server));
        (answer.status == 503 && took < AT_ONCE).then_some(())
    });
}

fn wait_until_back(server: &Server, topology: Topology) {
    let transactional: Value = (topology == Topology::ReplicaSet).into();
    eventually("health is back", BACK, || {
        let answer = health(server);
        (answer.status == 200 && answer.json()["transactional"] == transactional).then_some(())
    });
}

/// A server that believes in something else would notice it now, and say that its store is away.
#[track_caller]
fn assert_used_as(server: &Server, topology: Topology) {
    assert_eq!(health(server).expect_ok()["transactional"], json!(topology == Topology::ReplicaSet));
}

/// One outage is one warning, and no error, whatever was asked meanwhile.
fn assert_sane_log(server: &Server) {
    let log = server.log();
    assert_eq!(log.iter().filter(|line| line.contains("the database is away")).count(), 1, "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

/// Each phone on a thread of its own.
fn at_once<T: Send>(phones: &[Phone], work: impl Fn(&Phone) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let working: Vec<_> = phones.iter().map(|phone| scope.spawn(|| work(phone))).collect();
        working.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
