//! A batch under a key is applied once, whatever happens.

use serde_json::{Value, json};

use crate::harness::{Engine, Phone, Request, Server, Setup, on_every_engine};

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"_id": 1, "name": name, "price": 10}]}})
}

fn items(answer: &Value) -> usize {
    answer["data"]["items"].as_array().unwrap().len()
}

on_every_engine! {
    fn a_replay_is_byte_for_byte_while_nothing_else_happened(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync_with_key(&item("Tea"), "k");
        assert_eq!(first.header("Idempotency-Replayed"), None);
        for _ in 0..3 {
            let again = phone.sync_with_key(&item("Tea"), "k");
            assert_eq!(again.header("Idempotency-Replayed").as_deref(), Some("true"));
            assert_eq!(again.bytes, first.bytes);
        }
        assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
    }

    fn a_replay_after_other_batches_has_the_old_receipt_and_the_new_data(server: &Server) {
        let phone = Phone::new(server);
        let mut batch = item("Tea");
        batch["item"]["create"][0]["colour"] = json!("green");
        let first = phone.sync_with_key(&batch, "k").expect_ok();
        phone.sync(&item("Bun")).expect_ok();
        let answer = phone.sync_with_key(&batch, "k");
        assert_eq!(answer.header("Idempotency-Replayed").as_deref(), Some("true"));
        let again = answer.expect_ok();
        for member in ["summary", "synced", "idMap", "warnings", "revision"] {
            assert_eq!(again[member], first[member], "{member}");
        }
        assert_eq!((items(&first), items(&again)), (1, 2));
    }

    fn another_spelling_of_the_payload_is_the_same_payload(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync_with_key(&item("Té"), "k").expect_ok();
        let spellings = [
            r#" {"item" : {"create":[ {"price":10.0,"name":"T\u00e9","_id":1} ]}} "#.to_owned(),
            r#"{"item":{"create":[{"_id":1.0,"name":"Té","price":1e1}]}}"#.to_owned(),
            format!(r#"{{"clientId":"{}","item":{{"create":[{{"_id":1,"name":"Té","price":10}}]}}}}"#, phone.client),
        ];
        for spelling in spellings {
            let request = Request::sync().header("X-Idempotency-Key", "k").body(spelling.as_str());
            assert_eq!(phone.send(request).expect_ok(), first, "{spelling}");
        }
    }

    fn another_payload_under_the_key_is_refused(server: &Server) {
        let phone = Phone::new(server);
        phone.sync_with_key(&item("Tea"), "k").expect_ok();
        for other in [item("Bun"), json!({"item": {"create": [{"_id": "2", "name": "Tea", "price": 10}]}})] {
            phone.sync_with_key(&other, "k").expect_error(422, "idempotency_key_reused");
        }
        let pull = phone.pull().expect_ok();
        assert_eq!((items(&pull), &pull["revision"]), (1, &json!(1)));
    }

    fn a_refused_batch_leaves_its_key_free(server: &Server) {
        let phone = Phone::new(server);
        phone.sync_with_key(&json!({"item": {"create": [{"price": 1}]}}), "k").expect_error(400, "invalid_batch");
        phone.sync_with_key(&json!({"item": {"delete": ["nothing"]}}), "k").expect_error(422, "batch_rejected");
        let answer = phone.sync_with_key(&item("Tea"), "k");
        assert_eq!((answer.header("Idempotency-Replayed"), &answer.expect_ok()["revision"]), (None, &json!(1)));
    }

    fn a_rejected_batch_is_planned_anew_when_it_is_sent_again(server: &Server) {
        let phone = Phone::new(server);
        let sale = json!({"item": {"update": [{"_id": "650000000000000000000001", "price": 1}]}});
        phone.sync_with_key(&sale, "k").expect_error(422, "batch_rejected");
        phone.sync_with_key(&sale, "k").expect_error(422, "batch_rejected");
    }

    fn the_key_comes_by_either_name(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync_with_key(&item("Tea"), "k").expect_ok();
        for (name, value) in [("Idempotency-Key", "k"), ("Idempotency-Key", "\"k\""), ("X-Idempotency-Key", "\"k\"")] {
            let answer = phone.send(Request::sync().header(name, value).json(&item("Tea")));
            assert_eq!(answer.expect_ok(), first, "{name}: {value}");
        }
        let both = Request::sync().header("Idempotency-Key", "\"k\"").header("X-Idempotency-Key", "k");
        assert_eq!(phone.send(both.json(&item("Tea"))).expect_ok(), first);
    }

    fn a_key_is_its_clients_own(server: &Server) {
        let (one, other) = (Phone::new(server), Phone::new(server));
        one.sync_with_key(&item("Tea"), "k").expect_ok();
        let answer = other.sync_with_key(&item("Tea"), "k");
        assert_eq!(answer.header("Idempotency-Replayed"), None);
        let other_items = answer.expect_ok()["data"]["items"].clone();
        assert_ne!(other_items[0]["_id"], one.pull().expect_ok()["data"]["items"][0]["_id"]);
    }

    fn forty_requests_at_once_apply_once(server: &Server) {
        let phone = Phone::new(server);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let batch = item("Tea");
            let send = |_| {
                let (phone, batch) = (Phone::of(server, &phone.client), batch.clone());
                scope.spawn(move || phone.sync_with_key(&batch, "k"))
            };
            let sent: Vec<_> = (0..40).map(send).collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        });
        let first_hand = answers.iter().filter(|answer| answer.header("Idempotency-Replayed").is_none()).count();
        assert_eq!(first_hand, 1);
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.bytes == answers[0].bytes));
        assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
    }

    fn an_empty_batch_does_not_use_up_its_key(server: &Server) {
        let phone = Phone::new(server);
        for _ in 0..2 {
            let answer = phone.sync_with_key(&json!({"item": {"create": []}}), "k");
            assert_eq!((answer.header("Idempotency-Replayed"), &answer.expect_ok()["revision"]), (None, &json!(0)));
        }
        assert_eq!(phone.sync_with_key(&item("Tea"), "k").expect_ok()["revision"], json!(1));
    }
}

#[test]
fn a_receipt_outlives_the_server() {
    for engine in [Engine::Embedded, Engine::ReplicaSet, Engine::LoneMongod] {
        let mut server = Server::start(&Setup::on(engine));
        let phone = Phone::new(&server);
        let first = phone.sync_with_key(&item("Tea"), "k").expect_ok();
        server.restart();
        let phone = Phone::of(&server, &phone.client);
        let again = phone.sync_with_key(&item("Tea"), "k");
        assert_eq!(again.header("Idempotency-Replayed").as_deref(), Some("true"));
        assert_eq!(again.expect_ok(), first);
        phone.sync_with_key(&item("Bun"), "k").expect_error(422, "idempotency_key_reused");
    }
}

#[test]
fn a_server_may_ask_for_keys() {
    let server = Server::start(&Setup::embedded().env("REQUIRE_IDEMPOTENCY_KEY", "true"));
    let phone = Phone::new(&server);
    phone.sync(&item("Tea")).expect_error(400, "idempotency_key_required");
    assert_eq!(phone.pull().expect_ok()["revision"], json!(0));
    phone.sync_with_key(&item("Tea"), "k").expect_ok();
}
