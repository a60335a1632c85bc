//! Queues as phones send them, before it is known what the book holds.
//!
//! A queue is a JSON body in which texts such as `@item 3` stand for what is only known when the queue is
//! sent: see [`super::render`].

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::wild;

/// Values of one field, or whole records.
pub type Values = BoxedStrategy<Value>;

/// A body with placeholders, and what is broken in it on purpose.
#[derive(Debug, Clone)]
pub struct Queue {
    pub body: Value,
    pub damage: Option<Damage>,
}

/// Puts another value in the place of the `node`th value of the body, or takes a member away.
#[derive(Debug, Clone)]
pub struct Damage {
    pub node: usize,
    pub instead: Option<Value>,
}

pub fn queues() -> impl Strategy<Value = Queue> {
    let damage = (any::<prop::sample::Index>(), prop::option::weighted(0.8, wild::values()))
        .prop_map(|(node, instead)| Damage { node: node.index(1000), instead });
    let queue = (bodies(), prop::option::weighted(0.08, damage));
    queue.prop_map(|(body, damage)| Queue { body, damage })
}

fn bodies() -> Values {
    let lists = (
        vec(new_item(), 0..4),
        vec(item_update(), 0..3),
        vec(item_reference(), 0..2),
        vec(new_invoice(), 0..4),
        vec(new_payment(), 0..5),
    );
    let body = lists.prop_map(|(new_items, updates, deletes, invoices, payments)| {
        json!({
            "item": {"create": new_items, "update": updates, "delete": deletes},
            "invoice": {"create": invoices},
            "payment": {"create": payments},
        })
    });
    body.boxed()
}

