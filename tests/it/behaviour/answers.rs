//! What a good answer looks like: codings, headers, and the order of its members.

use std::io::Read;

use serde_json::{Value, json};

use super::errors::refuse;
use crate::harness::{Engine, Phone, Request, Server, Setup, on_every_engine};

/// A phone whose dataset takes some tens of kilobytes.
fn phone_with_much_data(server: &Server) -> Phone {
    let phone = Phone::new(server);
    let items: Vec<Value> = (0..200).map(|n| json!({"name": format!("Tea no. {n}"), "price": n})).collect();
    phone.sync(&json!({"item": {"create": items}})).expect_ok();
    phone
}

/// A pull that accepts these codings.
fn pull_accepting(codings: &str) -> Request {
    Request::sync().header("Accept-Encoding", codings)
}

/// Decodes a body of this coding.
fn decode(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        None => decoded.extend_from_slice(bytes),
        Some("gzip") => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded).unwrap()),
        Some("zstd") => drop(zstd::Decoder::new(bytes).unwrap().read_to_end(&mut decoded).unwrap()),
        Some(other) => panic!("nobody asked for {other}"),
    }
    decoded
}

on_every_engine! {
    fn a_large_answer_has_the_coding_that_was_asked_for(server: &Server) {
        let phone = phone_with_much_data(server);
        let plain = phone.pull();
        assert_eq!(plain.header("Content-Encoding"), None);
        for (accepted, coding) in [
            ("gzip", Some("gzip")),
            ("br", Some("br")),
            ("zstd", Some("zstd")),
            ("GZIP", Some("gzip")),
            ("gzip, deflate, br", Some("gzip")),
            ("deflate, gzip;q=0.5, br;q=0.8", Some("br")),
            ("zstd;q=0.1, gzip;q=0.9", Some("gzip")),
            ("zstd;q=0, gzip;q=0.001", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.1, identity;q=0.5", None),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("deflate", None),
            ("", None),
            ("gzip;q=x, ;;,,=", Some("gzip")),
        ] {
            let answer = phone.send(pull_accepting(accepted));
            assert_eq!(answer.status, 200, "{accepted}");
            assert_eq!(answer.header("Content-Encoding").as_deref(), coding, "{accepted}");
            assert_eq!(answer.header("Content-Length"), Some(answer.bytes.len().to_string()), "{accepted}");
            assert!(decode(coding, &answer.bytes) == plain.bytes, "{accepted}: other bytes than without a coding");
            assert_eq!(answer.bytes.len() < plain.bytes.len() / 2, coding.is_some(), "{accepted}");
        }
    }

    fn codings_may_be_spread_over_several_headers(server: &Server) {
        let phone = phone_with_much_data(server);
        let answer = phone.send(pull_accepting("identity;q=0.1").header("Accept-Encoding", "br"));
        assert_eq!(answer.header("Content-Encoding").as_deref(), Some("br"));
    }

    fn a_replay_may_have_another_coding(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": vec![json!({"name": "Tea", "price": 1}); 100]}});
        let sync = || Request::sync().header("Idempotency-Key", "key").json(&batch);
        let first = phone.send(sync());
        let replay = phone.send(sync().header("Accept-Encoding", "zstd"));
        assert_eq!(replay.header("Idempotency-Replayed").as_deref(), Some("true"));
        assert_eq!(replay.header("Content-Encoding").as_deref(), Some("zstd"));
        assert!(decode(Some("zstd"), &replay.bytes) == first.bytes);
    }

    fn a_small_answer_is_not_compressed(server: &Server) {
        let phone = Phone::new(server);
        let answer = phone.send(pull_accepting("gzip, br, zstd"));
        assert_eq!(answer.header("Content-Encoding"), None);
        assert_eq!(answer.expect_ok()["revision"], 0);
    }

    fn an_answer_says_what_it_is_and_what_it_varies_by(server: &Server) {
        let phone = phone_with_much_data(server);
        for answer in [phone.pull(), phone.send(pull_accepting("gzip")), Phone::new(server).pull()] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
            assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"));
        }
    }

    fn an_empty_answer_is_this_to_the_letter(server: &Server) {
        let answer = Phone::new(server).pull();
        let expected = concat!(
            r#"{"success":true,"message":"Sync completed successfully","#,
            r#""summary":{"itemsCreated":0,"itemsUpdated":0,"itemsDeleted":0,"#,
            r#""invoicesCreated":0,"paymentsCreated":0,"alreadyApplied":0},"#,
            r#""synced":{"itemsCreated":[],"itemsUpdated":[],"itemsDeleted":[],"#,
            r#""invoicesCreated":[],"paymentsCreated":[]},"#,
            r#""idMap":{"items":{},"invoices":{},"payments":{}},"warnings":[],"revision":0,"#,
            r#""cursor":"CURSOR","dataMode":"full","fullSyncReason":"no_cursor","#,
            r#""data":{"itemGroups":[],"items":[],"clientCustomers":[],"#,
            r#""invoices":[],"payments":[],"purchaseHistory":[]}}"#,
        );
        let cursor = answer.json()["cursor"].as_str().unwrap().to_owned();
        assert_eq!(String::from_utf8_lossy(&answer.bytes).replace(&cursor, "CURSOR"), expected);
    }

    fn an_answer_begins_with_success_message_and_summary(server: &Server) {
        let answer = Phone::new(server).sync(&json!({"item": {"create": [{"name": "Tea", "price": 1}]}}));
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        let head = r#"{"success":true,"message":"Sync completed successfully","summary":{"itemsCreated":1,"#;
        assert!(text.starts_with(head), "{text}");
        let members = ["\"summary\":", "\"synced\":", "\"idMap\":", "\"warnings\":", "\"revision\":", "\"data\":"];
        let places = members.map(|member| text.find(member).unwrap());
        assert!(places.is_sorted(), "{text}");
    }

    fn no_body_an_empty_one_and_empty_lists_are_a_pull(server: &Server) {
        let phone = Phone::new(server);
        for body in [
            "{}",
            r#"{"item":null,"invoice":null,"payment":null}"#,
            r#"{"item":{},"invoice":{},"payment":{}}"#,
            r#"{"item":{"create":null,"update":[],"delete":null},"invoice":{"create":[]},"payment":{"create":null}}"#,
            " \r\n\t{ } \n",
        ] {
            let answer = phone.send(Request::sync().body(body));
            assert_eq!(answer.bytes, phone.pull().bytes, "{body}");
        }
        assert_eq!(phone.pull().expect_ok()["revision"], 0);
    }

    fn health_needs_no_token_and_has_five_fields(server: &Server) {
        let answer = Phone::new(server).send(Request::new("GET", "/api/health").without_token());
        let body = answer.expect_ok();
        assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["engine", "status", "success", "transactional", "version"], "{body}");
        assert_eq!(body["success"], json!(true));
        assert_eq!(body["status"], "ok");
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    }

    fn a_phone_with_a_good_token_is_ready(server: &Server) {
        let phone = Phone::new(server);
        let expected = json!({"success": true, "message": "Ready to sync", "clientId": phone.client});
        for body in ["", "{}", r#"{"more":[1,2,3]}"#] {
            let answer = phone.send(Request::new("POST", "/api/readytosync").body(body));
            assert_eq!(answer.expect_ok(), expected, "{body}");
            assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
        }
    }

    fn being_ready_is_asked_with_an_object_or_nothing(server: &Server) {
        let phone = Phone::new(server);
        let ready = |body: &str| Request::new("POST", "/api/readytosync").body(body);
        for body in ["[]", "null", "1", "\"\""] {
            refuse(&phone, ready(body), 400, "invalid_batch");
        }
        for body in ["{", " ", "{}{}", "nothing"] {
            refuse(&phone, ready(body), 400, "malformed_json");
        }
    }

    fn a_route_has_one_method(server: &Server) {
        let phone = Phone::new(server);
        for path in ["/api/sync", "/api/readytosync"] {
            for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
                refuse(&phone, Request::new(method, path), 405, "method_not_allowed");
                refuse(&phone, Request::new(method, path).without_token(), 405, "method_not_allowed");
            }
        }
        for method in ["POST", "PUT", "DELETE"] {
            refuse(&phone, Request::new(method, "/api/health"), 405, "method_not_allowed");
        }
    }

    fn what_a_route_allows_is_said(server: &Server) {
        let phone = Phone::new(server);
        for (path, method, allowed) in
            [("/api/sync", "HEAD", "POST"), ("/api/readytosync", "OPTIONS", "POST"), ("/api/health", "POST", "GET, HEAD")]
        {
            let answer = phone.send(Request::new(method, path));
            assert_eq!((answer.status, answer.header("Allow").as_deref()), (405, Some(allowed)), "{method} {path}");
            assert_eq!(answer.bytes.is_empty(), method == "HEAD", "{method} {path}");
        }
    }

    fn any_other_path_is_not_found(server: &Server) {
        let phone = Phone::new(server);
        for path in [
            "/", "/api", "/api/", "/api/sync/", "/api/health/", "/api/Sync", "//api/sync", "/api/sync/x",
            "/api/sync%2F", "/api/../api/sync", "/api/%00", "/sync",
        ] {
            refuse(&phone, Request::new("POST", path), 404, "not_found");
            refuse(&phone, Request::new("GET", path), 404, "not_found");
        }
    }

    fn a_query_does_not_matter(server: &Server) {
        let answer = Phone::new(server).send(Request::new("POST", "/api/sync?clientId=64b000000000000000000001&x=%00"));
        assert_eq!(answer.expect_ok()["revision"], 0);
    }
}

