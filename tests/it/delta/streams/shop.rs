//! A shop with tens of thousands of records that must fit together in every answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Phone, Server, random_hex};

/// A shop that sells one item again and again: each sale is an invoice, its payment, its purchase and a fall of the
/// item's stock, in one commit.
pub struct LargeShop {
    client: String,
    item: String,
    /// How many sales each revision had, from revision 1 on.
    sales: Vec<usize>,
}

impl LargeShop {
    /// Opens a shop.
    pub fn open(server: &Server) -> Self {
        let client = random_hex(12);
        let item = json!({"item": {"create": [{"name": "Tea", "price": 1, "stock": STOCK}]}});
        let answer = Phone::of(server, &client).sync(&item).expect_ok();
        let item = answer["synced"]["itemsCreated"][0].as_str().unwrap().to_owned();
        Self { client, item, sales: vec![0] }
    }

    /// A phone of the shop.
    pub fn phone(&self, server: &Server) -> Phone {
        Phone::of(server, &self.client)
    }

    /// Makes so many sales in one batch, each with a note of some bytes.
    pub fn sell(&mut self, server: &Server, count: usize, note: usize) {
        let note = "n".repeat(note);
        let invoice = |number: usize| {
            let line = json!({"productId": self.item, "quantity": 1});
            json!({"_id": number, "clientCustomerId": CUSTOMER, "notes": note, "products": [line]})
        };
        let payment = |number: usize| json!({"invoiceId": number, "amount": 1});
        let batch = json!({
            "invoice": {"create": (1..=count).map(invoice).collect::<Vec<_>>()},
            "payment": {"create": (1..=count).map(payment).collect::<Vec<_>>()},
            "data": "none",
        });
        let answer = self.phone(server).sync(&batch).expect_ok();
        self.sales.push(self.sold() + count);
        assert_eq!(answer["revision"], json!(self.sales.len()));
    }

    /// The newest revision.
    pub fn revision(&self) -> usize {
        self.sales.len()
    }

    fn sold(&self) -> usize {
        *self.sales.last().expect("the first revision")
    }

    /// The answer is of one moment, the revision's: all lists say the same.
    #[track_caller]
    pub fn check(&self, answer: &[u8]) -> usize {
        let answer: Value = serde_json::from_slice(answer).expect("a whole answer is JSON");
        let revision = usize::try_from(answer["revision"].as_u64().unwrap()).unwrap();
        let (data, sold) = (&answer["data"], self.sales[revision - 1]);
        let ids = |list: &str, field: &str| -> BTreeSet<String> {
            data[list].as_array().unwrap().iter().map(|record| record[field].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(data["items"][0]["stock"], json!(STOCK - sold), "at revision {revision}");
        let invoices = ids("invoices", "_id");
        assert_eq!(invoices.len(), sold, "at revision {revision}");
        assert!(data["invoices"].as_array().unwrap().iter().all(|invoice| invoice["isFinalized"] == json!(true)));
        for list in ["payments", "purchaseHistory"] {
            assert!(ids(list, "invoiceId") == invoices, "{list} is of another moment");
            assert_eq!(data[list].as_array().unwrap().len(), sold, "{list} at revision {revision}");
        }
        revision
    }
}

const CUSTOMER: &str = "64b0000000000000000000aa";

/// More than is ever sold.
const STOCK: usize = 10_000_000;