/// An object of fields, each with how often it is there, in percent.
fn object<const N: usize>(fields: [(&'static str, u32, Values); N]) -> Values {
    let member = |(name, percent, values): (&'static str, u32, Values)| {
        prop_oneof![
            100 - percent => Just(None),
            percent => values.prop_map(move |value| Some((name.to_owned(), value))),
        ]
    };
    let members: Vec<_> = fields.into_iter().map(member).collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

fn new_item() -> Values {
    object([
        ("_id", 70, alias("@item")),
        ("name", 100, name()),
        ("price", 100, price()),
        ("stock", 70, stock()),
        ("unit", 20, Just(json!(" kg ")).boxed()),
        ("groupId", 20, known("@group")),
        ("description", 10, name()),
        ("lowStockQuantity", 10, stock()),
        ("dealerIds", 20, vec(known("@dealer"), 0..3).prop_map(Value::from).boxed()),
        ("isActive", 5, Just(json!(true)).boxed()),
        ("colour", 5, name()),
    ])
}

fn item_update() -> Values {
    object([
        ("_id", 100, item_reference()),
        ("name", 20, name()),
        ("price", 30, price()),
        ("stock", 30, stock()),
        ("groupId", 20, prop_oneof![known("@group"), Just(Value::Null)].boxed()),
        ("description", 10, name()),
        ("lowStockQuantity", 10, stock()),
        ("dealerIds", 10, vec(known("@dealer"), 0..3).prop_map(Value::from).boxed()),
        ("isActive", 20, any::<bool>().prop_map(Value::from).boxed()),
        ("createdAt", 10, Just(json!("2020-01-01")).boxed()),
    ])
}

fn new_invoice() -> Values {
    let sum = |values: Values| prop_oneof![9 => values, 1 => Just(Value::Null)].boxed();
    object([
        ("_id", 80, alias("@invoice")),
        ("products", 100, vec(prop_oneof![3 => sold_item(), 1 => made_item()], 1..4).prop_map(Value::from).boxed()),
        ("clientCustomerId", 60, known("@customer")),
        ("clientCustomerPhone", 40, Just(json!("+91 98 ")).boxed()),
        ("invoiceNumber", 35, invoice_number()),
        ("invoiceDate", 20, Just(json!("2025-01-12")).boxed()),
        ("subtotal", 15, sum(price())),
        ("totalTax", 20, sum(price())),
        ("totalDiscount", 15, sum(numbers(0..50_000))),
        ("totalAmount", 25, sum(price())),
        ("paidAmount", 50, prop_oneof![25 => share(), 10 => numbers(0..30_000), 1 => numbers(-50_000..0)].boxed()),
    ])
}

/// A line that sells an item which is there.
fn sold_item() -> Values {
    object([
        ("productId", 100, item_reference()),
        ("itemName", 30, name()),
        ("costPerUnit", 40, price()),
        ("quantity", 100, quantity()),
        ("itemGroup", 10, name()),
    ])
}

/// A line that makes its item.
fn made_item() -> Values {
    object([
        ("productId", 10, prop_oneof![Just(Value::Null), Just(json!("  "))].boxed()),
        ("itemName", 100, name()),
        ("costPerUnit", 100, price()),
        ("quantity", 100, quantity()),
        ("stock", 60, stock()),
    ])
}

fn new_payment() -> Values {
    object([
        ("_id", 40, alias("@payment")),
        ("invoiceId", 100, reference("@invoice")),
        ("amount", 100, prop_oneof![8 => share(), 1 => numbers(10_000..50_000)].boxed()),
        ("method", 20, Just(json!("upi")).boxed()),
    ])
}

/// What a phone calls a record: its own name, now and then one that others have too.
fn alias(kind: &'static str) -> Values {
    prop_oneof![
        8 => Just(json!("@row")),
        4 => Just(json!("@row number")),
        4 => Just(json!("@row text")),
        1 => (0..5_u8).prop_map(move |index| json!(format!("{kind} {index}"))),
        4 => Just(json!("shared")),
        1 => Just(json!("  ")),
        1 => prop_oneof![Just(json!(true)), Just(json!([1])), Just(json!(1.5))],
    ]
    .boxed()
}

fn item_reference() -> Values {
    reference("@item")
}

/// A stored record, one of this batch, or nothing.
fn reference(kind: &'static str) -> Values {
    prop_oneof![
        20 => (0..20_u8).prop_map(move |index| json!(format!("{kind} {index}"))),
        20 => (0..20_u8).prop_map(move |index| json!(format!("{kind} alias {index}"))),
        1 => Just(json!("f0f0f0f0f0f0f0f0f0f0f0f0")),
        1 => prop_oneof![Just(json!("nothing")), Just(json!(77)), Just(json!("shared"))],
    ]
    .boxed()
}

/// A record that other services make, some of them unknown here.
fn known(kind: &'static str) -> Values {
    (0..3_u8).prop_map(move |index| json!(format!("{kind} {index}"))).boxed()
}

fn name() -> Values {
    prop_oneof![Just("Rice"), Just(" Tea\t"), Just("चाय"), Just("~/\"")].prop_map(Value::from).boxed()
}

fn invoice_number() -> Values {
    prop_oneof![
        3 => (0..6_u8).prop_map(|index| json!(format!("@number {index}"))),
        1 => Just(json!("A-7")),
        1 => Just(json!("  ")),
    ]
    .boxed()
}

/// So many percent of what is left to pay; 101 is a little more than all.
fn share() -> Values {
    let percent = prop_oneof![10 => 1..100_u32, 15 => Just(100), 1 => Just(101)];
    percent.prop_map(|percent| json!(format!("@share {percent}"))).boxed()
}

fn price() -> Values {
    numbers(0..1_500_000)
}

fn stock() -> Values {
    numbers(0..400_000)
}

fn quantity() -> Values {
    let little = (1..10_000).prop_map(|units| json!(f64::from(units) / 10_000.0));
    prop_oneof![4 => (1..12_u8).prop_map(Value::from), 6 => numbers(10_000..80_000), 1 => little].boxed()
}

/// Numbers between two limits in ten-thousandths, in the ways that phones spell and spoil them.
fn numbers(units: std::ops::Range<i64>) -> Values {
    let spelled = |divisor: i64| move |units: i64| json!((units / divisor * divisor) as f64 / 10_000.0);
    let noisy = |units: i64| json!((units / 1000) as f64 * 0.1 + (units % 1000) as f64 * 0.0001);
    let fine = |units: i64| json!((units as f64 * 10.0 + 5.0) / 100_000.0);
    prop_oneof![
        2 => units.clone().prop_map(|units| json!(units / 10_000)),
        3 => units.clone().prop_map(spelled(100)),
        2 => units.clone().prop_map(spelled(1)),
        2 => units.clone().prop_map(noisy),
        1 => units.prop_map(fine),
    ]
    .boxed()
}
