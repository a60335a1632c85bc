//! Reads a body by the words of the contract, independently of the code under test.

use bson::oid::ObjectId;
use serde_json::{Number, Value};
use viveka_sync::model::Amount;

/// The elements of `{section: {name: [...]}}`; none if anything on the way is missing or null.
pub fn list<'a>(body: &'a Value, section: &str, name: &str) -> &'a [Value] {
    body[section][name].as_array().map_or(&[], Vec::as_slice)
}

/// A field, where null is as good as missing.
pub fn field<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    record.get(name).filter(|value| !value.is_null())
}

/// A text, trimmed; a blank one is none.
pub fn text(record: &Value, name: &str) -> Option<String> {
    let text = field(record, name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// An amount in ten-thousandths.
pub fn amount(record: &Value, name: &str) -> Option<i128> {
    field(record, name)?.as_number().map(units)
}

/// What a number means in ten-thousandths: its decimal text, rounded half away from zero.
pub fn units(number: &Number) -> i128 {
    let text = number.to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    match exponent.parse::<i32>().unwrap() - fraction.len() as i32 + 4 {
        shift @ 0.. => digits * 10_i128.pow(shift.min(20) as u32),
        shift => divide(digits, 10_i128.pow(shift.unsigned_abs().min(30))),
    }
}

/// Divides and rounds half away from zero.
pub fn divide(dividend: i128, divisor: i128) -> i128 {
    (dividend.abs() + divisor / 2) / divisor * dividend.signum()
}

/// An amount of a record in ten-thousandths.
pub fn units_of(amount: Amount) -> i128 {
    units(amount.to_json().as_number().unwrap())
}

/// A number that stands for so many ten-thousandths.
pub fn number(units: i128) -> Value {
    let sign = if units < 0 { "-" } else { "" };
    serde_json::from_str(&format!("{sign}{}.{:04}", units.abs() / 10_000, units.abs() % 10_000)).unwrap()
}

/// The text of an alias or a reference: a string or a whole number.
pub fn reference(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if number.is_f64() => {
            let double = number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() < 2_f64.powi(53))?;
            (double as i64).to_string()
        }
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The aliases of creates, each with the index of its create; shared ones are left out.
pub fn aliases(creates: &[Value]) -> Vec<(String, usize)> {
    let all: Vec<_> = creates.iter().map(|create| create.get("_id").and_then(reference)).collect();
    let unique = |alias: &String| all.iter().flatten().filter(|other| *other == alias).count() == 1;
    let named = all.iter().enumerate().filter_map(|(index, alias)| Some((alias.clone()?, index)));
    named.filter(|(alias, _)| unique(alias)).collect()
}

/// What a reference leads to: the id of an alias's record, else the stored id that it spells.
pub fn resolve<Id: Copy + From<ObjectId>>(value: &Value, creates: &[Value], created: &[Id]) -> Option<Id> {
    let text = reference(value)?;
    match aliases(creates).into_iter().find(|(alias, _)| *alias == text) {
        Some((_, index)) => created.get(index).copied(),
        None => ObjectId::parse_str(text).ok().map(Id::from),
    }
}
