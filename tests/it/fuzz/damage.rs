//! What is done to good bytes, and to good JSON.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::corpus;

/// Bytes of a kind, damaged up to four times; rarely bytes that have nothing to do with it.
pub fn damaged(corpus: &'static [(String, Vec<u8>)]) -> impl Strategy<Value = Vec<u8>> {
    let entry = || any::<Index>().prop_map(|index| index.get(corpus).1.clone());
    let damaged = (entry(), vec(damage(corpus), 0..4))
        .prop_map(|(bytes, damages)| damages.iter().fold(bytes, |bytes, damage| damage.apply(bytes)));
    prop_oneof![20 => damaged, 1 => vec(any::<u8>(), 0..300), 1 => entry()]
}

/// Something bad that happens to bytes.
#[derive(Clone, Debug)]
enum Damage {
    FlipBit(Index, u32),
    Insert(Index, Vec<u8>),
    CutOff(Index),
    CutOut(Index, Index),
    Repeat(Index, Index, usize),
    Splice(Index, Vec<u8>, Index),
    ReplaceValue(Index, String),
    AddMember(Index, String, String),
}

fn damage(corpus: &'static [(String, Vec<u8>)]) -> impl Strategy<Value = Damage> {
    let entry = any::<Index>().prop_map(|index| index.get(corpus).1.clone());
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), 0..8_u32).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        1 => (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => at().prop_map(Damage::CutOff),
        1 => (at(), at()).prop_map(|(from, to)| Damage::CutOut(from, to)),
        1 => (at(), at(), select(&[1, 2, 50, 1000][..])).prop_map(|(from, to, times)| Damage::Repeat(from, to, times)),
        1 => (at(), entry, at()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
        12 => (at(), values()).prop_map(|(at, value)| Damage::ReplaceValue(at, value)),
        4 => (at(), names(), values()).prop_map(|(at, name, value)| Damage::AddMember(at, name, value)),
    ]
}

impl Damage {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() || bytes.len() > LARGEST {
            return bytes;
        }
        match self {
            Self::FlipBit(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Self::CutOff(at) => bytes.truncate(at.index(bytes.len())),
            Self::CutOut(from, to) => drop(bytes.drain(range(from, to, bytes.len()))),
            Self::Repeat(from, to, times) => {
                let range = range(from, to, bytes.len());
                let times = times.min(&(LARGEST / range.len().max(1))).to_owned();
                let part = bytes[range.clone()].repeat(times);
                bytes.splice(range.end..range.end, part);
            }
            Self::Splice(at, other, from) => {
                bytes.truncate(at.index(bytes.len()));
                bytes.extend(other.iter().skip(from.index(other.len().max(1))));
            }
            Self::ReplaceValue(at, value) => return replace_value(bytes, at, value),
            Self::AddMember(at, name, value) => return add_member(bytes, at, name, value),
        }
        bytes
    }
}

/// A range within so many bytes.
fn range(one: &Index, other: &Index, length: usize) -> std::ops::Range<usize> {
    let (one, other) = (one.index(length), other.index(length));
    one.min(other)..one.max(other)
}

/// Puts a text, which need not be JSON, in place of one value of the JSON.
fn replace_value(bytes: Vec<u8>, at: &Index, text: &str) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(&bytes) else { return bytes };
    let pointers = pointers(&json, "");
    *json.pointer_mut(&pointers[at.index(pointers.len())]).expect("a pointer into it") = PLACE.into();
    json.to_string().replacen(&format!("\"{PLACE}\""), text, 1).into()
}

/// Adds a member to one object of the JSON, perhaps one that it has already.
fn add_member(bytes: Vec<u8>, at: &Index, name: &str, value: &str) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(&bytes) else { return bytes };
    let is_object = |pointer: &String| json.pointer(pointer).is_some_and(Value::is_object);
    let pointers: Vec<_> = pointers(&json, "").into_iter().filter(is_object).collect();
    if pointers.is_empty() {
        return bytes;
    }
    json.pointer_mut(&pointers[at.index(pointers.len())]).expect("a pointer into it")[PLACE] = 0.into();
    json.to_string().replacen(&format!("\"{PLACE}\":0"), &format!("{name}:{value}"), 1).into()
}

/// Where the values of the JSON are.
fn pointers(json: &Value, here: &str) -> Vec<String> {
    let below: Vec<_> = match json {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => vec![],
    };
    let escaped = |name: String| name.replace('~', "~0").replace('/', "~1");
    let below = below.into_iter().flat_map(|(name, value)| pointers(value, &format!("{here}/{}", escaped(name))));
    std::iter::once(here.to_owned()).chain(below).collect()
}

