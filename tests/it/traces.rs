//! What the log tells of each request: one line, when it is done.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Answer, Connection, Phone, Request, Server, Setup, TEST_SECRET, eventually, on_every_engine};
use crate::metrics::{SOON, Watched};

fn batch() -> Value {
    json!({"item": {"create": [{"name": "private name", "price": 98765}, {"name": "Cake", "price": 1}]}})
}

/// The id that the log has for a request.
fn id(answer: &Answer) -> String {
    answer.header("X-Request-Id").unwrap()
}

/// The lines about this request, once there is one that says that it is done.
fn lines(server: &Server, id: &str) -> Vec<Value> {
    let about = |line: &str| line.contains(id);
    server.wait_for_log(|line| about(line) && line.contains("\"time.answer_ms\""));
    let log = server.log();
    log.iter().filter(|line| about(line)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The span of the one line about this request.
fn told(server: &Server, answer: &Answer) -> (String, BTreeMap<String, Value>) {
    let lines = lines(server, &id(answer));
    let done: Vec<_> = lines.iter().filter(|line| line["target"] == "viveka_sync::http::trace").collect();
    assert_eq!(done.len(), 1, "{lines:#?}");
    assert_eq!(done[0].get("spans"), None);
    let level = done[0]["level"].as_str().unwrap().to_owned();
    (level, serde_json::from_value(done[0]["span"].clone()).unwrap())
}

on_every_engine! {
    fn a_request_is_told_once_with_all_that_came_of_it(engine: Engine) {
        let server = Server::start_ready(&Setup::on(engine).env("LOG", "viveka_sync=debug"));
        let phone = Phone::new(&server);
        let first = phone.sync_with_key(&batch(), "monday");
        let (level, span) = told(&server, &first);
        assert_eq!(level, "INFO");
        for (name, value) in [
            ("http.request.method", json!("POST")),
            ("http.route", json!("/api/sync")),
            ("http.response.status_code", json!(200)),
            ("http.request.body.size", json!(batch().to_string().len())),
            ("http.response.body.size", json!(first.bytes.len())),
            ("client.id", json!(phone.client)),
            ("idempotency.key", json!("monday")),
            ("batch.operations", json!(2)),
            ("batch.revision", json!(1)),
        ] {
            assert_eq!(span.get(name), Some(&value), "{name}: {span:#?}");
        }
        assert!(!span.contains_key("batch.replayed") && !span.contains_key("error.type"), "{span:#?}");
        let time = |name: &str| span[&format!("time.{name}_ms")].as_f64().unwrap();
        let parts: f64 = ["read", "parse", "wait", "execute", "dataset"].into_iter().map(time).sum();
        assert!(time("plan") <= time("execute") && parts <= time("answer"), "{span:#?}");

        let (level, span) = told(&server, &phone.sync_with_key(&batch(), "monday"));
        assert_eq!((level.as_str(), &span["batch.replayed"]), ("DEBUG", &json!("cache")));
        assert_eq!(span["batch.revision"], json!(1));

        let refused = phone.sync(&json!({"item": {"delete": ["nothing"]}}));
        let (level, span) = told(&server, &refused);
        assert_eq!((level.as_str(), &span["error.type"]), ("INFO", &json!("batch_rejected")));

        let (level, span) = told(&server, &phone.pull());
        assert_eq!((level.as_str(), &span["batch.operations"], &span["batch.revision"]), ("DEBUG", &json!(0), &json!(1)));
    }
}

#[test]
fn the_usual_level_tells_of_batches_and_of_nothing_that_strangers_send() {
    let server = Server::start_ready(&Setup::embedded());
    let phone = Phone::new(&server);
    let quiet = [
        phone.pull(),
        phone.send(Request::new("POST", "/api/readytosync")),
        phone.send(Request::new("GET", "/api/health")),
        phone.send(Request::sync().without_token()),
        phone.send(Request::new("GET", "/api/nowhere")),
        phone.send(Request::new("ODD", "/api/sync")),
    ];
    let loud = [phone.sync_with_key(&batch(), "k"), phone.send(Request::sync().body("{"))];
    for answer in &loud {
        assert_eq!(told(&server, answer).0, "INFO");
    }
    let log = server.log().join("\n");
    for answer in &quiet {
        assert!(!log.contains(&id(answer)), "{log}");
    }
}

#[test]
fn what_a_rate_refuses_is_told_quietly_and_with_its_client() {
    let setup = Setup::embedded().env("LOG", "viveka_sync=debug").env("RATE_LIMIT_PER_MINUTE", "1");
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    phone.pull().expect_ok();
    let (level, span) = told(&server, &phone.pull());
    assert_eq!((level.as_str(), &span["error.type"]), ("DEBUG", &json!("rate_limited")));
    assert_eq!(span["client.id"], json!(phone.client));
}

#[test]
fn neither_format_tells_what_is_private_or_can_be_forged() {
    for format in ["text", "json"] {
        let server = Server::start_ready(&Setup::embedded().env("LOG", "trace").env("LOG_FORMAT", format));
        let phone = Phone::new(&server);
        let key = format!("k\"}}:ERROR{}", "x".repeat(200));
        let request = Request::sync().header("X-Request-Id", "forged-1").header("X-Idempotency-Key", &key);
        phone.send(request.json(&batch())).expect_ok();
        let forged = Request::sync().header("X-Request-Id", "forged-2");
        let delete = json!({"item": {"delete": ["no\n2026-11-21T00:00:00Z ERROR forged\u{1b}[31m"]}});
        phone.send(forged.json(&delete)).expect_error(422, "batch_rejected");

        let line = server.wait_for_log(|line| line.contains("forged-1") && line.contains("time.answer_ms"));
        let shown = format!("\"k\\\"}}:ERROR{}\"", "x".repeat(64 - 9));
        assert!(line.contains(&shown), "{line}");
        let line = server.wait_for_log(|line| line.contains("forged-2") && line.contains("time.answer_ms"));
        assert!(line.contains("item.delete[0]"), "{line}");
        let log = server.log();
        for private in ["private name", "98765", "ERROR forged", "\u{1b}", &phone.token, TEST_SECRET] {
            assert!(!log.iter().any(|line| line.contains(private)), "{private} is in the log");
        }
    }
}

#[test]
fn a_batch_whose_phone_hung_up_is_told_when_it_is_done() {
    let watched = Watched::start(&Setup::embedded());
    let server = &watched.server;
    let phone = Phone::new(server);
    let items: Vec<_> = (0..3000).map(|number| json!({"name": format!("item {number}"), "price": 1})).collect();
    let body = json!({"item": {"create": items}}).to_string();
    let mut connection = Connection::open(&phone);
    connection.begin_sync(&phone, "hung-up", body.len());
    connection.send(body.as_bytes());
    let parse = [("phase", "parse")];
    let parsed = || watched.scrape().value("viveka_phase_duration_seconds_count", &parse) == 1.0;
    eventually("the batch is at work", SOON, || parsed().then_some(()));
    connection.reset();
    let about = |line: &str| line.contains("\"hung-up\"");
    let line = server.wait_for_log(about);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["level"], &line["span"]["batch.revision"]), (&json!("INFO"), &json!(1)), "{line:#}");
    assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
    assert_eq!(server.log().iter().filter(|line| about(line)).count(), 1);
}
