//! `RATE_LIMIT_PER_MINUTE`: a client makes as many requests as it may, to the last one, and a storm loses nothing.

use std::time::Duration;

use serde_json::json;

use crate::behaviour::errors::assert_error;
use crate::harness::{Connection, Phone, Request, Server, Setup, eventually};

fn limited(per_minute: u32, burst: u32) -> Server {
    let setup = Setup::embedded().env("RATE_LIMIT_PER_MINUTE", per_minute.to_string());
    Server::start(&setup.env("RATE_LIMIT_BURST", burst.to_string()))
}

#[test]
fn a_client_makes_exactly_as_many_requests_as_it_may() {
    let server = limited(1, 5);
    let (phone, other) = (Phone::new(&server), Phone::new(&server));
    for left in (0..5).rev() {
        let answer = phone.pull();
        answer.expect_ok();
        assert_eq!(answer.header("RateLimit-Policy").as_deref(), Some("\"client\";q=5;w=300"));
        let state = answer.header("RateLimit").unwrap();
        assert!(state.starts_with(&format!("\"client\";r={left};t=")), "{state}");
    }
    let refused = phone.pull();
    let body = refused.expect_error(429, "rate_limited");
    assert_eq!(body["message"], "Too many requests; nothing was applied; send it again later");
    let wait: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!((30..=62).contains(&wait), "{wait}");
    assert!(refused.header("RateLimit").unwrap().starts_with("\"client\";r=0;t="));
    assert!(refused.header("RateLimit-Policy").is_some());
    // Others have buckets of their own, and a bad token has none.
    other.pull().expect_ok();
    phone.send(Request::sync().header("Authorization", "Bearer x")).expect_error(401, "unauthorized");
    let health = phone.send(Request::new("GET", "/api/health").without_token());
    health.expect_ok();
    assert_eq!(health.header("RateLimit"), None);
}

#[test]
fn the_error_of_a_rate() {
    let server = limited(60, 1);
    let phone = Phone::new(&server);
    phone.pull().expect_ok();
    assert_error(&phone, Request::sync(), "rate_limited");
}

#[test]
fn many_at_once_are_as_exact_as_one_by_one() {
    let server = limited(1, 20);
    let phone = Phone::new(&server);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let phone = &phone;
        let sent: Vec<_> = (0..60).map(|_| scope.spawn(move || phone.pull().status)).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|&&answered| answered == status).count();
    assert_eq!((count(200), count(429)), (20, 40), "{statuses:?}");
}

#[test]
fn the_refusal_does_not_wait_for_the_body() {
    let server = limited(1, 1);
    let phone = Phone::new(&server);
    phone.pull().expect_ok();
    let mut line = Connection::open(&phone);
    let token = &phone.token;
    let head =
        format!("POST /api/sync HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {token}\r\nContent-Length: 999\r\n\r\n");
    line.send(head.as_bytes());
    assert!(line.answer().0.starts_with("http/1.1 429"));
}

#[test]
fn a_storm_of_one_batch_is_applied_once_and_answered_in_the_end() {
    let server = limited(60, 5);
    let phone = Phone::new(&server);
    let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}});
    let answers: Vec<_> = std::thread::scope(|scope| {
        let (phone, batch) = (&phone, &batch);
        let sent: Vec<_> = (0..50).map(|_| scope.spawn(move || phone.sync_with_key(batch, "storm"))).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(refused >= 20, "{refused} were refused");
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
    let last = eventually("there is a token again", Duration::from_secs(20), || {
        let answer = phone.sync_with_key(&batch, "storm");
        (answer.status != 429).then_some(answer)
    });
    let last = last.expect_ok();
    assert_eq!((&last["revision"], last["data"]["items"].as_array().unwrap().len()), (&json!(1), 1));
}

#[test]
fn without_a_limit_nothing_is_said_of_it() {
    let server = Server::start(&Setup::embedded());
    let answer = Phone::new(&server).pull();
    answer.expect_ok();
    assert_eq!((answer.header("RateLimit"), answer.header("RateLimit-Policy")), (None, None));
}
