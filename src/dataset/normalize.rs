//! From stored BSON to the answer's JSON, without building values in between.
//!
//! A record is shown as it is stored, fields that this program does not know included, with these
//! differences: ids are strings, times RFC 3339 in UTC with milliseconds, numbers plain; what the
//! contract promises and an old record lacks is filled in; storage-only fields are left out.

use bson::Bson;
use bson::raw::RawDocument;

use super::number::{write_amount, write_decimal, write_double, write_integer};
use super::text::{write_date_time, write_object_id, write_text};
use super::walk::{Elements, Malformed, Value};
use crate::model::{Amount, Collection, Item};

/// Appends one record of a collection, given as BSON, as the JSON object that answers show.
///
/// # Errors
/// Bytes that are not valid BSON, or nested more than 200 deep; `out` is then as it was before.
pub fn write_record(collection: Collection, record: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let before = out.len();
    let written =
        Elements::of(record).and_then(|elements| write_promised(promises(collection), elements, DEPTH - 1, out));
    if written.is_err() {
        out.truncate(before);
    }
    written
}

/// How many documents and arrays within each other are read: as many as MongoDB stores at most.
const DEPTH: u8 = 200;

/// What a promised field holds, and what stands for it where a record has none (or null).
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// An id that every record has.
    Id,
    /// A reference, null where it is absent.
    IdOrNull,
    /// A time, null where it is absent.
    TimeOrNull,
    /// A number of at most 4 places.
    Amount(Amount),
    Text(&'static str),
    Flag(bool),
    /// A list, empty where it is absent.
    List,
    /// The lines of an invoice.
    Lines,
    /// The record's own id, whatever is stored.
    OwnId,
}

/// A field that every answer shows.
pub(super) struct Promise {
    pub name: &'static str,
    /// The name as a member of an object has it, `,"name":`, and bytes behind it that do not count.
    member: [u8; MEMBER],
    pub field: Field,
}

pub(super) type Promises = &'static [Promise];

/// A size that all members fit into. One size for all is a copy of a few words instead of a call.
const MEMBER: usize = 24;

const fn promised(name: &'static str, field: Field) -> Promise {
    let mut member = [b' '; MEMBER];
    member[0] = b',';
    member[1] = b'"';
    let mut at = 0;
    while at < name.len() {
        member[at + 2] = name.as_bytes()[at];
        at += 1;
    }
    member[at + 2] = b'"';
    member[at + 3] = b':';
    Promise { name, member, field }
}

use Field::{Flag, Id, IdOrNull, Lines, List, OwnId, Text, TimeOrNull};

const ZERO: Field = Field::Amount(Amount::ZERO);

const GROUP: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("name", Text("")),
    promised("description", Text("")),
    promised("isActive", Flag(true)),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

const ITEM: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("groupId", IdOrNull),
    promised("name", Text("")),
    promised("price", ZERO),
    promised("stock", ZERO),
    promised("lowStockQuantity", Field::Amount(Item::DEFAULT_LOW_STOCK)),
    promised("unit", Text(Item::DEFAULT_UNIT)),
    promised("description", Text("")),
    promised("dealerIds", List),
    promised("isActive", Flag(true)),
    promised("productId", OwnId),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

const CUSTOMER: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("name", Text("")),
    promised("phoneNumber", Text("")),
    promised("address", Text("")),
    promised("emailId", Text("")),
    promised("gstNo", Text("")),
    promised("isActive", Flag(true)),
    promised("lastPurchaseAt", TimeOrNull),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

const INVOICE: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("clientCustomerId", IdOrNull),
    promised("clientCustomerName", Text("")),
    promised("clientCustomerPhone", Text("")),
    promised("invoiceNumber", Text("")),
    promised("invoiceDate", TimeOrNull),
    promised("dueDate", TimeOrNull),
    promised("subtotal", ZERO),
    promised("totalTax", ZERO),
    promised("totalDiscount", ZERO),
    promised("totalAmount", ZERO),
    promised("paidAmount", ZERO),
    promised("notes", Text("")),
    promised("isFinalized", Flag(false)),
    promised("products", Lines),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

pub(super) const LINE: Promises = &[
    promised("productId", IdOrNull),
    promised("itemName", Text("")),
    promised("costPerUnit", ZERO),
    promised("quantity", ZERO),
    promised("itemGroup", Text("")),
];

const PAYMENT: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("invoiceId", IdOrNull),
    promised("amount", ZERO),
    promised("method", Text("cash")),
    promised("note", Text("")),
    promised("paidAt", TimeOrNull),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

