//! Many phones of one shop at once.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Phone, Server, on_every_engine};

/// Sends the same batch from many phones of one client at once.
fn all_at_once(server: &Server, client: &str, count: usize, batch: &Value) -> Vec<(u16, Value)> {
    std::thread::scope(|scope| {
        let send = |_| {
            scope.spawn(|| {
                let answer = Phone::of(server, client).sync(batch);
                (answer.status, answer.json())
            })
        };
        let sent: Vec<_> = (0..count).map(send).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    })
}

fn list<'a>(data: &'a Value, name: &str) -> &'a Vec<Value> {
    data[name].as_array().unwrap()
}

on_every_engine! {
    fn concurrent_payments_do_not_exceed_the_balance(server: &Server) {
        let phone = Phone::new(server);
        let sale = json!({"invoice": {"create": [{
            "clientCustomerId": "690000000000000000000001",
            "products": [{"itemName": "Tea", "costPerUnit": 10, "quantity": 10}],
        }]}});
        let invoice = phone.sync(&sale).expect_ok()["synced"]["invoicesCreated"][0].clone();
        let payment = json!({"payment": {"create": [{"invoiceId": invoice, "amount": 10}]}});
        let answers = all_at_once(server, &phone.client, 20, &payment);
        assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 10);
        let refused = answers.iter().filter(|(status, _)| *status != 200);
        for (status, body) in refused {
            assert_eq!((*status, &body["message"]), (422, &json!("Payment exceeds outstanding balance")));
        }
        let data = &phone.pull().expect_ok()["data"];
        let paid = &data["invoices"][0];
        assert_eq!((&paid["paidAmount"], &paid["isFinalized"]), (&json!(100), &json!(true)));
        assert_eq!((list(data, "payments").len(), list(data, "purchaseHistory").len()), (10, 1));
    }

    fn concurrent_sales_lower_the_stock_by_what_was_sold(server: &Server) {
        let phone = Phone::new(server);
        let item = json!({"item": {"create": [{"name": "Tea", "price": 1, "stock": 10}]}});
        let item = phone.sync(&item).expect_ok()["synced"]["itemsCreated"][0].clone();
        let sale = json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 3}]}]}});
        let answers = all_at_once(server, &phone.client, 8, &sale);
        assert!(answers.iter().all(|(status, _)| *status == 200));
        let sold = answers.iter().filter(|(_, body)| list(body, "warnings").is_empty()).count();
        assert_eq!(sold, 3);
        let data = &phone.pull().expect_ok()["data"];
        assert_eq!((&data["items"][0]["stock"], list(data, "invoices").len()), (&json!(1), 8));
    }

    fn fifty_batches_of_one_client_get_a_revision_and_a_number_each(server: &Server) {
        let phone = Phone::new(server);
        let sale = json!({"invoice": {"create": [{"products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 1}]}]}});
        let answers = all_at_once(server, &phone.client, 50, &sale);
        let revisions: BTreeSet<_> = answers.iter().map(|(_, body)| body["revision"].as_i64().unwrap()).collect();
        assert_eq!(revisions, (1..=50).collect());
        let data = &phone.pull().expect_ok()["data"];
        let numbers: BTreeSet<_> = list(data, "invoices").iter().map(|i| i["invoiceNumber"].as_str().unwrap()).collect();
        assert_eq!((numbers.first(), numbers.last(), numbers.len()), (Some(&"INV-000001"), Some(&"INV-000050"), 50));
    }

    fn a_phone_that_hangs_up_does_not_stop_its_batch(server: &Server) {
        let phone = Phone::new(server);
        let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}});
        for round in 1..=10 {
            let key = format!("hang-up-{round}");
            send_and_hang_up(server, &phone, &batch, &key);
            let answer = phone.sync_with_key(&batch, &key).expect_ok();
            assert_eq!(answer["revision"], json!(round));
        }
        let data = &phone.pull().expect_ok()["data"];
        assert_eq!(list(data, "items").len(), 10);
    }
}

/// Sends a whole request and closes the connection without reading the answer.
fn send_and_hang_up(server: &Server, phone: &Phone, batch: &Value, key: &str) {
    let url = server.url();
    let address = url.strip_prefix("http://").unwrap();
    let (token, body) = (&phone.token, batch.to_string());
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "POST /api/sync HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nX-Idempotency-Key: {key}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}
