//! Answers that no scenario has: pulls, deltas, replays, questions, and a store that is away.

use std::time::Duration;

use serde_json::{Value, json};

use super::hold;
use crate::harness::{Answer, Mongod, Phone, Request, Server, Setup, Topology, eventually, on_every_engine};

/// Sends a request, and holds the answer against the document.
#[track_caller]
fn send(phone: &Phone, request: Request) -> Answer {
    let (method, path) = request.target();
    let answer = phone.send(request);
    hold(&method, &path, &answer, true);
    answer
}

fn post(path: &str, body: &Value) -> Request {
    Request::new("POST", path).json(body)
}

/// A batch that gives rise to every warning.
fn warned() -> Value {
    json!({
        "item": {"create": [{"localId": "tea", "name": "Tea", "price": 10, "stock": 1, "colour": "green"}]},
        "invoice": {"create": [{
            "localId": "bill", "clientCustomerId": "64b0000000000000000000aa", "paidAmount": 20,
            "products": [{"productId": "tea", "quantity": 2}],
        }]},
        "payment": {"create": []},
    })
}

on_every_engine! {
    fn pulls_and_deltas(server: &Server) {
        let phone = Phone::new(server);
        let first = send(&phone, post("/api/sync", &warned())).expect_ok();
        let cursor = first["cursor"].as_str().unwrap();
        let delta = send(&phone, post("/api/sync", &json!({"since": cursor}))).expect_ok();
        assert_eq!(delta["dataMode"], "delta");
        assert_eq!(send(&phone, post("/api/sync", &json!({"data": "none"}))).expect_ok()["dataMode"], "none");
        let pulled = send(&phone, Request::new("GET", "/api/sync/data"));
        let tag = pulled.header("ETag").unwrap();
        assert_eq!(send(&phone, Request::new("GET", "/api/sync/data").header("If-None-Match", &tag)).status, 304);
        let since = format!("/api/sync/data?since={cursor}");
        assert_eq!(send(&phone, Request::new("GET", &since)).expect_ok()["dataMode"], "delta");
        send(&phone, Request::new("GET", "/api/sync/data").without_token()).expect_error(401, "unauthorized");
    }

    fn warnings_and_replays(server: &Server) {
        let phone = Phone::new(server);
        let keyed = || post("/api/sync", &warned()).header("X-Idempotency-Key", "one");
        let first = send(&phone, keyed()).expect_ok();
        assert_eq!(first["warnings"].as_array().unwrap().len(), 3, "{first}");
        assert_eq!(send(&phone, keyed()).header("Idempotency-Replayed").as_deref(), Some("true"));
        let again = send(&phone, post("/api/sync", &warned()).header("X-Idempotency-Key", "other")).expect_ok();
        assert_eq!(again["summary"]["alreadyApplied"], 2, "{again}");
        let unknown: serde_json::Map<_, _> = (0..1100).map(|number| (format!("x{number}"), json!(1))).collect();
        let omitted = send(&phone, post("/api/sync", &json!(unknown))).expect_ok();
        assert_eq!(omitted["warnings"].as_array().unwrap().len(), 1001);
    }

    fn questions(server: &Server) {
        let phone = Phone::new(server);
        send(&phone, post("/api/sync", &warned()).header("X-Idempotency-Key", "one")).expect_ok();
        let asked = json!({"keys": ["one", "two"], "localIds": ["tea", "bill", "nothing"]});
        send(&phone, post("/api/sync/reconcile", &asked)).expect_ok();
        send(&phone, post("/api/sync/reconcile", &json!({"keys": [7]}))).expect_error(400, "invalid_batch");
        for batch in [warned(), json!({}), json!({"item": {"create": [{}], "delete": ["nothing"]}})] {
            send(&phone, post("/api/sync/validate", &batch)).expect_ok();
        }
        send(&phone, post("/api/sync/validate", &json!([]))).expect_error(400, "invalid_batch");
        send(&phone, post("/api/readytosync", &json!({}))).expect_ok();
        send(&phone, Request::new("GET", "/api/health").without_token()).expect_ok();
        assert_eq!(send(&phone, Request::new("HEAD", "/api/health").without_token()).status, 200);
    }
}

#[test]
fn a_store_that_is_away() {
    let mut mongod = Mongod::start(Topology::Lone);
    let server = Server::start(&Setup::at(&mongod));
    let phone = Phone::new(&server);
    mongod.kill();
    send(&phone, post("/api/sync", &warned())).expect_error(503, "store_unavailable");
    let health = |method| Request::new(method, "/api/health").without_token();
    let away = || (phone.send(health("GET")).status == 503).then_some(());
    eventually("health says so", Duration::from_secs(5), away);
    for method in ["GET", "HEAD"] {
        assert_eq!(send(&phone, health(method)).status, 503);
    }
    for (method, path) in [("GET", "/api/sync/data"), ("POST", "/api/sync/validate"), ("POST", "/api/sync/reconcile")] {
        assert_eq!(send(&phone, Request::new(method, path).body("{}")).status, 503, "{path}");
    }
}
