//! More than the server can do: whoever is refused hears so at once and has had nothing applied, the others
//! go on, and all come through in the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Answer, Connection, Engine, Phone, Request, Server, Setup, eventually};

#[test]
fn a_storm_on_the_embedded_engine_lets_others_through() {
    let_others_through(Engine::Embedded);
}

#[test]
fn a_storm_on_a_replica_set_lets_others_through() {
    let_others_through(Engine::ReplicaSet);
}

#[test]
fn a_storm_on_a_lone_mongod_lets_others_through() {
    let_others_through(Engine::LoneMongod);
}

#[test]
fn a_refused_storm_on_the_embedded_engine_is_applied_once_in_the_end() {
    apply_once_in_the_end(Engine::Embedded);
}

#[test]
fn a_refused_storm_on_a_replica_set_is_applied_once_in_the_end() {
    apply_once_in_the_end(Engine::ReplicaSet);
}

#[test]
fn a_refused_storm_on_a_lone_mongod_is_applied_once_in_the_end() {
    apply_once_in_the_end(Engine::LoneMongod);
}

#[test]
fn slow_uploads_take_the_places_of_their_own_client_only() {
    let server = Server::start(&Setup::embedded().env("MAX_REQUESTS", "4").env("MAX_CONCURRENT_BATCHES", "1"));
    let slow = Phone::new(&server);
    let bodies = ["first", "second"].map(|name| item(name).to_string());
    let mut uploads = [0, 1].map(|number| begin_upload(&slow, &format!("slow-{number}"), &bodies[number]));

    let asked = Instant::now();
    let refused = slow.sync_with_key(&item("refused"), "refused");
    assert_overloaded(&refused);
    assert!(asked.elapsed() < Duration::from_secs(5), "refused, and not after an upload");
    assert_overloaded(&slow.send(Request::new("POST", "/api/readytosync")));
    let other = Phone::new(&server);
    other.sync_with_key(&item("quick"), "quick").expect_ok();
    other.pull().expect_ok();

    for (upload, body) in uploads.iter_mut().zip(&bodies) {
        upload.send(&body.as_bytes()[body.len() / 2..]);
        assert!(upload.answer().0.starts_with("http/1.1 200"));
    }
    assert_eq!(names(&slow), ["first", "second"], "what was refused was not applied");
    let answer = slow.sync_with_key(&item("refused"), "refused");
    assert_eq!((&answer.expect_ok()["revision"], answer.header("Idempotency-Replayed")), (&json!(3), None));
    assert_eq!(names(&slow), ["first", "second", "refused"]);
}

#[test]
fn memory_that_one_client_has_taken_is_refused_to_it_and_left_to_others() {
    let server = Server::start(&Setup::embedded().env("MEMORY_BUDGET_BYTES", (4 << 20).to_string()));
    let greedy = Phone::new(&server);
    let large = padded("large", 1_500_000);
    let mut upload = begin_upload(&greedy, "large", &large);
    assert_overloaded(&greedy.send(Request::new("POST", "/api/readytosync").body(padded("x", 1_000_000))));
    assert_overloaded(&greedy.send(Request::sync().body(padded("refused", 1_000_000))));

    // Others have room, and so has what is small.
    Phone::new(&server).send(Request::sync().body(padded("other", 300_000))).expect_ok();
    greedy.sync(&item("small")).expect_ok();

    upload.send(&large.as_bytes()[large.len() / 2..]);
    assert!(upload.answer().0.starts_with("http/1.1 200"));
    assert_eq!(names(&greedy), ["small", "large"]);
    greedy.send(Request::sync().body(padded("refused", 1_000_000))).expect_ok();
}

#[test]
fn a_body_that_is_larger_than_the_budget_is_answered_when_nothing_else_is_there() {
    let server = Server::start(&Setup::embedded().env("MEMORY_BUDGET_BYTES", (1 << 20).to_string()));
    let phone = Phone::new(&server);
    phone.send(Request::sync().body(padded("huge", 3_000_000))).expect_ok();
    assert_eq!(names(&phone), ["huge"]);
}

/// Sixty batches of one client wait for one place, and another client is served in between.
fn let_others_through(engine: Engine) {
    const STORM: usize = 60;
    let server = Server::start(&Setup::on(engine).env("MAX_CONCURRENT_BATCHES", "1"));
    let stormy = Phone::new(&server);
    let answered = AtomicUsize::new(0);
    let (first, is_first) = channel();
    std::thread::scope(|scope| {
        for number in 0..STORM {
            let (server, stormy, answered, first) = (&server, &stormy, &answered, first.clone());
            scope.spawn(move || {
                // On a slow machine the last ones may wait too long and have to come again.
                let phone = Phone::of(server, &stormy.client);
                while phone.sync(&item(&number.to_string())).status != 200 {}
                answered.fetch_add(1, Ordering::Relaxed);
                // Nobody listens after the first.
                let _ = first.send(());
            });
        }
        is_first.recv().unwrap();
        let calm = Phone::new(&server);
        for number in 0..5 {
            calm.sync(&item(&number.to_string())).expect_ok();
        }
        let before = answered.load(Ordering::Relaxed);
        assert!(before < STORM * 2 / 3, "five batches of another client waited for {before} of the storm");
    });
    assert_eq!(stormy.pull().expect_ok()["revision"], json!(STORM));
}

/// Forty phones of a client find two places, and send their batches until they are through.
fn apply_once_in_the_end(engine: Engine) {
    const PHONES: usize = 40;
    let server = Server::start(&Setup::on(engine).env("MAX_REQUESTS", "4"));
    let client = Phone::new(&server).client;
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..PHONES {
            let (server, client, refused) = (&server, &client, &refused);
            scope.spawn(move || {
                let phone = Phone::of(server, client);
                let name = number.to_string();
                eventually("the batch is applied", Duration::from_secs(60), || {
                    let answer = phone.sync_with_key(&item(&name), &name);
                    if answer.status == 503 {
                        assert_overloaded(&answer);
                        refused.fetch_add(1, Ordering::Relaxed);
                        return None;
                    }
                    answer.expect_ok();
                    Some(())
                });
            });
        }
    });
    assert!(refused.load(Ordering::Relaxed) > 0, "forty at once found room in two places");
    let phone = Phone::of(&server, &client);
    assert_eq!(phone.pull().expect_ok()["revision"], json!(PHONES));
    let mut applied = names(&phone);
    applied.sort_by_key(|name| name.parse::<usize>().unwrap());
    assert_eq!(applied, (0..PHONES).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[track_caller]
fn assert_overloaded(answer: &Answer) {
    answer.expect_error(503, "overloaded");
    let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "Retry-After: {seconds}");
}

/// Sends the first half of a batch.
fn begin_upload(phone: &Phone, key: &str, body: &str) -> Connection {
    let mut upload = Connection::open(phone);
    upload.begin_sync(phone, key, body.len());
    upload.send(&body.as_bytes()[..body.len() / 2]);
    upload
}

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"name": name, "price": 1}]}})
}

/// A batch of one item, with a field that only takes room.
fn padded(name: &str, bytes: usize) -> String {
    let mut batch = item(name);
    batch["padding"] = "x".repeat(bytes).into();
    batch.to_string()
}

/// The names of the client's items, in the order in which they were made.
fn names(phone: &Phone) -> Vec<String> {
    let answer = phone.pull().expect_ok();
    let items = answer["data"]["items"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}