const PURCHASE: Promises = &[
    promised("_id", Id),
    promised("clientId", Id),
    promised("clientCustomerId", IdOrNull),
    promised("clientCustomerPhone", Text("")),
    promised("invoiceId", IdOrNull),
    promised("totalAmount", ZERO),
    promised("createdAt", TimeOrNull),
    promised("updatedAt", TimeOrNull),
];

/// Fields that are the store's own business.
const STORAGE_ONLY: [&[u8]; 2] = [b"__v", b"revision"];

pub(super) fn promises(collection: Collection) -> Promises {
    match collection {
        Collection::ItemGroups => GROUP,
        Collection::Items => ITEM,
        Collection::ClientCustomers => CUSTOMER,
        Collection::Invoices => INVOICE,
        Collection::Payments => PAYMENT,
        Collection::PurchaseHistories => PURCHASE,
    }
}

/// Writes what is stored in stored order, then what is promised and missing.
fn write_promised(promises: Promises, elements: Elements<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    let mut written = 0u32; // one bit for each promise
    let mut next = 0;
    let mut rest = elements;
    while let Some((name, value)) = rest.next()? {
        match find(promises, next, name) {
            Some(index) => {
                let promise = &promises[index];
                next = index + 1;
                if matches!(value, Value::Null) || matches!(promise.field, OwnId) {
                    continue;
                }
                written |= 1 << index;
                write_member(promise, out);
                write_field(promise.field, value, depth, out)?;
            }
            None if STORAGE_ONLY.contains(&name) => {}
            None => {
                out.push(b',');
                write_text(name, out)?;
                out.push(b':');
                write_value(value, depth, out)?;
            }
        }
    }
    for (index, promise) in promises.iter().enumerate() {
        if written & (1 << index) == 0 {
            write_member(promise, out);
            match promise.field {
                OwnId => write_value(elements.find(b"_id")?.unwrap_or(Value::Null), depth, out)?,
                field => write_default(field, out),
            }
        }
    }
    enclose(*b"{}", start, out);
    Ok(())
}

/// Finds a promise by its name. Records have their fields mostly in the order of the promises, so the
/// search begins where the last one ended.
#[inline]
fn find(promises: Promises, next: usize, name: &[u8]) -> Option<usize> {
    let named = |promise: &Promise| promise.name.as_bytes() == name;
    let (before, after) = promises.split_at(next);
    match after.iter().position(named) {
        Some(index) => Some(next + index),
        None => before.iter().position(named),
    }
}

#[inline]
fn write_member(promise: &Promise, out: &mut Vec<u8>) {
    const PUNCTUATION: usize = 4;
    let end = out.len() + promise.name.len() + PUNCTUATION;
    out.extend_from_slice(&promise.member);
    out.truncate(end);
}

#[inline]
fn write_field(field: Field, value: Value<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match (field, value) {
        (Field::Amount(_), value) if write_amount(value, out) => Ok(()),
        (Lines, Value::Array(lines)) => write_lines(lines, deeper(depth)?, out),
        (_, value) => write_value(value, depth, out),
    }
}

fn write_lines(mut lines: Elements<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    while let Some((_, line)) = lines.next()? {
        out.push(b',');
        match line {
            Value::Document(line) => write_promised(LINE, line, deeper(depth)?, out)?,
            other => write_value(other, depth, out)?,
        }
    }
    enclose(*b"[]", start, out);
    Ok(())
}

fn write_default(field: Field, out: &mut Vec<u8>) {
    match field {
        Id | IdOrNull | TimeOrNull | OwnId => out.extend_from_slice(b"null"),
        Field::Amount(amount) => write_double(amount.to_f64(), out),
        Text(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Flag(flag) => write_flag(flag, out),
        List | Lines => out.extend_from_slice(b"[]"),
    }
}

fn write_flag(flag: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if flag { b"true" } else { b"false" });
}

/// Writes a value as it is stored. `depth` more documents and arrays may open.
fn write_value(value: Value<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match value {
        Value::ObjectId(id) => write_object_id(id, out),
        Value::Text(text) | Value::Code(text) => write_text(text, out)?,
        Value::DateTime(millis) => write_date_time(millis, out),
        Value::Boolean(flag) => write_flag(flag, out),
        Value::Null | Value::Undefined => out.extend_from_slice(b"null"),
        Value::Int32(whole) => write_integer(whole.into(), out),
        Value::Int64(whole) => write_integer(whole, out),
        Value::Double(double) => write_double(double, out),
        Value::Decimal128(decimal) => write_decimal(decimal, out),
        Value::Array(values) => write_array(values, deeper(depth)?, out)?,
        Value::Document(elements) => write_document(elements, deeper(depth)?, out)?,
        Value::Rare(kind, bytes) => write_rare(kind, bytes, out)?,
    }
    Ok(())
}

