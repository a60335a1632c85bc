//! Rules that take more than one look, or more operations than a person would write down.

use serde_json::{Value, json};

use crate::harness::{Phone, on_every_engine};

fn paths(body: &Value) -> Vec<&str> {
    body["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect()
}

on_every_engine! {
    fn a_number_and_its_text_are_one_alias(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": [{"_id": 7, "name": "Tea", "price": 1}], "update": [{"_id": "7", "price": 2}]}});
        let answer = phone.sync(&batch).expect_ok();
        assert_eq!(answer["idMap"]["items"]["7"], answer["synced"]["itemsUpdated"][0]);
        let twice = json!({"item": {
            "create": [{"_id": 8, "name": "A", "price": 1}, {"_id": "8", "name": "B", "price": 1}], "delete": [8.0],
        }});
        let refused = phone.sync(&twice).expect_error(400, "invalid_batch");
        assert_eq!(refused["errors"][0]["code"], json!("ambiguous_reference"));
    }

    fn an_id_that_is_no_alias_is_stripped(server: &Server) {
        let create: Vec<Value> = [json!(null), json!({}), json!([1]), json!(true), json!(1.5), json!("  ")]
            .into_iter()
            .map(|id| json!({"_id": id, "name": "Tea", "price": 1}))
            .collect();
        let answer = Phone::new(server).sync(&json!({"item": {"create": create}})).expect_ok();
        assert_eq!((&answer["summary"]["itemsCreated"], &answer["idMap"]["items"]), (&json!(6), &json!({})));
    }

    fn a_server_id_in_a_create_is_an_alias_too(server: &Server) {
        let phone = Phone::new(server);
        let id = "650000000000000000000001";
        let batch = json!({"item": {"create": [{"_id": id, "name": "Tea", "price": 1}], "delete": [id]}});
        let answer = phone.sync(&batch).expect_ok();
        assert_ne!(answer["data"]["items"][0]["_id"], json!(id), "the server always makes its own id");
        assert_eq!(answer["data"]["items"][0]["isActive"], json!(false));
    }

    fn both_missing_fields_are_told(server: &Server) {
        let refused = Phone::new(server).sync(&json!({"item": {"create": [{}]}})).expect_error(400, "invalid_batch");
        assert_eq!(paths(&refused), ["/item/create/0/name", "/item/create/0/price"]);
        assert_eq!(refused["message"], json!("Item create at index 0 is missing name/price"));
    }

    fn null_is_as_good_as_absent(server: &Server) {
        let item = json!({"name": "Tea", "price": 1, "stock": null, "unit": null, "groupId": null, "description": null,
            "lowStockQuantity": null, "dealerIds": null, "_id": null});
        let phone = Phone::new(server);
        let answer = phone.sync(&json!({"item": {"create": [item]}, "invoice": null, "payment": {"create": null}})).expect_ok();
        let made = &answer["data"]["items"][0];
        assert_eq!((&made["unit"], &made["lowStockQuantity"], &made["dealerIds"]), (&json!("nos"), &json!(5), &json!([])));
        let update = json!({"item": {"update": [{"_id": made["_id"], "name": null, "price": null, "stock": 3}]}});
        let updated = &phone.sync(&update).expect_ok()["data"]["items"][0];
        assert_eq!((&updated["name"], &updated["price"], &updated["stock"]), (&json!("Tea"), &json!(1), &json!(3)));
    }

    fn a_payment_on_a_refused_invoice_is_no_problem_of_its_own(server: &Server) {
        let batch = json!({
            "invoice": {"create": [{"_id": 1, "products": [{"productId": "nothing", "quantity": 1}]}]},
            "payment": {"create": [{"invoiceId": 1, "amount": 5}, {"invoiceId": 2, "amount": 5}]},
        });
        let refused = Phone::new(server).sync(&batch).expect_error(422, "batch_rejected");
        assert_eq!(paths(&refused), ["/invoice/create/0/products/0/productId", "/payment/create/1/invoiceId"]);
    }

    fn unknown_fields_are_warned_of_on_every_level(server: &Server) {
        let batch = json!({
            "version": 2, "item": {"upsert": [], "create": [{"name": "Tea", "price": 1, "a/b~c": 1}]},
            "invoice": {"update": []},
        });
        let answer = Phone::new(server).sync(&batch).expect_ok();
        let warned: Vec<_> = answer["warnings"].as_array().unwrap().iter().map(|w| w["path"].as_str().unwrap()).collect();
        assert_eq!(warned, ["/item/upsert", "/invoice/update", "/version", "/item/create/0/a~1b~0c"]);
    }

    fn a_thousand_warnings_are_listed_and_the_rest_counted(server: &Server) {
        let mut item = json!({"name": "Tea", "price": 1});
        for number in 0..1200 {
            item[format!("field{number}")] = json!(1);
        }
        let answer = Phone::new(server).sync(&json!({"item": {"create": [item]}})).expect_ok();
        let warnings = answer["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1001);
        assert_eq!((&warnings[1000]["code"], &warnings[1000]["count"]), (&json!("warnings_omitted"), &json!(200)));
    }

    fn a_hundred_problems_are_listed(server: &Server) {
        let phone = Phone::new(server);
        let refused = phone.sync(&json!({"item": {"create": vec![json!({}); 200]}})).expect_error(400, "invalid_batch");
        assert_eq!(refused["errors"].as_array().unwrap().len(), 100);
        let refused = phone.sync(&json!({"item": {"delete": vec!["nothing"; 200]}})).expect_error(422, "batch_rejected");
        assert_eq!(refused["errors"].as_array().unwrap().len(), 100);
    }

    fn an_invoice_has_a_thousand_lines_at_most(server: &Server) {
        let phone = Phone::new(server);
        let line = json!({"itemName": "Tea", "costPerUnit": 0.01, "quantity": 1, "stock": 1});
        let invoice = |lines| json!({"invoice": {"create": [{"products": vec![line.clone(); lines]}]}});
        let answer = phone.sync(&invoice(1000)).expect_ok();
        assert_eq!((&answer["data"]["invoices"][0]["totalAmount"], &answer["summary"]["itemsCreated"]), (&json!(10), &json!(1000)));
        let refused = phone.sync(&invoice(1001)).expect_error(400, "invalid_batch");
        assert_eq!(paths(&refused), ["/invoice/create/0/products"]);
    }

    fn the_revision_counts_batches_that_wrote(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": [{"_id": 1, "name": "Tea", "price": 1}]}});
        let revision = |answer: crate::harness::Answer| answer.expect_ok()["revision"].clone();
        assert_eq!(revision(phone.pull()), json!(0));
        assert_eq!(revision(phone.sync_with_key(&batch, "k")), json!(1));
        assert_eq!(revision(phone.sync_with_key(&batch, "k")), json!(1));
        phone.sync(&json!({"item": {"delete": ["nothing"]}})).expect_error(422, "batch_rejected");
        assert_eq!(revision(phone.pull()), json!(1));
        assert_eq!(revision(phone.sync(&batch)), json!(2));
    }

    fn tenths_paid_in_steps_finalise_an_invoice(server: &Server) {
        let phone = Phone::new(server);
        let sale = json!({"invoice": {"create": [{"products": [{"itemName": "Tea", "costPerUnit": 0.1, "quantity": 3}]}]}});
        let invoice = phone.sync(&sale).expect_ok()["synced"]["invoicesCreated"][0].clone();
        for (amount, finalized) in [(0.1, false), (0.1, false), (0.1, true)] {
            let payment = json!({"payment": {"create": [{"invoiceId": invoice, "amount": amount}]}});
            let answer = phone.sync(&payment).expect_ok();
            assert_eq!(answer["data"]["invoices"][0]["isFinalized"], json!(finalized));
        }
        let more = json!({"payment": {"create": [{"invoiceId": invoice, "amount": 0.0001}]}});
        phone.sync(&more).expect_error(422, "batch_rejected");
    }

    fn six_thousand_operations_are_one_batch(server: &Server) {
        let items: Vec<_> = (0..2000).map(|n| json!({"_id": n, "name": format!("Item {n}"), "price": 2, "stock": 5})).collect();
        let invoices: Vec<_> = (0..2000)
            .map(|n| json!({"_id": n, "clientCustomerId": "690000000000000000000001", "products": [
                {"productId": n, "quantity": 1}, {"productId": (n + 1) % 2000, "quantity": 2},
            ]}))
            .collect();
        let payments: Vec<_> = (0..2000).map(|n| json!({"invoiceId": n, "amount": 6})).collect();
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": items}, "invoice": {"create": invoices}, "payment": {"create": payments}});
        let answer = phone.sync_with_key(&batch, "large").expect_ok();
        let data = &answer["data"];
        for list in ["items", "invoices", "payments", "purchaseHistory"] {
            assert_eq!(data[list].as_array().unwrap().len(), 2000, "{list}");
        }
        assert!(data["items"].as_array().unwrap().iter().all(|item| item["stock"] == json!(2)));
        assert!(data["invoices"].as_array().unwrap().iter().all(|invoice| invoice["isFinalized"] == json!(true)));
        assert_eq!(answer["idMap"]["invoices"].as_object().unwrap().len(), 2000);
        assert_eq!(phone.sync_with_key(&batch, "large").expect_ok(), answer);
    }
}
