//! Any JSON at all, though mostly with names and values that the contract knows.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NAMES: &[&str] = &[
    "_id",
    "amount",
    "clientCustomerId",
    "clientCustomerName",
    "clientCustomerPhone",
    "clientId",
    "costPerUnit",
    "create",
    "createdAt",
    "dealerIds",
    "delete",
    "description",
    "dueDate",
    "groupId",
    "invoice",
    "invoiceDate",
    "invoiceId",
    "invoiceNumber",
    "isActive",
    "item",
    "itemGroup",
    "itemName",
    "lowStockQuantity",
    "method",
    "name",
    "note",
    "notes",
    "paidAmount",
    "paidAt",
    "payment",
    "price",
    "productId",
    "products",
    "quantity",
    "stock",
    "subtotal",
    "totalAmount",
    "totalDiscount",
    "totalTax",
    "unit",
    "update",
    "a/b~c",
    "",
];

/// Any value.
pub fn values() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), vec((names(), inner), 0..6).prop_map(object),]
    })
}

/// Bodies with the sections and lists of the contract, in which anything may stand anywhere.
pub fn bodies() -> impl Strategy<Value = Value> {
    let section = |lists: &'static [&'static str]| {
        let list = prop_oneof![8 => vec(records(), 0..4).prop_map(Value::from), 1 => values()];
        let section = vec((prop::sample::select(lists), list), 0..4).prop_map(object);
        prop_oneof![12 => section, 1 => values()]
    };
    let sections = (section(&["create", "update", "delete", "creat"]), section(&["create"]), section(&["create"]));
    let body = (sections, prop::option::weighted(0.1, values())).prop_map(|((item, invoice, payment), client)| {
        let mut body = json!({"item": item, "invoice": invoice, "payment": payment});
        if let Some(client) = client {
            body["clientId"] = client;
        }
        body
    });
    prop_oneof![12 => body, 1 => values()]
}

/// Elements of lists: many fields of the contract, at any place.
fn records() -> impl Strategy<Value = Value> {
    let field = || (names(), prop_oneof![4 => leaves().boxed(), 1 => values().boxed()]);
    let lines = vec(vec(field(), 0..8).prop_map(object), 0..3).prop_map(Value::from);
    let record = (vec(field(), 0..14), prop::option::of(lines)).prop_map(|(members, lines)| {
        let mut record = object(members);
        if let Some(lines) = lines {
            record["products"] = lines;
        }
        record
    });
    prop_oneof![8 => record, 1 => values()]
}

fn object(members: Vec<(impl Into<String>, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map<_, _>>())
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![30 => prop::sample::select(NAMES).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..20_i64).prop_map(Value::from),
        numbers(),
        prop::sample::select(
            &["", " ", "1", "0.5", "INV-000001", "2025-01-12", "2025-02-30", "c0c0c0c0c0c0c0c0c0c0c0c0", "\u{0}", "é"]
                [..]
        )
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        (190..2100_usize).prop_map(|length| "x".repeat(length).into()),
    ]
}

fn numbers() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1e13..1e13).prop_map(Value::from),
        (-20.0..20.0).prop_map(Value::from),
    ]
}
