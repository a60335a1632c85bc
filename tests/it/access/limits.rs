//! `GET /api/sync/limits`: what it says is so.

use serde_json::{Value, json};

use crate::harness::{Phone, Request, Server, Setup};

fn limits(phone: &Phone) -> Value {
    phone.send(Request::new("GET", "/api/sync/limits").without_token()).expect_ok()
}

#[test]
fn what_the_operator_set_is_told() {
    let setup = Setup::embedded()
        .env("MAX_BODY_BYTES", "5000")
        .env("MAX_OPERATIONS", "7")
        .env("REQUIRE_IDEMPOTENCY_KEY", "true")
        .env("RATE_LIMIT_PER_MINUTE", "120")
        .env("BODY_SECONDS", "60")
        .env("BODY_PAUSE_SECONDS", "5");
    let server = Server::start(&setup);
    let told = limits(&Phone::new(&server));
    assert_eq!(told["body"]["bytes"], 5000);
    assert_eq!((&told["body"]["seconds"], &told["body"]["pauseSeconds"]), (&json!(60), &json!(5)));
    assert_eq!((&told["batch"]["operations"], &told["batch"]["invoiceLines"]), (&json!(7), &json!(70)));
    assert_eq!(told["requireIdempotencyKey"], true);
    assert_eq!(told["rate"], json!({"perMinute": 120, "burst": 120}));
}

/// Sends as much as is told to be allowed, and then one more.
#[test]
fn what_is_told_of_texts_and_lists_holds() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let told = limits(&phone);
    let most = |path: &str| told.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}")) as usize;
    let text = |length: usize| json!("x".repeat(length));
    let line = || json!({"itemName": "Tea", "costPerUnit": 1, "quantity": 1});
    let item = |field: &str, value: Value| {
        let mut item = json!({"name": "Tea", "price": 1});
        item[field] = value;
        json!({"item": {"create": [item]}})
    };
    let id = "64b0000000000000000000ff";
    let bodies: [(&str, &dyn Fn(usize) -> Value); 8] = [
        ("/batch/characters/text", &|length| item("name", text(length))),
        ("/batch/characters/unit", &|length| item("unit", text(length))),
        ("/batch/characters/note", &|length| item("description", text(length))),
        ("/batch/characters/alias", &|length| item("_id", text(length))),
        ("/batch/characters/localId", &|length| item("localId", text(length))),
        ("/batch/dealerIdsPerItem", &|length| item("dealerIds", json!(vec![id; length]))),
        ("/batch/linesPerInvoice", &|length| json!({"invoice": {"create": [{"products": vec![line(); length]}]}})),
        (
            "/batch/reconcileNames",
            &|length| json!({"keys": (0..length).map(|key| key.to_string()).collect::<Vec<_>>()}),
        ),
    ];
    for (path, body) in bodies {
        let route = if path.ends_with("Names") { "/api/sync/reconcile" } else { "/api/sync/validate" };
        let is_fine = |length| {
            let answer = phone.send(Request::new("POST", route).json(&body(length)));
            answer.status == 200 && answer.json()["valid"] != json!(false)
        };
        assert!(is_fine(most(path)), "{path}");
        assert!(!is_fine(most(path) + 1), "{path}");
    }
    let key = |length: usize| Request::sync().header("X-Idempotency-Key", &"k".repeat(length));
    phone.send(key(most("/batch/characters/idempotencyKey"))).expect_ok();
    phone.send(key(most("/batch/characters/idempotencyKey") + 1)).expect_error(400, "idempotency_key_invalid");
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    phone.send(Request::sync().body(nested(most("/batch/depth")))).expect_ok();
    phone.send(Request::sync().body(nested(most("/batch/depth") + 1))).expect_error(400, "malformed_json");
    let many = |count: usize| json!({"item": {"delete": vec!["nothing"; count]}});
    let errors = phone.sync(&many(300)).expect_error(422, "batch_rejected")["errors"].as_array().unwrap().len();
    assert_eq!(errors, most("/batch/errors"));
}

#[test]
fn another_method_is_told_the_right_one() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let answer = phone.send(Request::new("POST", "/api/sync/limits"));
    answer.expect_error(405, "method_not_allowed");
    assert_eq!(answer.header("Allow").as_deref(), Some("GET"));
}
