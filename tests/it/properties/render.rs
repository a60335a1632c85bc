//! Makes a queue into the body that a phone sends, once it is known what the book holds.
//!
//! | placeholder | becomes |
//! |---|---|
//! | `@row`, `@row number`, `@row text` | an alias of its own: `1`, `1.0`, `"tmp-1"` |
//! | `@item 3`, `@invoice 3`, `@payment 3` | the id of a stored record, if there is one |
//! | `@item alias 3`, `@invoice alias 3` | an alias of this body, if there is one, else a stored record's id |
//! | `@group 1`, `@customer 1`, `@dealer 1` | an id, the last of which nobody knows |
//! | `@number 2` | an invoice number near the next one |
//! | `@share 50` | so many percent of what is left to pay on the invoice |

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::oid::ObjectId;
use serde_json::{Value, json};
use viveka_sync::batch::Batch;
use viveka_sync::clock::Stamp;
use viveka_sync::model::{InvoiceId, invoice_number};
use viveka_sync::plan::{Decision, Plan, Planner, SyncPlanner};

use super::body::{aliases, amount, divide, list, number, reference, resolve, units_of};
use super::book::{Book, made_ids};
use super::queue::{Damage, Queue};
use super::story::client;

/// The body of a queue that is sent to this book.
pub fn render(queue: &Queue, book: &Book) -> Value {
    let mut body = queue.body.clone();
    for section in ["item", "invoice", "payment"] {
        name_rows(&mut body, section, book);
    }
    let names = Names { book, body: &body.clone() };
    replace(&mut body, &mut |text| names.meaning(text));
    fill_in_shares(&mut body, book);
    if let Some(damage) = &queue.damage {
        damage.strike(&mut body);
    }
    body
}

/// Pointers to all values of a body, itself included.
pub fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let name = name.replace('~', "~0").replace('/', "~1");
        all.extend(pointers(value).into_iter().map(|below| format!("/{name}{below}")));
    }
    all
}

impl Damage {
    fn strike(&self, body: &mut Value) {
        let pointers = pointers(body);
        let pointer = &pointers[self.node % pointers.len()];
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        match (&self.instead, body.pointer_mut(parent)) {
            (None, Some(Value::Object(members))) => drop(members.remove(name)),
            (instead, _) => *body.pointer_mut(pointer).unwrap() = instead.clone().unwrap_or_default(),
        }
    }
}

/// Gives the creates of a section their aliases.
fn name_rows(body: &mut Value, section: &str, book: &Book) {
    let Some(creates) = body[section]["create"].as_array_mut() else { return };
    for (index, create) in creates.iter_mut().enumerate() {
        let Some(alias) = create.get_mut("_id") else { continue };
        let row = index + 1;
        match alias.as_str() {
            Some("@row") => *alias = json!(row),
            Some("@row number") => *alias = json!(row as f64),
            Some("@row text") => *alias = json!(format!(" tmp-{row}")),
            Some(stored) => *alias = stored_id(stored, book).unwrap_or_else(|| alias.clone()),
            None => {}
        }
    }
}

/// Puts what a placeholder means in its place, everywhere.
fn replace(value: &mut Value, meaning: &mut impl FnMut(&str) -> Option<Value>) {
    match value {
        Value::String(text) => {
            if let Some(meant) = meaning(text) {
                *value = meant;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, meaning)),
        Value::Object(members) => members.values_mut().for_each(|value| replace(value, meaning)),
        _ => {}
    }
}

/// What placeholders refer to.
struct Names<'a> {
    book: &'a Book,
    body: &'a Value,
}

impl Names<'_> {
    fn meaning(&self, text: &str) -> Option<Value> {
        let (kind, index) = text.split_once(" alias ").unwrap_or((text, "none"));
        let Ok(index) = index.parse::<usize>() else { return stored_id(text, self.book) };
        let section = kind.trim_start_matches('@');
        let aliases = aliases(list(self.body, section, "create"));
        let Some((alias, _)) = aliases.get(index % aliases.len().max(1)) else {
            return stored_id(&format!("{kind} {index}"), self.book);
        };
        let as_number = alias.parse::<i64>().ok().filter(|_| index.is_multiple_of(2));
        Some(as_number.map_or_else(|| json!(format!("{alias} ")), Value::from))
    }
}

