//! Bodies that come too slowly: they are told so, and keep no place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Connection, Phone, Server, Setup};

/// What a body hears whose bytes come one by one, so often.
fn trickle(setup: Setup, pause: Duration) -> (String, Value, Duration) {
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    let mut line = Connection::open(&phone);
    line.begin_sync(&phone, "slow", 100_000);
    let began = Instant::now();
    while !line.has_answer() {
        assert!(began.elapsed() < Duration::from_secs(30), "it may trickle for ever");
        // The server may have hung up by then.
        let _ = line.try_send(b" ");
        std::thread::sleep(pause);
    }
    let took = began.elapsed();
    let (head, body) = line.answer();
    phone.sync_with_key(&json!({"item": {"create": [{"name": "Tea", "price": 1}]}}), "slow").expect_ok();
    (head, serde_json::from_str(&body).unwrap(), took)
}

#[track_caller]
fn assert_timed_out((head, body, _): &(String, Value, Duration)) {
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    let members = json!({
        "success": false,
        "message": "The body took too long; nothing was applied; send it again",
        "code": "request_timeout",
        "errors": [],
        "requestId": body["requestId"],
    });
    assert_eq!(*body, members);
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let heard = trickle(Setup::embedded().env("BODY_SECONDS", "2"), Duration::from_millis(50));
    assert_timed_out(&heard);
    assert!(heard.2 >= Duration::from_millis(1900), "{:?}", heard.2);
}

#[test]
fn a_body_that_stops_is_given_up() {
    let heard = trickle(Setup::embedded().env("BODY_PAUSE_SECONDS", "1"), Duration::from_secs(3));
    assert_timed_out(&heard);
}