/// What health says of the engine.
fn engine_and_guarantee(engine: Engine) -> (Value, Value) {
    let body = Phone::new(engine.server()).send(Request::new("GET", "/api/health")).expect_ok();
    (body["engine"].clone(), body["transactional"].clone())
}

#[test]
fn health_names_the_embedded_engine() {
    assert_eq!(engine_and_guarantee(Engine::Embedded), (json!("embedded"), json!(true)));
}

#[test]
fn health_names_a_replica_set() {
    assert_eq!(engine_and_guarantee(Engine::ReplicaSet), (json!("mongodb"), json!(true)));
}

#[test]
fn health_warns_of_a_lone_mongod() {
    assert_eq!(engine_and_guarantee(Engine::LoneMongod), (json!("mongodb"), json!(false)));
}

#[test]
fn a_limit_on_bodies_is_none_on_answers() {
    let server = Server::start(&Setup::embedded().env("MAX_BODY_BYTES", "1024"));
    let phone = Phone::new(&server);
    for _ in 0..5 {
        phone.sync(&json!({"item": {"create": vec![json!({"name": "Tea", "price": 1}); 20]}})).expect_ok();
    }
    let answer = phone.pull();
    assert!(answer.bytes.len() > 10_000);
    assert_eq!(answer.expect_ok()["data"]["items"].as_array().unwrap().len(), 100);
}
