//! The plain way from stored BSON to the answer's JSON, with the driver's own reader and the standard
//! library's numbers: what `normalize.rs` must not differ from, and is measured against.
//!
//! A record is shown as it is stored, fields that this program does not know included, with these
//! differences: ids are strings, times RFC 3339 in UTC with milliseconds, numbers plain; what the
//! contract promises and an old record lacks is filled in; storage-only fields are left out.

use std::io::Write;

use bson::Bson;
use bson::error::Error;
use bson::raw::{RawArray, RawBsonRef, RawDocument};

use crate::model::{Amount, Collection, Item, Timestamp};

/// Appends one record of a collection.
pub fn write_record(collection: Collection, record: &RawDocument, out: &mut Vec<u8>) -> Result<(), Error> {
    write_promised(fields(collection), record, out)
}

/// What a promised field holds, and what stands for it where a record has none (or null).
#[derive(Clone, Copy)]
enum Field {
    /// Shown as it is, null where it is absent: ids, references and times.
    OrNull,
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

type Fields = &'static [(&'static str, Field)];

use Field::{Flag, Lines, List, OrNull, OwnId, Text};

const ZERO: Field = Field::Amount(Amount::ZERO);

const GROUP: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("name", Text("")),
    ("description", Text("")),
    ("isActive", Flag(true)),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

const ITEM: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("groupId", OrNull),
    ("name", Text("")),
    ("price", ZERO),
    ("stock", ZERO),
    ("lowStockQuantity", Field::Amount(Item::DEFAULT_LOW_STOCK)),
    ("unit", Text(Item::DEFAULT_UNIT)),
    ("description", Text("")),
    ("dealerIds", List),
    ("isActive", Flag(true)),
    ("productId", OwnId),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

const CUSTOMER: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("name", Text("")),
    ("phoneNumber", Text("")),
    ("address", Text("")),
    ("emailId", Text("")),
    ("gstNo", Text("")),
    ("isActive", Flag(true)),
    ("lastPurchaseAt", OrNull),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

const INVOICE: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("clientCustomerId", OrNull),
    ("clientCustomerName", Text("")),
    ("clientCustomerPhone", Text("")),
    ("invoiceNumber", Text("")),
    ("invoiceDate", OrNull),
    ("dueDate", OrNull),
    ("subtotal", ZERO),
    ("totalTax", ZERO),
    ("totalDiscount", ZERO),
    ("totalAmount", ZERO),
    ("paidAmount", ZERO),
    ("notes", Text("")),
    ("isFinalized", Flag(false)),
    ("products", Lines),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

const LINE: Fields = &[
    ("productId", OrNull),
    ("itemName", Text("")),
    ("costPerUnit", ZERO),
    ("quantity", ZERO),
    ("itemGroup", Text("")),
];

const PAYMENT: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("invoiceId", OrNull),
    ("amount", ZERO),
    ("method", Text("cash")),
    ("note", Text("")),
    ("paidAt", OrNull),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

const PURCHASE: Fields = &[
    ("_id", OrNull),
    ("clientId", OrNull),
    ("clientCustomerId", OrNull),
    ("clientCustomerPhone", Text("")),
    ("invoiceId", OrNull),
    ("totalAmount", ZERO),
    ("createdAt", OrNull),
    ("updatedAt", OrNull),
];

/// Fields that are the store's own business.
const STORAGE_ONLY: [&str; 2] = ["__v", "revision"];

fn fields(collection: Collection) -> Fields {
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
fn write_promised(promised: Fields, record: &RawDocument, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut written = 0u32; // one bit for each promised field
    let mut count = 0;
    out.push(b'{');
    for element in record.iter() {
        let (name, value) = element?;
        let name = name.as_str();
        let field = promised.iter().position(|(promised, _)| *promised == name);
        let defaulted = field.is_some_and(|index| value == RawBsonRef::Null || matches!(promised[index].1, OwnId));
        if defaulted || STORAGE_ONLY.contains(&name) {
            continue;
        }
        separate(count, out);
        count += 1;
        write_name(name, out);
        match field {
            Some(index) => {
                written |= 1 << index;
                write_field(promised[index].1, value, out)?;
            }
            None => write_value(value, out)?,
        }
    }
    let missing = promised.iter().enumerate().filter(|(index, _)| written & (1 << index) == 0);
    for (_, (name, field)) in missing {
        separate(count, out);
        count += 1;
        write_name(name, out);
        match field {
            OwnId => write_value(record.get("_id")?.unwrap_or(RawBsonRef::Null), out)?,
            field => write_default(*field, out),
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_field(field: Field, value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match (field, value) {
        (Field::Amount(_), value) => match Amount::from_bson(value) {
            Some(amount) => write_number(amount.to_f64(), out),
            None => write_value(value, out)?,
        },
        (Lines, RawBsonRef::Array(lines)) => write_lines(lines, out)?,
        (_, value) => write_value(value, out)?,
    }
    Ok(())
}

fn write_lines(lines: &RawArray, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'[');
    for (index, line) in lines.into_iter().enumerate() {
        separate(index, out);
        match line? {
            RawBsonRef::Document(line) => write_promised(LINE, line, out)?,
            other => write_value(other, out)?,
        }
    }
    out.push(b']');
    Ok(())
}

fn write_default(field: Field, out: &mut Vec<u8>) {
    match field {
        OrNull | OwnId => out.extend_from_slice(b"null"),
        Field::Amount(amount) => write_number(amount.to_f64(), out),
        Text(text) => write_string(text, out),
        Flag(flag) => write_flag(flag, out),
        List | Lines => out.extend_from_slice(b"[]"),
    }
}

fn write_value(value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        RawBsonRef::Null | RawBsonRef::Undefined => out.extend_from_slice(b"null"),
        RawBsonRef::ObjectId(id) => write_string(&id.to_hex(), out),
        RawBsonRef::String(text) => write_string(text, out),
        RawBsonRef::Boolean(flag) => write_flag(flag, out),
        RawBsonRef::Int32(whole) => write_text(whole, out),
        RawBsonRef::Int64(whole) => write_text(whole, out),
        RawBsonRef::Double(double) => write_number(double, out),
        RawBsonRef::Decimal128(decimal) => write_number(decimal.to_string().parse().unwrap_or(f64::NAN), out),
        RawBsonRef::DateTime(at) => write_string(&Timestamp::new(at).to_string(), out),
        RawBsonRef::Array(values) => {
            out.push(b'[');
            for (index, value) in values.into_iter().enumerate() {
                separate(index, out);
                write_value(value?, out)?;
            }
            out.push(b']');
        }
        RawBsonRef::Document(document) => {
            out.push(b'{');
            for (index, element) in document.iter().enumerate() {
                let (name, value) = element?;
                separate(index, out);
                write_name(name.as_str(), out);
                write_value(value, out)?;
            }
            out.push(b'}');
        }
        // Types that JSON lacks and the books do not use are shown as text.
        other => write_string(&Bson::try_from(other)?.to_string(), out),
    }
    Ok(())
}

/// JSON has no NaN and no infinity, so they are null.
fn write_number(double: f64, out: &mut Vec<u8>) {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if !double.is_finite() {
        out.extend_from_slice(b"null");
    } else if double.fract() == 0.0 && double.abs() < EXACT {
        write_text(double as i64, out);
    } else {
        write_text(double, out);
    }
}

fn write_flag(flag: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if flag { b"true" } else { b"false" });
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // Neither a string nor a vector can fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_text(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}