/// The meaning of a placeholder that has nothing to do with the rest of the body.
fn stored_id(text: &str, book: &Book) -> Option<Value> {
    let (kind, index) = text.split_once(' ')?;
    let index = index.parse::<usize>().ok()?;
    let pick = |ids: Vec<ObjectId>| json!(ids[index % ids.len()].to_hex());
    let or_none = |mut ids: Vec<ObjectId>, none: u8| {
        if ids.is_empty() {
            ids.push(ObjectId::from_bytes([none; 12]));
        }
        pick(ids)
    };
    let with_unknown = |ids: Vec<ObjectId>| pick([ids, vec![ObjectId::from_bytes([0xee; 12])]].concat());
    Some(match kind {
        "@item" => or_none(book.items.keys().map(|id| id.0).collect(), 0xe1),
        "@invoice" => or_none(book.invoices.keys().map(|id| id.0).collect(), 0xe2),
        "@payment" => or_none(book.payments.keys().map(|id| id.0).collect(), 0xe3),
        "@group" => with_unknown(book.groups.iter().map(|id| id.0).collect()),
        "@customer" => with_unknown(book.customers.iter().map(|id| id.0).collect()),
        "@dealer" => with_unknown(book.dealers.iter().map(|id| id.0).collect()),
        "@number" => json!(invoice_number((book.next_invoice + index as i64 - 2).max(0))),
        _ => return None,
    })
}

/// Makes shares into amounts: first of the totals, then of what each payment finds left to pay.
fn fill_in_shares(body: &mut Value, book: &Book) {
    let preview = preview(body.clone(), book);
    let created = preview.as_ref().map_or(&[][..], |plan| &plan.receipt.synced.invoices_created);
    let mut due = due(preview.as_ref(), book);
    let invoices = list(body, "invoice", "create").to_vec();
    for (index, invoice) in invoices.iter().enumerate() {
        let paid = created.get(index).map(|id| take_share(invoice, "paidAmount", due.entry(*id).or_default()));
        set_amount(body, "invoice", index, "paidAmount", paid);
    }
    let payments = list(body, "payment", "create").to_vec();
    for (index, payment) in payments.iter().enumerate() {
        let target = resolve::<InvoiceId>(&payment["invoiceId"], &invoices, created);
        let paid = target.map(|id| take_share(payment, "amount", due.entry(id).or_default()));
        set_amount(body, "payment", index, "amount", paid);
    }
    // A share of nothing is no payment.
    let payments = body["payment"]["create"].as_array_mut().into_iter();
    payments.for_each(|payments| payments.retain(|payment| amount(payment, "amount") != Some(0)));
}

/// What comes of a body on which nothing is paid yet; `None` if it is refused.
fn preview(mut body: Value, book: &Book) -> Option<Plan> {
    body["payment"] = Value::Null;
    for invoice in body["invoice"]["create"].as_array_mut().into_iter().flatten() {
        invoice.as_object_mut().map(|invoice| invoice.remove("paidAmount"));
    }
    let batch = Batch::parse(body.to_string().as_bytes(), &client(), usize::MAX).ok()?;
    let stamp = Stamp::take(batch.ids());
    match SyncPlanner::new(Arc::new(batch), stamp).plan(&book.whole()).ok()? {
        Decision::Commit(plan) => Some(*plan).filter(|plan| !made_ids(plan).is_empty()),
        Decision::Replay(_) => None,
    }
}

/// What is left to pay on each invoice, in ten-thousandths.
fn due(preview: Option<&Plan>, book: &Book) -> BTreeMap<InvoiceId, i128> {
    let mut after = book.clone();
    preview.into_iter().for_each(|plan| after.commit(plan));
    let left = |invoice: &viveka_sync::model::Invoice| {
        (invoice.id, units_of(invoice.totals.total_amount) - units_of(invoice.paid_amount))
    };
    after.invoices.values().map(left).collect()
}

/// The amount that a field states or takes a share of; takes it from what is due.
fn take_share(record: &Value, field: &str, due: &mut i128) -> i128 {
    let share = record.get(field).and_then(reference).and_then(|text| text.strip_prefix("@share ")?.parse().ok());
    let paid = match share {
        Some(100) => *due,
        Some(percent @ 0..100) => divide(*due * percent, 100),
        Some(_) => *due + 1,
        None => amount(record, field).unwrap_or_default(),
    };
    *due -= paid;
    paid
}

/// Puts an amount in the place of a share; a share of nothing known becomes 1.
fn set_amount(body: &mut Value, section: &str, index: usize, field: &str, units: Option<i128>) {
    let Some(value) = body[section]["create"][index].get_mut(field) else { return };
    if value.is_string() {
        *value = number(units.unwrap_or(10_000));
    }
}
