//! Every error of the status table, word for word; the three engines share each snapshot.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Mongod, Phone, Request, Server, Setup, Topology, eventually, on_every_engine};
use crate::openapi::hold;

/// Sends a request that must be refused with this status and code, and gives the body of the answer. Every refusal
/// has the same envelope.
#[track_caller]
pub(super) fn refuse(phone: &Phone, request: Request, status: u16, code: &str) -> Value {
    let (method, path) = request.target();
    let answer = phone.send(request);
    hold(&method, &path, &answer, true);
    let body = answer.expect_error(status, code);
    assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"), "{body}");
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "errors", "message", "requestId", "success"], "{body}");
    assert_eq!(body["success"], json!(false), "{body}");
    assert_eq!(body["requestId"].as_str(), answer.header("X-Request-Id").as_deref(), "{body}");
    let listed = body["errors"].as_array().unwrap();
    for message in listed.iter().map(|error| &error["message"]).chain([&body["message"]]) {
        let characters = message.as_str().map_or(0, |message| message.chars().count());
        assert!((1..1000).contains(&characters), "a message of {characters} characters");
    }
    for error in listed {
        assert_eq!(error.as_object().unwrap().len(), 3, "{error}");
        assert!(error["path"].is_string() && error["code"].is_string(), "{error}");
    }
    body
}

/// Sends a request and compares the answer with the snapshot, less its request's id and its chosen seconds.
#[track_caller]
pub fn assert_error(phone: &Phone, request: Request, name: &str) {
    let (method, path) = request.target();
    let answer = phone.send(request);
    hold(&method, &path, &answer, true);
    let mut text = format!("{}\n", answer.status);
    for name in ["Allow", "Content-Encoding", "Content-Type", "Retry-After", "Vary", "WWW-Authenticate"] {
        if let Some(mut value) = answer.header(name) {
            if name == "Retry-After" {
                assert!((1..=5).contains(&value.parse().unwrap()), "{value}");
                value = "[1 to 5]".to_owned();
            }
            writeln!(text, "{name}: {value}").unwrap();
        }
    }
    let mut body = answer.json();
    assert_eq!(body["requestId"].as_str(), answer.header("X-Request-Id").as_deref(), "{body}");
    body["requestId"] = json!("[as in X-Request-Id]");
    write!(text, "\n{body:#}").unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("error_{name}"), text);
    });
}

/// A batch that makes one item.
fn one_item() -> Value {
    json!({"item": {"create": [{"name": "Tea", "price": 1}]}})
}