fn write_array(mut values: Elements<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    while let Some((_, value)) = values.next()? {
        out.push(b',');
        write_value(value, depth, out)?;
    }
    enclose(*b"[]", start, out);
    Ok(())
}

fn write_document(mut elements: Elements<'_>, depth: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    while let Some((name, value)) = elements.next()? {
        out.push(b',');
        write_text(name, out)?;
        out.push(b':');
        write_value(value, depth, out)?;
    }
    enclose(*b"{}", start, out);
    Ok(())
}

/// Shows types that JSON lacks and the books do not use as text, in the driver's words.
#[cold]
fn write_rare(kind: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    const AROUND: usize = 4 + 1 + 1 + 1; // the length, the type, the end of an empty name, the end
    let length = i32::try_from(bytes.len() + AROUND).map_err(|_| Malformed::Length)?;
    let document = [&length.to_le_bytes()[..], &[kind, 0], bytes, &[0]].concat();
    let shown = RawDocument::from_bytes(&document)
        .and_then(|document| document.get(""))
        .and_then(|value| value.map(Bson::try_from).transpose());
    match shown {
        Ok(Some(value)) => write_text(value.to_string().as_bytes(), out),
        _ => Err(Malformed::Type),
    }
}

fn deeper(depth: u8) -> Result<u8, Malformed> {
    depth.checked_sub(1).ok_or(Malformed::Depth)
}

/// Puts brackets around everything from `start` on, where each member begins with a comma: the first
/// comma gives way to the opening bracket.
#[inline]
fn enclose([open, close]: [u8; 2], start: usize, out: &mut Vec<u8>) {
    match out.get_mut(start) {
        Some(comma) => *comma = open,
        None => out.push(open),
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use bson::{doc, oid::ObjectId};
    use serde_json::{Value, json};

    use super::*;

    fn shown(collection: Collection, record: bson::Document) -> Value {
        let mut out = Vec::new();
        write_record(collection, &record.to_vec().unwrap(), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn an_old_item_gets_what_it_lacks() {
        let id = ObjectId::from_bytes([1; 12]);
        let stored =
            doc! {"_id": id, "clientId": id, "name": "Soap", "price": 12, "stock": 2.50, "groupId": null, "__v": 0};
        let hex = "010101010101010101010101";
        let expected = json!({
            "_id": hex, "clientId": hex, "productId": hex, "groupId": null, "name": "Soap", "price": 12, "stock": 2.5,
            "lowStockQuantity": 5, "unit": "nos", "description": "", "dealerIds": [], "isActive": true,
            "createdAt": null, "updatedAt": null,
        });
        assert_eq!(shown(Collection::Items, stored), expected);
    }

    #[test]
    fn amounts_are_rounded_and_other_numbers_are_not() {
        let record = doc! {
            "amount": 0.1 + 0.2, "other": 0.1 + 0.2, "whole": 7.0, "huge": 1e300, "nan": f64::NAN,
            "exact": "12.50".parse::<bson::Decimal128>().unwrap(),
        };
        let shown = shown(Collection::Payments, record);
        assert_eq!(
            (&shown["amount"], &shown["other"], &shown["whole"]),
            (&json!(0.3), &json!(0.30000000000000004), &json!(7))
        );
        assert_eq!((&shown["huge"], &shown["nan"], &shown["exact"]), (&json!(1e300), &Value::Null, &json!(12.5)));
    }

    #[test]
    fn unknown_fields_are_shown_whatever_they_are() {
        let record = doc! {
            "nested": {"at": bson::DateTime::from_millis(0), "list": [1i64, {"a\"b": "\u{1}é"}]},
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1] },
        };
        let shown = shown(Collection::ItemGroups, record);
        assert_eq!(shown["nested"], json!({"at": "1970-01-01T00:00:00.000Z", "list": [1, {"a\"b": "\u{1}é"}]}));
        assert!(shown["binary"].is_string());
    }

    #[test]
    fn lines_get_what_they_lack_and_keep_their_ids() {
        let id = ObjectId::from_bytes([2; 12]);
        let shown = shown(Collection::Invoices, doc! {"products": [{"_id": id, "itemName": "Soap", "quantity": 2i32}]});
        let line = json!({"_id": id.to_hex(), "productId": null, "itemName": "Soap", "costPerUnit": 0, "quantity": 2, "itemGroup": ""});
        assert_eq!(shown["products"], json!([line]));
    }
}
