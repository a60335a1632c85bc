//! A create with a local id is applied once, under whatever keys it comes, and the local id names its record
//! from then on.

use serde_json::{Value, json};

use crate::harness::{Phone, Request, Server, Setup, on_every_engine};

/// A day of which everything has a local id.
fn day() -> Value {
    json!({
        "item": {"create": [{"localId": "tea", "name": "Tea", "price": 10, "stock": 50}]},
        "invoice": {"create": [{"localId": "bill", "products": [
            {"productId": "tea", "quantity": 3}, {"itemName": "Bun", "costPerUnit": 5, "quantity": 2, "stock": 9},
        ]}]},
        "payment": {"create": [{"localId": "cash", "invoiceId": "bill", "amount": 15}]},
    })
}

fn already_applied(answer: &Value) -> Vec<(&str, bool)> {
    let warnings = answer["warnings"].as_array().unwrap();
    let warnings = warnings.iter().filter(|warning| warning["code"] == "already_applied");
    warnings.map(|warning| (warning["path"].as_str().unwrap(), warning["differs"].as_bool().unwrap())).collect()
}

fn count(applied: [i64; 5], already_applied: i64) -> Value {
    let [items, updated, deleted, invoices, payments] = applied;
    json!({
        "itemsCreated": items, "itemsUpdated": updated, "itemsDeleted": deleted, "invoicesCreated": invoices,
        "paymentsCreated": payments, "alreadyApplied": already_applied,
    })
}

