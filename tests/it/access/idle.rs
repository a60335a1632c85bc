//! Connections on which nothing is asked for: they end, whatever trickles in on them, and no others do.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Connection, Phone, Server, Setup, eventually, random_hex};
use crate::metrics::metrics_url;

/// How long a connection may be idle, and how long a busy machine may take to end it then.
const END: Duration = Duration::from_secs(15 + 15);
/// For how long the others show that they go on.
const BEYOND: Duration = Duration::from_secs(19);
const SECOND: Duration = Duration::from_secs(1);

const LIMITS: &str = "GET /api/sync/limits HTTP/1.1\r\nHost: server\r\n\r\n";
const HEALTH: &str = "GET /api/health HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n";
const SYNC: &str = "POST /api/sync HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n";
const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: server\r\n\r\n";

#[test]
fn connections_on_which_nothing_is_asked_for_end() {
    let server = Server::start_ready(&Setup::embedded().env("METRICS_PORT", "0").env("BODY_SECONDS", "1"));
    let (phone, scraper) = (Phone::new(&server), Phone::at(&metrics_url(&server), &random_hex(12), END));
    let strangers = [
        ("a second head that stops", &phone, LIMITS, "G", ""),
        ("a second head that trickles", &phone, LIMITS, "G", "E"),
        ("a refused body that never comes", &phone, SYNC, "", ""),
        ("a refused body that trickles", &phone, SYNC, "", "1\r\n \r\n"),
        ("a body that nobody reads", &phone, HEALTH, "", ""),
        ("a body that nobody reads and that trickles", &phone, HEALTH, "", "1\r\n \r\n"),
        ("a second head on the port for metrics", &scraper, METRICS, "G", ""),
    ];
    thread::scope(|scope| {
        for (what, phone, request, more, trickle) in strangers {
            scope.spawn(move || {
                let mut line = Connection::open(phone);
                line.send(request.as_bytes());
                let (head, _) = line.answer();
                assert!(head.starts_with("http/1.1 "), "{what}: {head}");
                line.send(more.as_bytes());
                expect_the_end(what, line, trickle);
            });
        }
        scope.spawn(|| {
            let mut line = Connection::open(&phone);
            line.begin_chunked_sync(&phone);
            eventually("an answer to a body that is too slow", END, || {
                let _ = line.try_send(b"1\r\n \r\n");
                line.has_answer().then_some(())
            });
            assert!(line.answer().0.starts_with("http/1.1 408"));
            expect_the_end("a body that goes on after its answer", line, "1\r\n \r\n");
        });
    });
}

/// Sends these bytes again and again until the server hangs up.
#[track_caller]
fn expect_the_end(what: &str, mut line: Connection, trickle: &str) {
    let began = Instant::now();
    while !line.is_over() {
        assert!(began.elapsed() < END, "it is held for ever: {what}");
        // The server may hang up meanwhile.
        let _ = line.try_send(trickle.as_bytes());
        sleep(SECOND / 10);
    }
}

#[test]
fn connections_that_are_used_go_on() {
    let server = Server::start_ready(&Setup::embedded().env("METRICS_PORT", "0"));
    let (phone, scraper) = (Phone::new(&server), Phone::at(&metrics_url(&server), &random_hex(12), END));
    thread::scope(|scope| {
        for (phone, request) in [(&phone, LIMITS), (&scraper, METRICS)] {
            scope.spawn(move || {
                let (mut line, began) = (Connection::open(phone), Instant::now());
                while began.elapsed() < BEYOND {
                    line.send(request.as_bytes());
                    assert!(line.answer().0.starts_with("http/1.1 200"));
                    sleep(3 * SECOND);
                }
            });
        }
        scope.spawn(|| {
            let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}}).to_string();
            let (mut line, began) = (Connection::open(&phone), Instant::now());
            line.begin_sync(&phone, "slow", 1000);
            let mut left = 1000 - batch.len();
            while began.elapsed() < BEYOND {
                line.send(b" ");
                left -= 1;
                sleep(SECOND);
            }
            line.send((" ".repeat(left) + &batch).as_bytes());
            let (head, body) = line.answer();
            assert!(head.starts_with("http/1.1 200"), "{head}{body}");
        });
        scope.spawn(|| {
            // More than the kernel takes off the server's hands.
            const ITEMS: usize = 900;
            let reader = Phone::new(&server);
            let item =
                |number: usize| json!({"name": number.to_string(), "price": 1, "description": "🍵".repeat(2000)});
            reader.sync(&json!({"item": {"create": (0..ITEMS).map(item).collect::<Vec<_>>()}})).expect_ok();
            let mut line = Connection::open(&reader);
            line.send_pull(&reader);
            eventually("the answer begins", END, || line.has_answer().then_some(()));
            sleep(BEYOND);
            let whole: Value = serde_json::from_str(&line.answer().1).unwrap();
            assert_eq!(whole["data"]["items"].as_array().unwrap().len(), ITEMS);
        });
    });
}
