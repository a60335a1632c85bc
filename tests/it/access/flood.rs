//! A crowd that asks for nothing, or never comes to an end, on more connections than the server takes: each of them is
//! ended in time, another shop's phone is served all the while, and what they do not read takes no memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Connection, Phone, Server, Setup, eventually, random_hex};

/// How long another shop's phone may wait for its answer. The connections before its own have six seconds each.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take until each flooder has been ended.
const END: Duration = Duration::from_secs(90);
const MOST_CONNECTIONS: usize = 32;
/// Flooders of each kind, and how often they are ended on average.
const EACH: usize = 12;
const TIMES: usize = 2;

/// What a flooder sends at once, what it goes on to send now and then, and what it is there for.
type Kind = (&'static str, String, &'static [u8]);

fn kinds(own: &Phone) -> Vec<Kind> {
    let token = &own.token;
    let sync = format!("POST /api/sync HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {token}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    vec![
        ("nothing", String::new(), b""),
        ("half a head", "POST /api/sync HTTP/1.1\r\nHost: ser".to_owned(), b""),
        ("a head that trickles", "POST /api/sync HTTP/1.1\r\nX-Long: ".to_owned(), b"x"),
        ("a body that never comes", format!("{sync}Content-Length: 1000\r\n\r\n"), b""),
        ("a body that trickles", format!("{sync}{chunked}"), b"1\r\n \r\n"),
        ("a body without a token", format!("POST /api/sync HTTP/1.1\r\nHost: server\r\n{chunked}"), b"1\r\n \r\n"),
        ("a body that nobody reads", format!("GET /api/health HTTP/1.1\r\nHost: server\r\n{chunked}"), b"1\r\n \r\n"),
    ]
}

#[test]
fn flooders_are_ended_and_keep_nobody_out() {
    let setup = Setup::embedded()
        .env("MAX_CONNECTIONS", MOST_CONNECTIONS.to_string())
        .env("HEAD_SECONDS", "1")
        .env("BODY_SECONDS", "3")
        .env("BODY_PAUSE_SECONDS", "2");
    let server = Server::start_ready(&setup);
    let flooding = Phone::new(&server);
    let phone = Phone::at(&server.url(), &random_hex(12), PATIENCE);
    let kinds = kinds(&flooding);
    let ended: Vec<_> = kinds.iter().map(|_| AtomicUsize::new(0)).collect();
    let left = || {
        let left = kinds.iter().zip(&ended).filter(|(_, ended)| ended.load(Ordering::Relaxed) < TIMES * EACH);
        left.map(|((what, ..), _)| *what).collect::<Vec<_>>()
    };
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for ((_, first, more), ended) in kinds.iter().zip(&ended) {
            for _ in 0..EACH {
                let flooding = &flooding;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        hold(flooding, first, more, over);
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let _end = End(over);
        let began = Instant::now();
        for revision in 1.. {
            let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}});
            let served = phone.sync_with_key(&batch, &revision.to_string());
            assert_eq!(served.expect_ok()["revision"], json!(revision));
            if left().is_empty() {
                break;
            }
            assert!(began.elapsed() < END, "they are held for ever: {:?}", left());
            thread::sleep(Duration::from_millis(100));
        }
    });
}

/// Ends the flood, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Holds a connection for as long as the server lets it.
fn hold(phone: &Phone, first: &str, more: &[u8], over: &AtomicBool) {
    let mut line = Connection::open(phone);
    // The server may have ended it already.
    let _ = line.try_send(first.as_bytes());
    while !line.is_over() && !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        let _ = line.try_send(more);
    }
}

/// Strangers who ask for the largest answers that need no token, and read none of them.
const READERS: usize = 100;
/// What each may take of the server's memory, in bytes: far less than such an answer.
const EACH_TAKES: usize = 400 << 10;

#[test]
fn answers_that_nobody_reads_take_little_memory() {
    let server = Server::start_ready(&Setup::embedded());
    let phone = Phone::new(&server);
    // More than the kernel takes off the server's hands.
    let asks = "GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: server\r\n\r\n".repeat(6);
    let before = memory(&server);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut line = Connection::open(&phone);
            line.send(asks.as_bytes());
            line
        })
        .collect();
    eventually("all are answered", PATIENCE, || readers.iter().all(Connection::has_answer).then_some(()));
    // So much was not answered at once.
    for _ in 0..20 {
        phone.pull().expect_ok();
    }
    let taken = memory(&server).saturating_sub(before);
    assert!(taken < READERS * EACH_TAKES, "{taken} bytes");
}

/// What a server takes of the machine's memory, in bytes.
fn memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
    resident.map(|kilobytes: usize| kilobytes << 10).unwrap()
}
