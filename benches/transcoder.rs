//! What the answer's JSON costs for 2,800 records, beside a copy of the same bytes, which is the least
//! that any way could cost, and beside the plain way with the driver's reader.
//!
//! `cargo bench --bench transcoder`

use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use divan::Bencher;
use divan::counter::BytesCount;
use viveka_sync::dataset::write_record;
use viveka_sync::model::{self, Collection};

#[path = "../src/dataset/reference.rs"]
mod reference;

fn main() {
    divan::main();
    compare();
}

#[divan::bench]
fn memcpy(bencher: Bencher<'_, '_>) {
    run(bencher, copy);
}

#[divan::bench]
fn walker(bencher: Bencher<'_, '_>) {
    run(bencher, walk);
}

#[divan::bench]
fn driver_reader(bencher: Bencher<'_, '_>) {
    run(bencher, read);
}

type Record = (Collection, RawDocumentBuf);

fn copy((_, record): &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(record.as_bytes());
}

fn walk((collection, record): &Record, out: &mut Vec<u8>) {
    write_record(*collection, record.as_bytes(), out).expect("the shop is valid");
}

fn read((collection, record): &Record, out: &mut Vec<u8>) {
    reference::write_record(*collection, record, out).expect("the shop is valid");
}

fn run(bencher: Bencher<'_, '_>, write: fn(&Record, &mut Vec<u8>)) {
    let shop = shop();
    let mut out = Vec::with_capacity(4 << 20);
    let bytes: usize = shop.iter().map(|(_, record)| record.as_bytes().len()).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        out.clear();
        shop.iter().for_each(|record| write(record, &mut out));
        divan::black_box(&out);
    });
}

/// Prints the ratios of the three, taken in turns so that a noisy machine is noisy for all.
#[expect(clippy::print_stdout, reason = "the ratios are what a bench is for")]
fn compare() {
    const ROUNDS: usize = 101;
    let shop = shop();
    let mut out = Vec::with_capacity(4 << 20);
    let mut times = [copy, walk, read].map(|write: fn(&Record, &mut Vec<u8>)| (write, Vec::with_capacity(ROUNDS)));
    for _ in 0..ROUNDS {
        for (write, times) in &mut times {
            out.clear();
            let started = Instant::now();
            shop.iter().for_each(|record| write(record, &mut out));
            times.push(started.elapsed());
            divan::black_box(&out);
        }
    }
    let [copy, walk, read] = times.map(|(_, times)| median(times).as_secs_f64() * 1e3);
    println!("{} records, medians of {ROUNDS} rounds in turns", shop.len());
    println!("memcpy        {copy:.3} ms");
    println!("walker        {walk:.3} ms   {:.1} x memcpy", walk / copy);
    println!("driver reader {read:.3} ms   {:.1} x walker", read / walk);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A shop of 1,000 items, 1,000 invoices of 3 lines, 500 payments and 300 customers, as the existing
/// database has them.
fn shop() -> Vec<Record> {
    let client = id(0, 0);
    let at = DateTime::from_millis(1_763_716_675_123);
    let record = |fields: Document| {
        let mut record = fields;
        record.extend(doc! {"createdAt": at, "updatedAt": at, "__v": 0});
        RawDocumentBuf::try_from(&record).expect("a record has no names with a 0")
    };
    let item = |i: i32| {
        record(doc! {
            "_id": id(1, i), "clientId": client, "groupId": id(2, i % 10), "name": format!("Item {i}"),
            "price": 100.25 + f64::from(i % 50), "stock": 1_000_000, "lowStockQuantity": 5, "unit": "nos",
            "description": format!("Seeded product number {i}"), "isActive": true,
        })
    };
    let line = |i: i32| {
        Bson::from(doc! {
            "productId": id(1, i % 1000), "itemName": format!("Item {}", i % 1000), "costPerUnit": 100.25,
            "quantity": 1 + i % 3, "itemGroup": "", "_id": id(3, i),
        })
    };
    let invoice = |i: i32| {
        let paid = if i % 2 == 1 { Bson::Double(1_000_000.0) } else { Bson::Int32(0) };
        record(doc! {
            "_id": id(4, i), "clientId": client, "clientCustomerId": id(5, i % 300),
            "clientCustomerName": format!("Customer {}", i % 300), "clientCustomerPhone": format!("9{:09}", i % 300),
            "invoiceNumber": format!("INV-S-{i}"), "invoiceDate": at, "dueDate": null, "subtotal": 1_000_000.0,
            "totalTax": 0, "totalDiscount": 0, "totalAmount": 1_000_000.0, "paidAmount": paid,
            "products": (3 * i..3 * i + 3).map(line).collect::<Vec<_>>(), "notes": "", "isFinalized": i % 2 == 1,
            "generatedAt": at,
        })
    };
    let payment = |i: i32| {
        record(doc! {
            "_id": id(6, i), "clientId": client, "invoiceId": id(4, i), "amount": 1.0, "method": "cash", "note": "",
            "paidAt": at,
        })
    };
    let customer = |i: i32| {
        record(doc! {
            "_id": id(5, i), "clientId": client, "phoneNumber": format!("9{i:09}"), "name": format!("Customer {i}"),
            "address": format!("{i} Main Road"), "emailId": "", "gstNo": "", "isActive": true, "lastPurchaseAt": null,
        })
    };
    let items = (0..1000).map(|i| (Collection::Items, item(i)));
    let invoices = (0..1000).map(|i| (Collection::Invoices, invoice(i)));
    let payments = (0..500).map(|i| (Collection::Payments, payment(i)));
    let customers = (0..300).map(|i| (Collection::ClientCustomers, customer(i)));
    items.chain(invoices).chain(payments).chain(customers).collect()
}

fn id(kind: u32, number: i32) -> ObjectId {
    let mut bytes = [0x6a; 12];
    bytes[4..8].copy_from_slice(&kind.wrapping_mul(0x9e37_79b9).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}
