//! A retry asks for its own data; the receipt is that of the first time.

use serde_json::{Value, json};

use super::copy::{Copy, cursor_of, mode_of, shown, since};
use crate::harness::{Answer, Phone, Server, Setup, on_every_engine};

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"_id": 1, "name": name, "price": 10, "colour": "green"}]}})
}

fn asking(batch: &Value, cursor: Option<&str>, data: Option<&str>) -> Value {
    let mut body = batch.clone();
    body["since"] = cursor.into();
    body["data"] = data.into();
    body
}

#[track_caller]
fn assert_same_receipt(answer: &Answer, first: &Value) -> Value {
    assert_eq!(answer.header("Idempotency-Replayed").as_deref(), Some("true"));
    let answer = answer.expect_ok();
    for member in ["summary", "synced", "idMap", "warnings", "revision"] {
        assert_eq!(answer[member], first[member], "{member}");
    }
    answer
}

/// Every way to ask, by what must come of it, if a cursor is known.
const WAYS: [(bool, Option<&str>, &str); 4] = [
    (false, None, "full: no_cursor"),
    (true, None, "delta"),
    (false, Some("none"), "none"),
    (true, Some("none"), "none"),
];

on_every_engine! {
    fn the_payload_is_the_same_whatever_data_is_asked_for(server: &Server) {
        for (first_cursor, first_data, first_mode) in WAYS {
            let phone = Phone::new(server);
            let known = cursor_of(&phone.pull().expect_ok());
            let ask = |cursor: bool, data| asking(&item("Tea"), cursor.then_some(known.as_str()), data);
            let first = phone.sync_with_key(&ask(first_cursor, first_data), "k");
            assert_eq!(first.header("Idempotency-Replayed"), None);
            let first = first.expect_ok();
            assert_eq!(mode_of(&first), first_mode);
            for (cursor, data, mode) in WAYS {
                let again = assert_same_receipt(&phone.sync_with_key(&ask(cursor, data), "k"), &first);
                assert_eq!(mode_of(&again), mode, "after {first_mode}");
                if mode != "none" {
                    assert_eq!(shown(&again)["items"].len(), 1, "{mode} after {first_mode}");
                }
            }
            let plain = assert_same_receipt(&phone.sync_with_key(&item("Tea"), "k"), &first);
            assert_eq!(mode_of(&plain), "full: no_cursor");
            let other = asking(&item("Bun"), Some(&known), None);
            phone.sync_with_key(&other, "k").expect_error(422, "idempotency_key_reused");
            assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
        }
    }

    fn a_replay_shows_what_changed_since_its_own_cursor(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync_with_key(&item("Tea"), "k").expect_ok();
        let after_first = cursor_of(&first);
        let second = phone.sync(&item("Bun")).expect_ok();
        let answer = phone.sync_with_key(&asking(&item("Tea"), Some(&after_first), None), "k");
        let answer = assert_same_receipt(&answer, &first);
        assert_eq!(shown(&answer)["items"], [second["synced"]["itemsCreated"][0].as_str().unwrap()]);
        assert_eq!(cursor_of(&answer), cursor_of(&second), "the cursor is of the data, not of the batch");
        let answer = phone.sync_with_key(&asking(&item("Tea"), Some(&cursor_of(&second)), None), "k");
        assert!(shown(&assert_same_receipt(&answer, &first)).is_empty());
        let answer = phone.sync_with_key(&asking(&item("Tea"), Some("nonsense"), None), "k");
        let answer = assert_same_receipt(&answer, &first);
        assert_eq!((mode_of(&answer).as_str(), shown(&answer)["items"].len()), ("full: cursor_unknown", 2));
    }

    fn a_lost_answer_is_made_good_by_the_retry(server: &Server) {
        let phone = Phone::new(server);
        let mut copy = Copy::new();
        copy.take_in(&phone.sync(&item("Tea")).expect_ok()).unwrap();
        for number in 0..4 {
            let (body, key) = (since(&item("Bun"), copy.cursor.clone()), format!("k{number}"));
            phone.sync_with_key(&body, &key).expect_ok(); // and it never arrives
            phone.sync(&item("Jam")).expect_ok(); // by the shop's other phone
            copy.take_in(&phone.sync_with_key(&body, &key).expect_ok()).unwrap();
            assert_eq!(copy.data(), phone.pull().expect_ok()["data"]);
        }
    }

    fn requests_at_once_under_one_key_are_answered_as_each_asks(server: &Server) {
        let phone = Phone::new(server);
        let known = cursor_of(&phone.sync(&item("Before")).expect_ok());
        let answers: Vec<_> = std::thread::scope(|scope| {
            let send = |number: usize| {
                let (cursor, data, mode) = WAYS[number % WAYS.len()];
                let body = asking(&item("Tea"), cursor.then_some(known.as_str()), data);
                let phone = Phone::of(server, &phone.client);
                scope.spawn(move || (phone.sync_with_key(&body, "k"), mode))
            };
            let sent: Vec<_> = (0..24).map(send).collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        });
        let first_hand = answers.iter().filter(|(answer, _)| answer.header("Idempotency-Replayed").is_none()).count();
        assert_eq!(first_hand, 1);
        for (answer, mode) in answers {
            let answer = answer.expect_ok();
            assert_eq!((mode_of(&answer).as_str(), &answer["revision"]), (mode, &json!(2)));
            match mode {
                "none" => {}
                "delta" => assert_eq!(shown(&answer)["items"].len(), 1),
                _ => assert_eq!(shown(&answer)["items"].len(), 2),
            }
        }
        assert_eq!(phone.pull().expect_ok()["revision"], json!(2));
    }
}

#[test]
fn a_receipt_that_outlives_the_server_is_replayed_with_a_delta() {
    for engine in [crate::harness::Engine::Embedded, crate::harness::Engine::SoleWriter] {
        let mut server = Server::start_ready(&Setup::on(engine));
        let phone = Phone::new(&server);
        let known = cursor_of(&phone.pull().expect_ok());
        let body = asking(&item("Tea"), Some(&known), None);
        let first = phone.sync_with_key(&body, "k").expect_ok();
        server.restart_ready();
        let phone = Phone::of(&server, &phone.client);
        let again = assert_same_receipt(&phone.sync_with_key(&body, "k"), &first);
        assert_eq!((mode_of(&again).as_str(), &again["data"]), ("delta", &first["data"]));
    }
}