on_every_engine! {
    fn an_unknown_route(server: &Server) {
        assert_error(&Phone::new(server), Request::new("GET", "/api/nothing"), "not_found");
    }

    fn an_unknown_method(server: &Server) {
        assert_error(&Phone::new(server), Request::new("GET", "/api/sync"), "method_not_allowed");
    }

    fn an_unknown_method_of_a_route_that_is_read(server: &Server) {
        assert_error(&Phone::new(server), Request::new("POST", "/api/health"), "method_not_allowed_but_get");
    }

    fn broken_json(server: &Server) {
        let request = Request::sync().body("{\"item\": {\"create\": [}}");
        assert_error(&Phone::new(server), request, "malformed_json");
    }

    fn broken_gzip(server: &Server) {
        let request = Request::sync().header("Content-Encoding", "gzip").body("{}");
        assert_error(&Phone::new(server), request, "malformed_gzip");
    }

    fn a_batch_with_many_problems(server: &Server) {
        let batch = json!({
            "item": {
                "create": [{"price": "1", "stock": -1, "groupId": "7"}, 5],
                "update": [{"name": ""}],
                "delete": [{}, "twin"],
            },
            "invoice": {"create": [
                {"invoiceDate": "yesterday"},
                {
                    "products": [{"itemName": "Tea", "quantity": 0}, {"itemName": "Tea", "costPerUnit": 1e11}],
                    "paidAmount": -1,
                },
                {"_id": 1, "products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 1}], "paidAmount": 2},
                {"_id": 1, "products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 1}], "totalDiscount": 2},
            ]},
            "payment": {"create": [{}, {"invoiceId": 1, "amount": 0}]},
        });
        assert_error(&Phone::new(server), Request::sync().json(&batch), "invalid_batch");
    }

    fn a_key_that_is_none(server: &Server) {
        let request = Request::sync().header("X-Idempotency-Key", "two words").json(&one_item());
        assert_error(&Phone::new(server), request, "idempotency_key_invalid");
    }

    fn two_different_keys(server: &Server) {
        let request = Request::sync().header("X-Idempotency-Key", "one").header("Idempotency-Key", "\"other\"");
        assert_error(&Phone::new(server), request.json(&one_item()), "idempotency_key_ambiguous");
    }

    fn no_token(server: &Server) {
        assert_error(&Phone::new(server), Request::sync().without_token(), "unauthorized");
    }

    fn another_client_in_the_body(server: &Server) {
        let body = json!({"clientId": "000000000000000000000000"});
        assert_error(&Phone::new(server), Request::sync().json(&body), "client_mismatch");
    }

    fn an_unknown_coding(server: &Server) {
        let request = Request::sync().header("Content-Encoding", "deflate").json(&one_item());
        assert_error(&Phone::new(server), request, "unsupported_encoding");
    }

    fn records_that_say_no(server: &Server) {
        let nobody = "64b0000000000000000000ff";
        let batch = json!({
            "item": {"update": [{"_id": nobody, "price": 2}], "delete": ["no-such-alias"]},
            "invoice": {"create": [
                {"_id": 1, "products": [{"productId": nobody, "quantity": 1}]},
                {"_id": 2, "products": [{"itemName": "Tea", "costPerUnit": 10, "quantity": 1}]},
            ]},
            "payment": {"create": [{"invoiceId": nobody, "amount": 1}, {"invoiceId": 2, "amount": 10.01}]},
        });
        assert_error(&Phone::new(server), Request::sync().json(&batch), "batch_rejected");
    }

    fn a_key_of_another_batch(server: &Server) {
        let phone = Phone::new(server);
        phone.sync_with_key(&one_item(), "key").expect_ok();
        let other = json!({"item": {"create": [{"name": "Tea", "price": 2}]}});
        let request = Request::sync().header("X-Idempotency-Key", "key").json(&other);
        assert_error(&phone, request, "idempotency_key_reused");
    }

    fn a_list_of_errors_ends_at_a_hundred(server: &Server) {
        let batch = json!({"item": {"create": vec![json!({}); 300]}});
        let body = refuse(&Phone::new(server), Request::sync().json(&batch), 400, "invalid_batch");
        assert_eq!(body["errors"].as_array().unwrap().len(), 100);
        let batch = json!({"item": {"delete": vec!["nothing"; 300]}});
        let body = refuse(&Phone::new(server), Request::sync().json(&batch), 422, "batch_rejected");
        assert_eq!(body["errors"].as_array().unwrap().len(), 100);
    }

    fn the_message_is_that_of_the_first_error(server: &Server) {
        let batch = json!({"item": {"delete": ["first", "second"]}});
        let body = refuse(&Phone::new(server), Request::sync().json(&batch), 422, "batch_rejected");
        assert_eq!(body["message"], "Item not found for delete: first");
        assert_eq!(body["errors"][0]["message"], body["message"]);
    }

    fn a_sane_request_id_is_echoed(server: &Server) {
        let phone = Phone::new(server);
        let longest = "x".repeat(128);
        for id in ["7", "Az09._:-", "64b0-0000", &longest] {
            let sync = || Request::sync().header("X-Request-Id", id);
            assert_eq!(phone.send(sync()).header("X-Request-Id").as_deref(), Some(id));
            let refused = refuse(&phone, sync().without_token(), 401, "unauthorized");
            assert_eq!(refused["requestId"], id);
        }
    }

    fn any_other_request_id_is_replaced(server: &Server) {
        let phone = Phone::new(server);
        let too_long = "x".repeat(129);
        for id in ["", "a b", "a/b", "a,b", "\"a\"", "{}", "<a>", "a\tb", &too_long] {
            let refused = refuse(&phone, Request::new("GET", "/").header("X-Request-Id", id), 404, "not_found");
            let given = refused["requestId"].as_str().unwrap();
            assert_ne!(given, id);
            assert!(!given.is_empty() && given.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{given}");
        }
    }

    fn every_request_gets_an_id_of_its_own(server: &Server) {
        let phone = Phone::new(server);
        let ids = [phone.pull(), phone.pull()].map(|answer| answer.header("X-Request-Id").unwrap());
        assert_ne!(ids[0], ids[1]);
    }
}

#[test]
fn no_key_where_one_is_required() {
    let server = Server::start(&Setup::embedded().env("REQUIRE_IDEMPOTENCY_KEY", "true"));
    let phone = Phone::new(&server);
    assert_error(&phone, Request::sync().json(&one_item()), "idempotency_key_required");
    assert_eq!(phone.pull().expect_ok()["revision"], 0);
    assert_eq!(phone.sync(&json!({"item": {"create": []}})).expect_ok()["revision"], 0);
    assert_eq!(phone.sync_with_key(&one_item(), "key").expect_ok()["revision"], 1);
}

#[test]
fn a_body_that_is_too_large() {
    let server = Server::start(&Setup::embedded().env("MAX_BODY_BYTES", "1024"));
    let phone = Phone::new(&server);
    assert_error(&phone, Request::sync().body(" ".repeat(1025)), "payload_too_large");
    phone.send(Request::sync().body(format!("{{{}}}", " ".repeat(1022)))).expect_ok();
}

#[test]
fn too_many_operations() {
    let server = Server::start(&Setup::embedded().env("MAX_OPERATIONS", "2"));
    let phone = Phone::new(&server);
    let create = json!({"name": "Tea", "price": 1});
    let batch = json!({"item": {"create": [{"_id": 1, "name": "Tea", "price": 1}, create], "delete": [1]}});
    assert_error(&phone, Request::sync().json(&batch), "too_many_operations");
    assert_eq!(phone.sync(&json!({"item": {"create": [create, create]}})).expect_ok()["revision"], 1);
}

#[test]
fn a_store_that_is_away() {
    let mut mongod = Mongod::start(Topology::Lone);
    let server = Server::start(&Setup::at(&mongod));
    let phone = Phone::new(&server);
    mongod.kill();
    assert_error(&phone, Request::sync().json(&one_item()), "store_unavailable");
    let health = || Request::new("GET", "/api/health");
    eventually("health says so", Duration::from_secs(5), || (phone.send(health()).status == 503).then_some(()));
    assert_error(&phone, health(), "store_unavailable");
    mongod.restart();
    eventually("syncs are taken", Duration::from_secs(30), || (phone.sync(&one_item()).status == 200).then_some(()));
}
