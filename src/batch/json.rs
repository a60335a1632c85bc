//! Strict JSON: what `serde_json` reads, except that an object may not name a member twice, and that
//! there may not be more values than a batch can use.
//!
//! Two `amount`s in one payment would leave it to the parser which one counts; and a value takes many
//! times the memory of its text, so a limit on bytes alone would not bound it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::map::{Entry, Map};

/// Why a body is no JSON that can be a batch.
#[derive(Debug)]
pub(super) enum JsonError {
    /// Says what is wrong and where (line and column), without quoting more than a member's name.
    Malformed(serde_json::Error),
    /// There are more values than allowed.
    TooMany,
}

/// How many values a body may have: two hundred for each operation, and twenty thousand in any case. An invoice
/// with ten lines has about that many.
pub(super) fn most_values(max_operations: usize) -> usize {
    max_operations.saturating_mul(200).max(20_000)
}

/// How many objects and lists may be within each other: serde_json's own bound, less one for itself.
pub(super) const MOST_DEPTH: usize = 127;

/// What an object that is not empty takes besides its values, in values: room for eleven members.
pub(super) const OBJECT: usize = 8;

/// Parses a body of at most `most` values.
pub(super) fn parse(body: &[u8], most: usize) -> Result<Value, JsonError> {
    let left = Cell::new(Some(most));
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = Strict(&left).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    parsed.map_err(|error| if left.get().is_none() { JsonError::TooMany } else { JsonError::Malformed(error) })
}

/// Reads one value, if any are left; `None` once there was one too many.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<Option<usize>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.charge(1)?;
        deserializer.deserialize_any(self)
    }
}

impl Strict<'_> {
    fn charge<E: Error>(self, values: usize) -> Result<(), E> {
        let left = self.0.get().and_then(|left| left.checked_sub(values));
        self.0.set(left);
        left.map(drop).ok_or_else(|| E::custom("too many values"))
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(self)?;
            if members.is_empty() {
                self.charge(OBJECT)?;
            }
            match members.entry(name) {
                Entry::Vacant(new) => new.insert(value),
                Entry::Occupied(twice) => {
                    let name: String = twice.key().chars().take(50).collect();
                    return Err(A::Error::custom(format_args!("member {name:?} stands twice in one object")));
                }
            };
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8]) -> String {
        match parse(body, 1000) {
            Ok(value) => panic!("{value}"),
            Err(JsonError::Malformed(error)) => error.to_string(),
            Err(JsonError::TooMany) => "too many".into(),
        }
    }

    #[test]
    fn reads_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,2.5,"x\u00e9\n",true,null,{"b":{}}],"c":18446744073709551615}"#;
        assert_eq!(parse(text.as_bytes(), 1000).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_a_member_that_stands_twice() {
        let error = error(br#"{"payment":{"create":[{"amount":5,"amount":500}]}}"#);
        assert_eq!(error, "member \"amount\" stands twice in one object at line 1 column 47");
    }

    #[test]
    fn refuses_broken_and_bottomless_json() {
        for body in [&b"{"[..], b"[1,]", b"nul", b"{\"a\":1e999}", b"\"\xff\"", b"{} {}", "[".repeat(900).as_bytes()] {
            assert_ne!(error(body), "too many");
        }
    }

    #[test]
    fn refuses_more_values_than_allowed() {
        assert!(parse(b"[1,2,3]", 4).is_ok());
        assert!(matches!(parse(b"[1,2,3]", 3), Err(JsonError::TooMany)));
        assert!(parse(b"[{\"a\":1}]", 11).is_ok(), "an object costs more than its values");
        assert!(matches!(parse(b"[{\"a\":1}]", 10), Err(JsonError::TooMany)));
    }
}
