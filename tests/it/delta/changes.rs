//! What a delta shows: exactly the records that changed, whichever operation changed them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::copy::{Copy, cursor_of, mode_of, pull_since, shown, since};
use crate::harness::{Phone, Server, on_every_engine};

/// A shop with three items, a bill for a known customer that is not paid, and one that is.
struct Shop {
    phone: Phone,
    copy: Copy,
    tea: String,
    bun: String,
    jam: String,
    bill: String,
}

impl Shop {
    fn open(server: &Server) -> Self {
        let phone = Phone::new(server);
        let batch = json!({
            "item": {"create": [
                {"_id": "tea", "name": "Tea", "price": 10, "stock": 9}, {"_id": "bun", "name": "Bun", "price": 5, "stock": 9},
                {"_id": "jam", "name": "Jam", "price": 7, "stock": 9},
            ]},
            "invoice": {"create": [
                {"_id": "bill", "clientCustomerId": CUSTOMER, "products": [{"productId": "tea", "quantity": 2}]},
                {"paidAmount": 7, "products": [{"productId": "jam", "quantity": 1}]},
            ]},
        });
        let answer = phone.sync(&batch).expect_ok();
        let id = |kind: &str, alias: &str| answer["idMap"][kind][alias].as_str().unwrap().to_owned();
        let mut copy = Copy::new();
        copy.take_in(&answer).unwrap();
        let (tea, bun, jam) = (id("items", "tea"), id("items", "bun"), id("items", "jam"));
        Self { phone, copy, tea, bun, jam, bill: id("invoices", "bill") }
    }

    /// Sends the batch with the phone's cursor; the answer must be a delta that makes the phone's copy complete.
    #[track_caller]
    fn sync(&mut self, batch: &Value) -> Value {
        let answer = self.phone.sync(&since(batch, self.copy.cursor.clone())).expect_ok();
        assert_eq!(mode_of(&answer), "delta");
        self.copy.take_in(&answer).unwrap();
        let full = self.phone.pull().expect_ok();
        assert_eq!(self.copy.data(), full["data"]);
        assert_eq!(answer["cursor"], full["cursor"], "one state has one cursor");
        answer
    }
}

