//! The shops and the batches that are measured: of the sizes in the scenarios of the side-by-side bench, the same in every run.

use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use serde_json::{Value, json};
use viveka_sync::batch::Batch;
use viveka_sync::clock::Stamp;
use viveka_sync::model::{ClientId, Collection, IdempotencyKey};
use viveka_sync::plan::{Idempotent, SyncPlanner};

/// The number of records in a shop.
pub const RECORDS: usize = 2800;

/// The client with this number.
pub fn client(number: i32) -> ClientId {
    ClientId::from_verified_claim(&id(Kind::Client, number).to_hex()).expect("24 hex digits")
}

/// A shop of 1,000 items, 300 customers, 1,000 invoices of 3 lines and 500 payments, as the existing database has
/// them, each collection in `_id` order.
pub fn shop(client: &ClientId) -> Vec<(Collection, Document)> {
    shop_of(client, 1)
}

/// One with so many times as many of each.
pub fn shop_of(client: &ClientId, times: i32) -> Vec<(Collection, Document)> {
    let record = |fields: Document| {
        let mut record = fields;
        record.extend(doc! {"clientId": client.object_id(), "createdAt": AT, "updatedAt": AT, "__v": 0});
        record
    };
    let items = (0..1000 * times).map(|i| (Collection::Items, record(item(i))));
    let customers = (0..300 * times).map(|i| (Collection::ClientCustomers, record(customer(i))));
    let invoices = (0..1000 * times).map(|i| (Collection::Invoices, record(invoice(i))));
    let payments = (0..500 * times).map(|i| (Collection::Payments, record(payment(i))));
    items.chain(customers).chain(invoices).chain(payments).collect()
}

/// A record as the database keeps it.
pub fn raw(record: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(record).expect("a record has no names with a 0")
}

/// How much a phone has to say.
#[derive(Clone, Copy)]
pub enum Queue {
    /// 20 operations, as in the scenario s1.
    Small,
    /// 500 operations, as in the scenario s2.
    Large,
}

impl Queue {
    /// The body of the phone's request.
    pub fn body(self) -> Vec<u8> {
        let times = |small: i32| match self {
            Self::Small => 0..small,
            Self::Large => 0..25 * small,
        };
        let line = |i: i32| {
            let name = format!("Item {i}");
            json!({"productId": id(Kind::Item, i).to_hex(), "itemName": name, "quantity": 1 + i % 3, "costPerUnit": 100.25})
        };
        let invoice = |i: i32| {
            let new = json!({"itemName": format!("New item {i}"), "quantity": 1, "costPerUnit": 20.5});
            let customer = id(Kind::Customer, i % 300).to_hex();
            json!({"products": [line(2 * i), line(2 * i + 1), new], "clientCustomerId": customer})
        };
        let create =
            |i: i32| json!({"name": format!("Made {i}"), "price": 100.25, "stock": 50 + i % 10, "unit": "nos"});
        let update = |i: i32| json!({"_id": id(Kind::Item, 500 + i).to_hex(), "price": 150.1, "stock": 100_000});
        let delete = |i: i32| json!(id(Kind::Item, 900 + i).to_hex());
        // Every second invoice is not paid yet.
        let payment = |i: i32| json!({"invoiceId": id(Kind::Invoice, 2 * i).to_hex(), "amount": 1, "method": "cash"});
        let list = |small: i32, make: &dyn Fn(i32) -> Value| times(small).map(make).collect::<Vec<_>>();
        let body = json!({
            "item": {"create": list(5, &create), "update": list(5, &update), "delete": list(2, &delete)},
            "invoice": {"create": list(5, &invoice)},
            "payment": {"create": list(3, &payment)},
        });
        body.to_string().into_bytes()
    }

    /// The same as the server reads it.
    pub fn batch(self) -> Arc<Batch> {
        Arc::new(Batch::parse(&self.body(), &client(0), MAX_OPERATIONS).expect("the body is valid"))
    }
}

/// More than any of the batches has.
pub const MAX_OPERATIONS: usize = 1000;

/// What the server plans a batch with when the phone sends it under a key.
pub fn planner(batch: &Arc<Batch>, key: &str) -> Idempotent<SyncPlanner> {
    let stamp = Stamp::take(batch.ids());
    Idempotent {
        key: IdempotencyKey::new(key).expect("a short key"),
        fingerprint: batch.fingerprint.clone(),
        at: stamp.time(),
        inner: SyncPlanner::new(Arc::clone(batch), stamp),
    }
}

const AT: DateTime = DateTime::from_millis(1_763_716_675_123);

fn item(i: i32) -> Document {
    doc! {
        "_id": id(Kind::Item, i), "groupId": id(Kind::Group, i % 10), "name": format!("Item {i}"),
        "price": 100.25 + f64::from(i % 50), "stock": 1_000_000, "lowStockQuantity": 5, "unit": "nos",
        "description": format!("Seeded product number {i}"), "isActive": true,
    }
}

fn customer(i: i32) -> Document {
    doc! {
        "_id": id(Kind::Customer, i), "phoneNumber": format!("9{i:09}"), "name": format!("Customer {i}"),
        "address": format!("{i} Main Road"), "emailId": "", "gstNo": "", "isActive": true, "lastPurchaseAt": null,
    }
}

fn invoice(i: i32) -> Document {
    let paid = if i % 2 == 1 { Bson::Double(1_000_000.0) } else { Bson::Int32(0) };
    doc! {
        "_id": id(Kind::Invoice, i), "clientCustomerId": id(Kind::Customer, i % 300),
        "clientCustomerName": format!("Customer {}", i % 300), "clientCustomerPhone": format!("9{:09}", i % 300),
        "invoiceNumber": format!("INV-S-{i}"), "invoiceDate": AT, "dueDate": null, "subtotal": 1_000_000.0,
        "totalTax": 0, "totalDiscount": 0, "totalAmount": 1_000_000.0, "paidAmount": paid,
        "products": (3 * i..3 * i + 3).map(line).collect::<Vec<_>>(), "notes": "", "isFinalized": i % 2 == 1,
        "generatedAt": AT,
    }
}

fn line(i: i32) -> Bson {
    Bson::from(doc! {
        "productId": id(Kind::Item, i % 1000), "itemName": format!("Item {}", i % 1000), "costPerUnit": 100.25,
        "quantity": 1 + i % 3, "itemGroup": "", "_id": id(Kind::Line, i),
    })
}

fn payment(i: i32) -> Document {
    doc! {
        "_id": id(Kind::Payment, i), "invoiceId": id(Kind::Invoice, i), "amount": 1.0, "method": "cash", "note": "",
        "paidAt": AT,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Client,
    Item,
    Group,
    Line,
    Invoice,
    Customer,
    Payment,
}

/// Ids of a kind ascend with their numbers. They are of 2023, so that what a commit makes comes after them.
fn id(kind: Kind, number: i32) -> ObjectId {
    let mut bytes = [0x64; 12];
    bytes[4..8].copy_from_slice(&(kind as u32).wrapping_mul(0x9e37_79b9).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}
