//! What an answer says of its data, and what a request may ask for.

use serde_json::{Value, json};

use super::copy::{cursor_of, mode_of, pull_since, shown, since};
use crate::harness::{Phone, Request, Server, on_every_engine};

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"name": name, "price": 10}]}})
}

fn with_data(batch: &Value, data: impl Into<Value>) -> Value {
    let mut body = batch.clone();
    body["data"] = data.into();
    body
}

/// A phone of a shop with one item, and the cursor of that state.
fn shop(server: &Server) -> (Phone, String) {
    let phone = Phone::new(server);
    let cursor = cursor_of(&phone.sync(&item("Tea")).expect_ok());
    (phone, cursor)
}

on_every_engine! {
    fn an_answer_tells_its_cursor_and_mode_between_revision_and_data(server: &Server) {
        let phone = Phone::new(server);
        for answer in [phone.pull(), phone.sync(&item("Tea")), phone.sync_with_key(&item("Bun"), "k")] {
            let text = String::from_utf8_lossy(&answer.bytes).into_owned();
            assert_eq!(mode_of(&answer.expect_ok()), "full: no_cursor");
            let members = ["\"revision\":", "\"cursor\":", "\"dataMode\":", "\"fullSyncReason\":", "\"data\":"];
            let places = members.map(|member| text.find(member).unwrap_or_else(|| panic!("no {member} in {text}")));
            assert!(places.is_sorted(), "{text}");
        }
    }

    fn a_delta_tells_its_cursor_and_mode_between_revision_and_data(server: &Server) {
        let (phone, cursor) = shop(server);
        let answer = phone.sync(&since(&item("Bun"), cursor));
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!(mode_of(&answer.expect_ok()), "delta");
        let places = ["\"revision\":", "\"cursor\":", "\"dataMode\":", "\"data\":"].map(|member| text.find(member).unwrap());
        assert!(places.is_sorted(), "{text}");
    }

    fn absent_and_null_are_the_same(server: &Server) {
        let (phone, cursor) = shop(server);
        let null = json!({"since": null, "data": null});
        assert_eq!(phone.sync(&null).bytes, phone.pull().bytes);
        let answer = phone.sync(&json!({"since": cursor, "data": null})).expect_ok();
        assert_eq!(mode_of(&answer), "delta");
    }

    fn the_first_cursor_is_of_an_empty_shop(server: &Server) {
        let phone = Phone::new(server);
        let empty = cursor_of(&phone.pull().expect_ok());
        assert!(shown(&pull_since(&phone, &empty)).is_empty());
        let made = phone.sync(&since(&item("Tea"), empty.clone())).expect_ok();
        assert_eq!((mode_of(&made).as_str(), shown(&made).len()), ("delta", 1));
        assert_eq!(pull_since(&phone, &empty)["data"], made["data"]);
    }

    fn the_receipt_alone_comes_when_it_is_asked_for(server: &Server) {
        let (phone, cursor) = shop(server);
        let full = phone.sync_with_key(&item("Bun"), "k").expect_ok();
        let receipt = phone.sync_with_key(&with_data(&item("Bun"), "none"), "k");
        assert_eq!(receipt.header("Idempotency-Replayed").as_deref(), Some("true"));
        let receipt = receipt.expect_ok();
        assert_eq!(mode_of(&receipt), "none");
        for member in ["success", "message", "summary", "synced", "idMap", "warnings", "revision"] {
            assert_eq!(receipt[member], full[member], "{member}");
        }
        // It wins over a cursor of any kind, and the batch is applied all the same.
        for (number, known) in [cursor.as_str(), "nonsense"].into_iter().enumerate() {
            let answer = phone.sync(&since(&with_data(&item("Jam"), "none"), known)).expect_ok();
            assert_eq!((mode_of(&answer).as_str(), &answer["revision"]), ("none", &json!(3 + number)));
        }
        let nothing = phone.sync(&json!({"data": "none"})).expect_ok();
        assert_eq!((mode_of(&nothing).as_str(), &nothing["revision"]), ("none", &json!(4)), "the newest revision");
        assert_eq!(shown(&pull_since(&phone, &cursor))["items"].len(), 3);
    }

    fn other_types_are_refused_and_nothing_is_applied(server: &Server) {
        let (phone, _) = shop(server);
        for wrong in [json!(1), json!(0.5), json!(true), json!({}), json!([]), json!(["x"])] {
            let refused = phone.sync(&since(&item("Bun"), wrong.clone())).expect_error(400, "invalid_batch");
            let error = &refused["errors"][0];
            assert_eq!((&error["path"], &error["code"]), (&json!("/since"), &json!("wrong_type")), "{wrong}");
            assert_eq!(error["message"], json!("since must be a string"), "{wrong}");
            assert_eq!(refused["errors"].as_array().unwrap().len(), 1, "{wrong}");
        }
        for wrong in [json!("all"), json!("None"), json!(""), json!("none "), json!(0), json!(false), json!({}), json!([])] {
            let refused = phone.sync(&with_data(&item("Bun"), wrong.clone())).expect_error(400, "invalid_batch");
            assert_eq!(refused["errors"][0]["path"], json!("/data"), "{wrong}");
            assert_eq!(refused["errors"].as_array().unwrap().len(), 1, "{wrong}");
            phone.sync(&json!({"data": wrong})).expect_error(400, "invalid_batch");
        }
        let pull = phone.pull().expect_ok();
        assert_eq!((&pull["revision"], shown(&pull)["items"].len()), (&json!(1), 1));
    }

    fn all_that_is_wrong_is_told_at_once(server: &Server) {
        let phone = Phone::new(server);
        let body = json!({"since": 7, "data": 7, "item": {"create": [{"name": "Tea"}]}});
        let refused = phone.sync(&body).expect_error(400, "invalid_batch");
        let mut paths: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|e| e["path"].clone()).collect();
        paths.sort_by_key(Value::to_string);
        assert_eq!(paths, [json!("/data"), json!("/item/create/0/price"), json!("/since")]);
    }

    fn a_text_that_is_no_cursor_brings_everything_and_the_batch_is_applied(server: &Server) {
        let (phone, own) = shop(server);
        let (_, other_clients) = shop(server);
        let long = "x".repeat(100_000);
        let texts = ["", " ", "x", "é", "\u{0}", "null", "0", &own[1..], &long, &other_clients, &own.repeat(2)];
        for (number, text) in texts.into_iter().enumerate() {
            let answer = phone.sync(&since(&item("Bun"), text)).expect_ok();
            let shown = shown(&answer)["items"].len();
            assert_eq!(mode_of(&answer), "full: cursor_unknown", "{text:?}");
            assert_eq!((&answer["revision"], shown), (&json!(number + 2), number + 2), "{text:?}");
            assert_eq!(answer["warnings"], json!([]), "{text:?}");
        }
    }

    fn warnings_are_of_other_members_only(server: &Server) {
        let (phone, cursor) = shop(server);
        let body = json!({"since": cursor, "data": "none", "sinc": 1, "item": {"since": 1, "create": [{"name": "Bun", "price": 1, "data": "none"}]}});
        let answer = phone.sync(&body).expect_ok();
        let mut paths: Vec<_> = answer["warnings"].as_array().unwrap().iter().map(|w| w["path"].clone()).collect();
        paths.sort_by_key(Value::to_string);
        assert_eq!(paths, [json!("/item/create/0/data"), json!("/item/since"), json!("/sinc")]);
    }

    fn the_other_requests_take_both_members(server: &Server) {
        let (phone, cursor) = shop(server);
        let body = json!({"since": cursor, "data": "none", "item": {"create": [{"name": "Bun", "price": 1}]}});
        let told = phone.send(Request::new("POST", "/api/sync/validate").json(&body)).expect_ok();
        assert_eq!((&told["valid"], &told["warnings"], &told["errors"]), (&json!(true), &json!([]), &json!([])));
        assert!(told.get("data").is_none() && told.get("cursor").is_none(), "{told}");
        let ready = json!({"clientId": phone.client, "since": cursor, "data": "none"});
        let told = phone.send(Request::new("POST", "/api/readytosync").json(&ready)).expect_ok();
        assert_eq!(told, json!({"success": true, "message": "Ready to sync", "clientId": phone.client}));
    }

    fn a_refused_batch_says_nothing_of_data(server: &Server) {
        let (phone, cursor) = shop(server);
        for (body, status) in [(json!({"item": {"delete": ["nothing"]}}), 422), (json!({"item": {"create": [{}]}}), 400)] {
            let refused = phone.sync(&since(&body, cursor.as_str()));
            assert_eq!(refused.status, status);
            let mut members: Vec<_> = refused.json().as_object().unwrap().keys().cloned().collect();
            members.sort();
            assert_eq!(members, ["code", "errors", "message", "requestId", "success"]);
        }
        assert!(shown(&pull_since(&phone, &cursor)).is_empty());
    }
}