fn lists<const N: usize>(expected: [(&'static str, Vec<&String>); N]) -> BTreeMap<&'static str, Vec<String>> {
    let owned = |(list, ids): (&'static str, Vec<&String>)| {
        let mut ids: Vec<_> = ids.into_iter().cloned().collect();
        ids.sort();
        (list, ids)
    };
    expected.into_iter().map(owned).collect()
}

fn made(answer: &Value, list: &str) -> String {
    answer["synced"][list][0].as_str().unwrap().to_owned()
}

const CUSTOMER: &str = "64b0000000000000000000aa";

on_every_engine! {
    fn a_sale_shows_its_invoice_and_the_item(server: &Server) {
        let mut shop = Shop::open(server);
        let sale = json!({"invoice": {"create": [{"products": [{"productId": shop.tea, "quantity": 3}]}]}});
        let answer = shop.sync(&sale);
        let invoice = made(&answer, "invoicesCreated");
        assert_eq!(shown(&answer), lists([("items", vec![&shop.tea]), ("invoices", vec![&invoice])]));
        assert_eq!((&answer["data"]["items"][0]["stock"], &answer["revision"]), (&json!(4), &json!(2)));
    }

    fn a_payment_shows_the_invoice_and_the_purchase_that_it_made(server: &Server) {
        let mut shop = Shop::open(server);
        let half = shop.sync(&json!({"payment": {"create": [{"invoiceId": shop.bill, "amount": 8}]}}));
        let payment = made(&half, "paymentsCreated");
        assert_eq!(shown(&half), lists([("invoices", vec![&shop.bill]), ("payments", vec![&payment])]));
        let rest = shop.sync(&json!({"payment": {"create": [{"invoiceId": shop.bill, "amount": 12}]}}));
        let (payment, shown) = (made(&rest, "paymentsCreated"), shown(&rest));
        assert_eq!((&shown["invoices"], &shown["payments"]), (&vec![shop.bill.clone()], &vec![payment]));
        assert_eq!((shown["purchaseHistory"].len(), shown.len()), (1, 3));
        assert_eq!(rest["data"]["invoices"][0]["isFinalized"], json!(true));
    }

    fn a_deleted_item_is_shown_as_deleted_and_a_restored_one_as_there(server: &Server) {
        let mut shop = Shop::open(server);
        for (batch, active) in [
            (json!({"item": {"delete": [shop.bun]}}), false),
            (json!({"item": {"delete": [shop.bun]}}), false),
            (json!({"item": {"update": [{"_id": shop.bun, "isActive": true}]}}), true),
        ] {
            let answer = shop.sync(&batch);
            assert_eq!(shown(&answer), lists([("items", vec![&shop.bun])]));
            assert_eq!(answer["data"]["items"][0]["isActive"], json!(active));
        }
    }

    fn an_item_made_by_a_line_and_an_update_are_shown(server: &Server) {
        let mut shop = Shop::open(server);
        let answer = shop.sync(&json!({
            "item": {"update": [{"_id": shop.jam, "price": 8}]},
            "invoice": {"create": [{"products": [{"itemName": "Paan", "costPerUnit": 15, "quantity": 1}]}]},
        }));
        let (item, invoice) = (made(&answer, "itemsCreated"), made(&answer, "invoicesCreated"));
        assert_eq!(shown(&answer), lists([("items", vec![&shop.jam, &item]), ("invoices", vec![&invoice])]));
    }

    fn a_sale_of_what_is_not_there_leaves_the_item_as_the_full_answer_has_it(server: &Server) {
        let mut shop = Shop::open(server);
        let sale = json!({"invoice": {"create": [{"products": [{"productId": shop.tea, "quantity": 300}]}]}});
        let answer = shop.sync(&sale);
        assert_eq!(answer["warnings"][0]["code"], json!("insufficient_stock"));
        assert_eq!(shown(&answer)["invoices"].len(), 1);
        assert!(!shown(&answer).contains_key("purchaseHistory"));
    }

    fn a_delta_without_changes_is_empty(server: &Server) {
        let mut shop = Shop::open(server);
        for _ in 0..2 {
            let answer = shop.sync(&json!({}));
            assert_eq!((shown(&answer), &answer["revision"]), (BTreeMap::new(), &json!(1)));
        }
        shop.phone.sync(&json!({"item": {"delete": ["nothing"]}})).expect_error(422, "batch_rejected");
        assert!(shown(&shop.sync(&json!({}))).is_empty(), "a rejected batch has changed nothing");
    }

    fn what_was_known_before_is_not_shown_again(server: &Server) {
        let mut shop = Shop::open(server);
        let batch = json!({"item": {"create": [{"localId": "once", "name": "Once", "price": 1}]}});
        assert_eq!(shown(&shop.sync(&batch))["items"].len(), 1);
        let again = shop.sync(&batch);
        assert_eq!((&again["summary"]["alreadyApplied"], &again["revision"]), (&json!(1), &json!(2)));
        assert!(shown(&again).is_empty(), "{again}");
    }

    fn a_delta_over_several_batches_has_each_record_once_as_it_is_now(server: &Server) {
        let mut shop = Shop::open(server);
        let other = Phone::of(server, &shop.phone.client);
        for price in [11, 12, 13] {
            other.sync(&json!({"item": {"update": [{"_id": shop.tea, "price": price}]}})).expect_ok();
        }
        let made = made(&other.sync(&json!({"item": {"create": [{"name": "New", "price": 1}]}})).expect_ok(), "itemsCreated");
        other.sync(&json!({"item": {"delete": [made]}})).expect_ok();
        let answer = shop.sync(&json!({}));
        assert_eq!(shown(&answer), lists([("items", vec![&shop.tea, &made])]));
        assert_eq!(answer["revision"], json!(6));
        assert_eq!(shop.copy.record("items", &shop.tea).unwrap()["price"], json!(13));
        assert_eq!(shop.copy.record("items", &made).unwrap()["isActive"], json!(false));
    }

    fn two_phones_of_a_shop_hear_of_each_other(server: &Server) {
        let mut shop = Shop::open(server);
        let other = Phone::of(server, &shop.phone.client);
        let mut others_copy = Copy::new();
        others_copy.take_in(&other.pull().expect_ok()).unwrap();
        for round in 0..3 {
            let (new, old) = (json!({"item": {"create": [{"name": "New", "price": round}]}}), shop.bun.clone());
            let answer = shop.sync(&new);
            assert_eq!(shown(&answer)["items"].len(), if round == 0 { 1 } else { 2 }, "its own, and what the other did");
            let change = json!({"item": {"update": [{"_id": old, "stock": round}]}});
            let answer = other.sync(&since(&change, others_copy.cursor.clone())).expect_ok();
            assert_eq!(shown(&answer)["items"].len(), 2);
            others_copy.take_in(&answer).unwrap();
            assert_eq!(others_copy.data(), other.pull().expect_ok()["data"]);
        }
        shop.sync(&json!({}));
        assert_eq!(shop.copy, others_copy);
    }

    fn a_cursor_serves_as_often_as_it_is_sent(server: &Server) {
        let shop = Shop::open(server);
        let cursor = shop.copy.cursor.clone().unwrap();
        let mut seen = vec![cursor.clone()];
        for number in 1..=20 {
            let answer = shop.phone.sync(&json!({"item": {"create": [{"name": "New", "price": number}]}})).expect_ok();
            assert!(!seen.contains(&cursor_of(&answer)), "another state has another cursor");
            seen.push(cursor_of(&answer));
        }
        for (number, cursor) in seen.iter().enumerate() {
            let answer = pull_since(&shop.phone, cursor);
            let items = shown(&answer).remove("items").unwrap_or_default();
            assert_eq!((mode_of(&answer).as_str(), items.len()), ("delta", 20 - number));
        }
    }

    fn a_delta_has_nothing_of_other_clients(server: &Server) {
        let mut shop = Shop::open(server);
        let mut neighbour = Shop::open(server);
        neighbour.sync(&json!({"item": {"create": [{"name": "Not yours", "price": 1}]}}));
        assert!(shown(&shop.sync(&json!({}))).is_empty());
        let answer = shop.phone.sync(&since(&json!({}), neighbour.copy.cursor.clone())).expect_ok();
        assert_eq!((mode_of(&answer).as_str(), &answer["data"]), ("full: cursor_unknown", &shop.copy.data()));
    }
}
