//! Spans that reach a collector, with the cargo feature `otel`.
//!
//! The collector is a few lines of HTTP; what it is sent is protobuf, in which texts and ids stand as they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::harness::{Phone, Request, Server, Setup, TEST_SECRET};

/// All that a collector has been sent.
struct Collector {
    url: String,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        let taken = Arc::clone(&sent);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let taken = Arc::clone(&taken);
                thread::spawn(move || {
                    while let Some(body) = take(&stream) {
                        taken.lock().unwrap().extend(body);
                    }
                });
            }
        });
        Self { url, sent }
    }

    fn has(&self, bytes: &[u8]) -> bool {
        self.sent.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }
}

/// Takes the spans of one request; nothing at the end of the connection.
fn take(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    assert_eq!(line.trim_end(), "POST /v1/traces HTTP/1.1");
    let mut length = 0;
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let stated = line.to_ascii_lowercase();
        length = stated.strip_prefix("content-length:").map_or(length, |length| length.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n").ok()?;
    Some(body)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_collector_gets_the_span_of_a_request_as_a_part_of_its_trace() {
    let collector = Collector::start();
    let mut server = Server::start_ready(&Setup::embedded().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url));
    let phone = Phone::new(&server);
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let sync = Request::sync().header("traceparent", &format!("00-{trace}-{parent}-01"));
    let batch = json!({"item": {"create": [{"name": "private name", "price": 1}]}});
    phone.send(sync.header("X-Request-Id", "traced-1").header("X-Idempotency-Key", "monday").json(&batch)).expect_ok();
    phone.pull().expect_ok();
    phone.sync(&json!({"item": {"delete": ["private name"]}})).expect_error(422, "batch_rejected");
    // What has not been sent yet is sent at the end.
    assert_eq!(server.terminate(), 0);

    for id in [trace, parent] {
        assert!(collector.has(&hex(id)), "{id}");
    }
    let client = phone.client.as_str();
    for text in [
        "POST /api/sync",
        "viveka-sync",
        "traced-1",
        "monday",
        client,
        "item.delete[0]",
        "batch.revision",
        "time.execute_ms",
    ] {
        assert!(collector.has(text.as_bytes()), "{text}");
    }
    for private in ["private name", phone.token.as_str(), TEST_SECRET] {
        assert!(!collector.has(private.as_bytes()), "{private}");
    }
}

#[test]
fn a_collector_that_is_away_holds_up_nobody() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    let mut server = Server::start_ready(&Setup::embedded().env("OTEL_EXPORTER_OTLP_ENDPOINT", &url));
    Phone::new(&server).pull().expect_ok();
    assert_eq!(server.terminate(), 0);
}

#[test]
fn a_collector_that_is_no_url_stops_the_start() {
    let refusal = Server::refused(&Setup::embedded().env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"));
    assert!(refusal.contains("otlp-endpoint") && refusal.lines().count() == 1, "{refusal}");
}