/// Values to be afraid of, as text.
fn values() -> impl Strategy<Value = String> {
    let nested =
        (select(&[("[", "]"), ("{\"a\":", "}"), ("[{\"_id\":", "}]")][..]), select(&[3_usize, 60, 125, 130, 5000][..]));
    prop_oneof![
        10 => select(VALUES).prop_map(str::to_owned),
        2 => any::<f64>().prop_map(|number| format!("{number:e}")),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (-1e12..1e12).prop_map(|number: f64| number.to_string()),
        2 => any::<String>().prop_map(|text| Value::from(text).to_string()),
        1 => nested.prop_map(|((open, close), depth)| format!("{}1{}", open.repeat(depth), close.repeat(depth))),
        1 => select(&["x", "é", "\\u0000", "\\ud83d\\ude00", " "][..])
            .prop_flat_map(|text| (1..20_000_usize).prop_map(move |times| format!("\"{}\"", text.repeat(times)))),
        1 => (1..400_usize).prop_map(|digits| "9".repeat(digits)),
        1 => (select(VALUES), 1..3_000_usize).prop_map(|(value, times)| format!("[{}]", vec![value; times].join(","))),
        1 => any::<Index>().prop_map(|index| String::from_utf8_lossy(&index.get(corpus::bodies()).1).into_owned()),
    ]
}

/// Names of members, as JSON text.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(NAMES).prop_map(|name| format!("\"{name}\"")),
        1 => any::<String>().prop_map(|text| Value::from(text).to_string()),
    ]
}

/// Bytes beyond this size are not damaged further: it is not size that is tested here.
const LARGEST: usize = 300_000;

/// Stands where a text will be put.
const PLACE: &str = "(here)";

const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "\"\"",
    "\" \"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "{\"\":null}",
    "1e308",
    "1e309",
    "-1e400",
    "5e-324",
    "1e-400",
    "0.00005",
    "0.00004999",
    "99999999999.9999",
    "99999999999.99995",
    "100000000000",
    "-99999999999.9999",
    "9007199254740993",
    "18446744073709551616",
    "1E+2",
    "1e5",
    "01",
    "+1",
    ".5",
    "NaN",
    "Infinity",
    "\"NaN\"",
    "\"1\"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ufffe\"",
    "\"\\u202e\"",
    "\"INV-000001\"",
    "\"INV-999999\"",
    "\"INV-9223372036854775807\"",
    "\"64b0000000000000000000ff\"",
    "\"64B0000000000000000000FF\"",
    "\"ffffffffffffffffffffffff\"",
    "\"000000000000000000000000\"",
    "\"2025-02-29\"",
    "\"0001-01-01\"",
    "\"9999-12-31\"",
    "\"9999-12-31T23:59:59.999999999-23:59\"",
    "\"0001-01-01T00:00:00+23:59\"",
    "\"2025-01-12T18:30:60Z\"",
    "\"-0001-01-01\"",
    "\"+12025-01-01\"",
    "{\"$oid\":\"64b0000000000000000000ff\"}",
    "{\"$numberDecimal\":\"NaN\"}",
    "{\"$date\":0}",
    "{\"$ne\":null}",
    "{\"a\":1,\"a\":2}",
    "{\"a.b\":1}",
    "{\"$set\":{\"price\":0}}",
    "{\"\\u0000\":1}",
    "nul",
    "'a'",
    "",
    "}",
    "]",
    ",",
    "\"",
    "\\",
    "//",
    "\u{feff}",
];

const NAMES: &[&str] = &[
    "_id",
    "clientId",
    "item",
    "invoice",
    "payment",
    "create",
    "update",
    "delete",
    "name",
    "price",
    "stock",
    "unit",
    "groupId",
    "dealerIds",
    "lowStockQuantity",
    "isActive",
    "products",
    "productId",
    "quantity",
    "costPerUnit",
    "itemName",
    "totalAmount",
    "paidAmount",
    "subtotal",
    "totalTax",
    "totalDiscount",
    "invoiceNumber",
    "invoiceDate",
    "dueDate",
    "invoiceId",
    "amount",
    "paidAt",
    "localId",
    "keys",
    "localIds",
    "__proto__",
    "$set",
    "a.b",
    "",
    "\\u0000",
    "__v",
    "revision",
    "createdAt",
];
