//! What a sync would say, without writing anything.

use serde_json::{Value, json};

use crate::harness::{Phone, Request, on_every_engine};

fn validate(phone: &Phone, batch: &Value) -> Value {
    phone.send(Request::new("POST", "/api/sync/validate").json(batch)).expect_ok()
}

/// The groups as (paths, clean).
fn groups(answer: &Value) -> Vec<(String, bool)> {
    let path = |path: &Value| path.as_str().unwrap().trim_start_matches('/').to_owned();
    let paths = |group: &Value| group["operations"].as_array().unwrap().iter().map(path).collect::<Vec<_>>().join(" ");
    let groups = answer["groups"].as_array().unwrap();
    groups.iter().map(|group| (paths(group), group["clean"].as_bool().unwrap())).collect()
}

fn expect_groups(answer: &Value, expected: &[(&str, bool)]) {
    let expected: Vec<_> = expected.iter().map(|(paths, clean)| ((*paths).to_owned(), *clean)).collect();
    assert_eq!(groups(answer), expected, "{answer}");
}

on_every_engine! {
    fn a_good_batch_is_told_as_a_sync_would_and_not_written(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({
            "item": {"create": [{"_id": 1, "name": "Tea", "price": 10, "stock": 1, "colour": "green"}]},
            "invoice": {"create": [{"_id": 1, "products": [{"productId": 1, "quantity": 2}]}]},
            "payment": {"create": [{"invoiceId": 1, "amount": 20}]},
        });
        let told = validate(&phone, &batch);
        assert_eq!((&told["valid"], &told["errors"]), (&json!(true), &json!([])));
        expect_groups(&told, &[("item/create/0 invoice/create/0 payment/create/0", true)]);
        let pulled = phone.pull().expect_ok();
        assert_eq!((&pulled["revision"], &pulled["data"]["items"]), (&json!(0), &json!([])));
        let synced = phone.sync(&batch).expect_ok();
        assert_eq!(told["summary"], synced["summary"]);
        let codes = |answer: &Value| -> Vec<Value> {
            answer["warnings"].as_array().unwrap().iter().map(|w| json!([w["code"], w["path"]])).collect()
        };
        assert_eq!(codes(&told), codes(&synced));
        assert_eq!(codes(&told).len(), 2);
    }

    fn problems_of_shape_and_of_the_records_are_told_together(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({
            "item": {"create": [{"name": "Tea"}, {"name": "Bun", "price": 1}], "delete": ["nothing"]},
            "payment": {"create": "none"},
        });
        let told = validate(&phone, &batch);
        let errors = told["errors"].as_array().unwrap().iter();
        let errors: Vec<_> = errors.map(|e| json!([e["path"], e["code"]])).collect();
        assert_eq!(errors, [
            json!(["/payment/create", "wrong_type"]), json!(["/item/create/0/price", "missing"]),
            json!(["/item/delete/0", "not_found"]),
        ]);
        assert_eq!((&told["valid"], &told["summary"]["itemsCreated"]), (&json!(false), &json!(0)));
        expect_groups(&told, &[("item/create/0", false), ("item/create/1", true), ("item/delete/0", false)]);
    }

    fn clean_groups_are_batches_of_their_own(server: &Server) {
        let phone = Phone::new(server);
        let shop = json!({
            "item": {"create": [{"localId": "tea", "name": "Tea", "price": 10, "stock": 9}]},
            "invoice": {"create": [{"localId": "bill", "products": [{"itemName": "Old", "costPerUnit": 5, "quantity": 1}]}]},
        });
        let shop = phone.sync(&shop).expect_ok();
        let (tea, bill) = (&shop["synced"]["itemsCreated"][0], &shop["synced"]["invoicesCreated"][0]);
        let batch = json!({
            "item": {
                "create": [{"_id": 1, "name": "Bun", "price": 2}, {"_id": 2, "name": "Jam", "price": 3}],
                "update": [{"_id": tea, "price": 11}, {"_id": "2", "price": 4}],
                "delete": ["nothing", "tea"],
            },
            "invoice": {"create": [
                {"_id": 1, "products": [{"productId": 1, "quantity": 1}]},
                {"_id": 2, "products": [{"productId": 2, "quantity": 1}, {"productId": "nowhere", "quantity": 1}]},
            ]},
            "payment": {"create": [
                {"invoiceId": bill, "amount": 3}, {"invoiceId": "bill", "amount": 3}, {"invoiceId": 1, "amount": 2},
                {"invoiceId": 2, "amount": 1}, {"invoiceId": "nowhere", "amount": 1},
            ]},
        });
        let told = validate(&phone, &batch);
        expect_groups(&told, &[
            ("item/create/0 invoice/create/0 payment/create/2", true),
            ("item/create/1 item/update/1 invoice/create/1 payment/create/3", false),
            ("item/update/0 item/delete/1", true),
            ("item/delete/0", false),
            ("payment/create/0 payment/create/1", false),
            ("payment/create/4", false),
        ]);
        let at = |path: &Value| batch.pointer(path.as_str().unwrap()).unwrap().clone();
        for group in told["groups"].as_array().unwrap() {
            let mut alone = json!({
                "item": {"create": [], "update": [], "delete": []}, "invoice": {"create": []}, "payment": {"create": []},
            });
            for path in group["operations"].as_array().unwrap() {
                let (list, _) = path.as_str().unwrap().rsplit_once('/').unwrap();
                alone.pointer_mut(list).unwrap().as_array_mut().unwrap().push(at(path));
            }
            let status = if group["clean"] == json!(true) { 200 } else { 422 };
            assert_eq!(phone.sync(&alone).status, status, "{alone}");
        }
    }

    fn more_problems_than_are_told_still_count(server: &Server) {
        let phone = Phone::new(server);
        let mut items = vec![json!({"name": "Tea"}); 150];
        items.push(json!({"name": "Tea", "price": 1}));
        let told = validate(&phone, &json!({"item": {"create": items}}));
        assert_eq!(told["errors"].as_array().unwrap().len(), 100);
        assert_eq!(groups(&told).iter().filter(|(_, clean)| *clean).count(), 1);
        let deletes: Vec<_> = (0..150).map(|index| format!("nothing-{index}")).collect();
        let told = validate(&phone, &json!({"item": {"delete": deletes}}));
        assert!(groups(&told).iter().all(|(_, clean)| !clean));
    }

    fn what_is_known_is_told_as_applied(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": [{"localId": "tea", "name": "Tea", "price": 10}]}});
        phone.sync_with_key(&batch, "k").expect_ok();
        let told = validate(&phone, &batch);
        assert_eq!((&told["valid"], &told["summary"]["alreadyApplied"]), (&json!(true), &json!(1)));
        assert_eq!(told["warnings"][0]["code"], json!("already_applied"));
        let with_key = |batch: &Value| {
            let request = Request::new("POST", "/api/sync/validate").header("X-Idempotency-Key", "k");
            phone.send(request.json(batch)).expect_ok()
        };
        assert_eq!(with_key(&batch)["summary"]["itemsCreated"], json!(1), "what the replay would tell");
        let other = with_key(&json!({"item": {"delete": ["tea"]}}));
        assert_eq!((&other["valid"], &other["errors"][0]["code"]), (&json!(false), &json!("idempotency_key_reused")));
        // `since` is no part of the payload, but a sync would refuse its shape all the same.
        let mut misshapen = batch.clone();
        misshapen["since"] = json!({});
        let refused = with_key(&misshapen);
        assert_eq!((&refused["valid"], &refused["errors"][0]["path"]), (&json!(false), &json!("/since")));
        phone.sync_with_key(&misshapen, "k").expect_error(400, "invalid_batch");
    }

    fn what_is_no_batch_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for (body, status, code) in [
            ("[]", 400, "invalid_batch"), ("{", 400, "malformed_json"), ("7", 400, "invalid_batch"),
            (r#"{"clientId": "64b0000000000000000000ff"}"#, 403, "client_mismatch"),
        ] {
            phone.send(Request::new("POST", "/api/sync/validate").body(body)).expect_error(status, code);
        }
        assert_eq!(validate(&phone, &json!({}))["groups"], json!([]));
        phone.send(Request::new("POST", "/api/sync/validate").without_token()).expect_error(401, "unauthorized");
    }

    fn records_of_others_are_not_there(server: &Server) {
        let (owner, other) = (Phone::new(server), Phone::new(server));
        let batch = json!({"item": {"create": [{"localId": "tea", "name": "Tea", "price": 10}]}});
        let tea = owner.sync_with_key(&batch, "k").expect_ok()["synced"]["itemsCreated"][0].clone();
        for reference in [&tea, &json!("tea")] {
            let told = validate(&other, &json!({"item": {"delete": [reference]}}));
            assert_eq!(told["errors"][0]["code"], json!("not_found"));
        }
    }
}