on_every_engine! {
    fn a_day_under_a_new_key_is_applied_once(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync_with_key(&day(), "one").expect_ok();
        assert_eq!(first["summary"], count([2, 0, 0, 1, 1], 0));
        for key in ["two", "three"] {
            let again = phone.sync_with_key(&day(), key);
            assert_eq!(again.header("Idempotency-Replayed"), None, "it is another batch");
            let again = again.expect_ok();
            assert_eq!(again["summary"], count([0; 5], 3));
            for (list, id) in [("itemsCreated", 0), ("invoicesCreated", 0), ("paymentsCreated", 0)] {
                assert_eq!(again["synced"][list], json!([first["synced"][list][id]]), "{list}");
            }
            assert_eq!(again["idMap"], first["idMap"]);
            let places = ["/item/create/0", "/invoice/create/0", "/payment/create/0"];
            assert_eq!(already_applied(&again), places.map(|path| (path, false)));
            assert_eq!((&again["revision"], &again["data"]), (&json!(1), &first["data"]), "nothing was written");
        }
        assert_eq!(phone.sync(&day()).expect_ok()["data"], first["data"], "nor without a key");
        let replay = phone.sync_with_key(&day(), "two");
        assert_eq!(replay.header("Idempotency-Replayed").as_deref(), Some("true"), "its key is used up");
        phone.sync_with_key(&json!({"item": {"delete": ["tea"]}}), "two").expect_error(422, "idempotency_key_reused");
    }

    fn what_is_new_is_applied_beside_what_is_known(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync(&day()).expect_ok();
        let mut more = day();
        more["item"]["create"].as_array_mut().unwrap().insert(0, json!({"localId": "bun", "name": "Bun", "price": 1}));
        more["payment"]["create"].as_array_mut().unwrap().push(json!({"localId": "upi", "invoiceId": "bill", "amount": 25}));
        let answer = phone.sync(&more).expect_ok();
        assert_eq!(answer["summary"], count([1, 0, 0, 0, 1], 3));
        assert_eq!(answer["synced"]["itemsCreated"][1], first["synced"]["itemsCreated"][0], "in operation order");
        assert_eq!(answer["synced"]["paymentsCreated"][0], first["synced"]["paymentsCreated"][0]);
        let invoice = &answer["data"]["invoices"][0];
        assert_eq!((&invoice["paidAmount"], &invoice["isFinalized"]), (&json!(40), &json!(true)));
        assert_eq!((&answer["data"]["items"][0]["stock"], &answer["revision"]), (&json!(47), &json!(2)));
    }

    fn a_local_id_names_its_record_in_later_batches(server: &Server) {
        let phone = Phone::new(server);
        let first = phone.sync(&day()).expect_ok();
        let later = json!({
            "item": {"update": [{"_id": "tea", "price": 11}], "delete": ["tea"]},
            "invoice": {"create": [{"products": [{"productId": "tea", "quantity": 1}]}]},
            "payment": {"create": [{"invoiceId": "bill", "amount": 25}]},
        });
        let answer = phone.sync(&later).expect_ok();
        let tea = &first["synced"]["itemsCreated"][0];
        assert_eq!((&answer["synced"]["itemsUpdated"][0], &answer["synced"]["itemsDeleted"][0]), (tea, tea));
        let (items, invoices) = (&answer["data"]["items"], &answer["data"]["invoices"]);
        assert_eq!((&items[0]["price"], &items[0]["stock"], &items[0]["localId"]), (&json!(11), &json!(46), &json!("tea")));
        assert_eq!((&invoices[0]["isFinalized"], &invoices[1]["products"][0]["productId"]), (&json!(true), tea));
        assert_eq!(invoices[1].get("localId"), None, "those without one do not show one");
        for (batch, message) in [
            (json!({"item": {"delete": ["bill"]}}), "Item not found for delete: bill"),
            (json!({"payment": {"create": [{"invoiceId": "tea", "amount": 1}]}}), "Invoice not found for payment: tea"),
        ] {
            assert_eq!(phone.sync(&batch).expect_error(422, "batch_rejected")["message"], json!(message));
        }
    }

    fn a_local_id_that_looks_like_an_id_is_found_before_it(server: &Server) {
        let phone = Phone::new(server);
        let tea = phone.sync(&json!({"item": {"create": [{"name": "Tea", "price": 1}]}})).expect_ok();
        let tea = tea["synced"]["itemsCreated"][0].clone();
        phone.sync(&json!({"item": {"create": [{"localId": tea, "name": "Bun", "price": 1}]}})).expect_ok();
        let answer = phone.sync(&json!({"item": {"update": [{"_id": tea, "price": 9}]}})).expect_ok();
        assert_ne!(answer["synced"]["itemsUpdated"][0], tea);
        assert_eq!(answer["data"]["items"][0]["price"], json!(1));
    }

    fn other_content_is_told_and_not_applied(server: &Server) {
        let phone = Phone::new(server);
        let mut first = day();
        first["item"]["create"][0]["_id"] = json!(1);
        first["invoice"]["create"][0]["products"][0]["productId"] = json!(1);
        let data = phone.sync(&first).expect_ok();
        // Another way to name the same records is the same content.
        let mut again = day();
        again["item"]["create"][0]["unit"] = json!("nos");
        again["invoice"]["create"][0]["products"][0]["productId"] = data["synced"]["itemsCreated"][0].clone();
        again["payment"]["create"][0]["invoiceId"] = data["synced"]["invoicesCreated"][0].clone();
        assert!(already_applied(&phone.sync(&again).expect_ok()).iter().all(|(_, differs)| !differs));
        again["item"]["create"][0]["price"] = json!(11);
        again["invoice"]["create"][0]["products"][0]["quantity"] = json!(4);
        again["payment"]["create"][0]["amount"] = json!(16);
        let answer = phone.sync(&again).expect_ok();
        assert!(already_applied(&answer).iter().all(|(_, differs)| *differs), "{answer}");
        assert_eq!(answer["data"], data["data"]);
    }

    fn a_local_id_twice_in_a_batch_is_one_record(server: &Server) {
        let phone = Phone::new(server);
        let mut twice = day();
        for (section, list) in [("item", "create"), ("invoice", "create"), ("payment", "create")] {
            let copy = twice[section][list][0].clone();
            twice[section][list].as_array_mut().unwrap().push(copy);
        }
        let answer = phone.sync(&twice).expect_ok();
        assert_eq!(answer["summary"], count([2, 0, 0, 1, 1], 3));
        let synced = &answer["synced"];
        assert_eq!(synced["invoicesCreated"][0], synced["invoicesCreated"][1]);
        assert_eq!((&answer["data"]["items"][0]["stock"], &answer["data"]["invoices"][0]["paidAmount"]), (&json!(47), &json!(15)));
    }

    fn a_local_id_belongs_to_one_kind(server: &Server) {
        let phone = Phone::new(server);
        phone.sync(&day()).expect_ok();
        let taken = json!({"payment": {"create": [{"localId": "tea", "invoiceId": "bill", "amount": 1}]}});
        let answer = phone.sync(&taken).expect_error(422, "batch_rejected");
        assert_eq!(answer["errors"], json!([{
            "path": "/payment/create/0/localId", "code": "local_id_taken",
            "message": "The localId tea belongs to one of the items",
        }]));
        let both = json!({
            "item": {"create": [{"localId": "x", "name": "Bun", "price": 1}]},
            "invoice": {"create": [{"localId": "x", "products": [{"productId": "x", "quantity": 1}]}]},
        });
        phone.sync(&both).expect_error(422, "batch_rejected");
    }

    fn local_ids_are_the_clients_own(server: &Server) {
        let (one, other) = (Phone::new(server), Phone::new(server));
        one.sync_with_key(&day(), "k").expect_ok();
        other.sync(&json!({"item": {"delete": ["tea"]}})).expect_error(422, "batch_rejected");
        let inquiry = json!({"keys": ["k"], "localIds": ["tea", "bill", "cash"]});
        let unknown = json!({"status": "unknown"});
        assert_eq!(reconcile(&other, &inquiry), json!({
            "success": true,
            "keys": {"k": unknown},
            "localIds": {"tea": unknown, "bill": unknown, "cash": unknown},
        }));
        assert_eq!(other.sync(&day()).expect_ok()["summary"], count([2, 0, 0, 1, 1], 0));
    }

    fn what_is_no_local_id_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for (local_id, code) in [
            (json!(""), "invalid_local_id"), (json!("a b"), "invalid_local_id"), (json!("é"), "invalid_local_id"),
            (json!("x".repeat(65)), "invalid_local_id"), (json!(7), "wrong_type"), (json!(["x"]), "wrong_type"),
        ] {
            let batch = json!({"item": {"create": [{"localId": local_id, "name": "Tea", "price": 1}]}});
            let errors = phone.sync(&batch).expect_error(400, "invalid_batch")["errors"].clone();
            assert_eq!((&errors[0]["path"], &errors[0]["code"]), (&json!("/item/create/0/localId"), &json!(code)));
        }
    }

    fn concurrent_new_batches_of_one_queue_apply_it_once(server: &Server) {
        let phone = Phone::new(server);
        std::thread::scope(|scope| {
            for index in 0..20 {
                let phone = &phone;
                scope.spawn(move || phone.sync_with_key(&day(), &format!("key-{index}")).expect_ok());
            }
        });
        let answer = phone.pull().expect_ok();
        assert_eq!(answer["revision"], json!(1));
        assert_eq!(answer["data"]["invoices"].as_array().unwrap().len(), 1);
        assert_eq!(answer["data"]["items"][0]["stock"], json!(47));
    }

    fn reconcile_tells_what_is_in_the_books(server: &Server) {
        let phone = Phone::new(server);
        phone.sync(&json!({"item": {"create": [{"name": "Bun", "price": 1}]}})).expect_ok();
        let day = phone.sync_with_key(&day(), "day").expect_ok();
        phone.sync_with_key(&json!({"item": {"delete": ["nothing"]}}), "bad").expect_error(422, "batch_rejected");
        phone.sync(&json!({"item": {"update": [{"_id": "tea", "price": 12}]}})).expect_ok();
        let id = |list: &str| day["synced"][list][0].clone();
        let answer = reconcile(&phone, &json!({"keys": ["day", "bad", "day"], "localIds": ["tea", "bill", "cash", "x"]}));
        assert_eq!(answer, json!({
            "success": true,
            "keys": {
                "day": {"status": "committed", "revision": 2, "synced": day["synced"]},
                "bad": {"status": "unknown"},
            },
            "localIds": {
                "tea": {"status": "committed", "kind": "items", "id": id("itemsCreated"), "revision": 2},
                "bill": {"status": "committed", "kind": "invoices", "id": id("invoicesCreated"), "revision": 2},
                "cash": {"status": "committed", "kind": "payments", "id": id("paymentsCreated"), "revision": 2},
                "x": {"status": "unknown"},
            },
        }));
        assert_eq!(reconcile(&phone, &json!({"keys": null})), json!({"success": true, "keys": {}, "localIds": {}}));
    }

    fn reconcile_refuses_what_is_no_question(server: &Server) {
        let phone = Phone::new(server);
        let many: Vec<_> = (0..1001).map(|index| format!("key-{index}")).collect();
        for (body, status, code) in [
            (json!({"keys": many}), 400, "invalid_batch"), (json!({"keys": "k"}), 400, "invalid_batch"),
            (json!({"keys": ["a b"]}), 400, "invalid_batch"), (json!({"localIds": [1]}), 400, "invalid_batch"),
            (json!([]), 400, "invalid_batch"), (json!({"clientId": "64b0000000000000000000ff"}), 403, "client_mismatch"),
        ] {
            phone.send(Request::new("POST", "/api/sync/reconcile").json(&body)).expect_error(status, code);
        }
        let thousand = json!({"keys": many[..500], "localIds": many[500..1000]});
        assert_eq!(reconcile(&phone, &thousand)["localIds"].as_object().unwrap().len(), 500);
        phone.send(Request::new("POST", "/api/sync/reconcile").without_token()).expect_error(401, "unauthorized");
        phone.send(Request::new("GET", "/api/sync/reconcile")).expect_error(405, "method_not_allowed");
    }
}

fn reconcile(phone: &Phone, inquiry: &Value) -> Value {
    phone.send(Request::new("POST", "/api/sync/reconcile").json(inquiry)).expect_ok()
}

#[test]
fn local_ids_outlive_the_server() {
    let setup = Setup::embedded();
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    let first = phone.sync(&day()).expect_ok();
    drop(server);
    let server = Server::start(&setup);
    let again = Phone::of(&server, &phone.client).sync_with_key(&day(), "new").expect_ok();
    assert_eq!((&again["summary"], &again["data"]), (&count([0; 5], 3), &first["data"]));
}
