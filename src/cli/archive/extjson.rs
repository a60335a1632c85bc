//! Canonical Extended JSON (version 2), which keeps every type of BSON and the order of the fields.
//!
//! The crate writes it by way of maps that may sort their fields, so it is written here, straight from the bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::raw::{RawArray, RawBsonRef, RawDocument};
use bson::{Bson, Document, RawDocumentBuf, Timestamp};
use serde_json::json;

/// One record as one line, without its end.
pub(super) fn write(record: &RawDocument) -> Result<String, bson::error::Error> {
    let mut text = String::new();
    document(record, &mut text)?;
    Ok(text)
}

/// A record from its line.
pub(super) fn read(line: &str) -> Result<RawDocumentBuf, String> {
    let record: Document = serde_json::from_str(line).map_err(|e| e.to_string())?;
    RawDocumentBuf::try_from(&record).map_err(|e| e.to_string())
}

fn document(record: &RawDocument, text: &mut String) -> Result<(), bson::error::Error> {
    text.push('{');
    for (index, element) in record.iter().enumerate() {
        let (name, field) = element?;
        if index > 0 {
            text.push(',');
        }
        quoted(name.as_str(), text);
        text.push(':');
        value(field, text)?;
    }
    text.push('}');
    Ok(())
}

fn array(list: &RawArray, text: &mut String) -> Result<(), bson::error::Error> {
    text.push('[');
    for (index, element) in list.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        value(element?, text)?;
    }
    text.push(']');
    Ok(())
}

fn quoted(part: &str, text: &mut String) {
    text.push_str(&json!(part).to_string());
}

fn value(field: RawBsonRef<'_>, text: &mut String) -> Result<(), bson::error::Error> {
    match field {
        RawBsonRef::Document(record) => document(record, text)?,
        RawBsonRef::Array(list) => array(list, text)?,
        RawBsonRef::String(part) => quoted(part, text),
        RawBsonRef::Boolean(yes) => text.push_str(if yes { "true" } else { "false" }),
        RawBsonRef::Null => text.push_str("null"),
        RawBsonRef::ObjectId(id) => wrapped("$oid", &id.to_hex(), text),
        RawBsonRef::Int32(number) => wrapped("$numberInt", &number.to_string(), text),
        RawBsonRef::Int64(number) => wrapped("$numberLong", &number.to_string(), text),
        RawBsonRef::Double(number) => wrapped("$numberDouble", &double(number), text),
        RawBsonRef::Decimal128(number) => wrapped("$numberDecimal", &number.to_string(), text),
        RawBsonRef::DateTime(at) => {
            text.push_str("{\"$date\":");
            wrapped("$numberLong", &at.timestamp_millis().to_string(), text);
            text.push('}');
        }
        RawBsonRef::Timestamp(Timestamp { time, increment }) => {
            text.push_str(&format!("{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}"));
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            text.push_str("{\"$code\":");
            quoted(code.code, text);
            text.push_str(",\"$scope\":");
            document(code.scope, text)?;
            text.push('}');
        }
        RawBsonRef::Binary(binary) => {
            let (bytes, subtype) = (STANDARD.encode(binary.bytes), u8::from(binary.subtype));
            text.push_str(&format!("{{\"$binary\":{{\"base64\":\"{bytes}\",\"subType\":\"{subtype:02x}\"}}}}"));
        }
        // Those that hold no other values are written by the crate in the same way, relaxed or canonical.
        other => {
            let written = serde_json::to_string(&Bson::try_from(other)?);
            text.push_str(&written.map_err(<bson::error::Error as serde::ser::Error>::custom)?);
        }
    }
    Ok(())
}

fn wrapped(name: &str, part: &str, text: &mut String) {
    text.push_str("{\"");
    text.push_str(name);
    text.push_str("\":\"");
    text.push_str(part);
    text.push_str("\"}");
}

/// The shortest text that is the same double.
fn double(number: f64) -> String {
    if number.is_finite() {
        format!("{number:?}")
    } else if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "Infinity".to_owned()
    } else {
        "-Infinity".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::spec::BinarySubtype;
    use bson::{Binary, DateTime, Decimal128, JavaScriptCodeWithScope, Regex, doc};

    use super::*;

    #[test]
    fn every_type_comes_back_as_the_same_bytes() {
        let record = doc! {
            "z": 1_i32, "a": 2_i64, "double": 0.1, "whole": 3.0, "zero": -0.0, "large": 1e300, "tiny": 5e-324,
            "inf": f64::INFINITY, "-inf": f64::NEG_INFINITY, "nan": f64::NAN,
            "decimal": "12.50".parse::<Decimal128>().unwrap(),
            "id": ObjectId::from_bytes([7; 12]), "date": DateTime::from_millis(-5), "far": DateTime::MAX,
            "text": "é \" \\ \n \u{1} 日本", "": "no name", "with.dot": 1, "yes": true, "no": false, "null": Bson::Null,
            "list": [1_i32, [2_i64], { "x": [] }], "inner": { "b": 1_i32, "a": { } },
            "binary": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 1, 255] },
            "uuid": Binary { subtype: BinarySubtype::Uuid, bytes: vec![9; 16] },
            "user": Binary { subtype: BinarySubtype::UserDefined(0x81), bytes: vec![] },
            "regex": Regex { pattern: bson::cstr!("^a").to_owned(), options: bson::cstr!("i").to_owned() },
            "stamp": Timestamp { time: 1, increment: u32::MAX },
            "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()),
            "scope": JavaScriptCodeWithScope { code: "g()".into(), scope: doc! { "n": 1_i64 } },
            "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined,
        };
        let bytes = RawDocumentBuf::try_from(&record).unwrap();
        for (name, field) in &record {
            let alone = RawDocumentBuf::try_from(&doc! { name: field.clone() }).unwrap();
            let line = write(&alone).unwrap();
            assert_eq!(read(&line).unwrap().as_bytes(), alone.as_bytes(), "{line}");
        }
        assert_eq!(read(&write(&bytes).unwrap()).unwrap().as_bytes(), bytes.as_bytes());
    }
}
