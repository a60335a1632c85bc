//! Compares JSON with an expectation that has placeholders.
//!
//! `"$client"` stands for the client's id, `"$new:NAME"` for an id of 24 hex digits (the same for the same name,
//! another for another name), `"$time"` for a time like 2025-01-12T00:00:00.000Z and `"$any"` for any string that
//! is not empty. An object with the member `"...": "..."` leaves members out. All else must be equal.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// Knows the client, and remembers which id each `$new:NAME` has turned out to be.
pub struct Matcher {
    client: String,
    ids: BTreeMap<String, String>,
}

impl Matcher {
    /// A matcher that has seen no new id yet.
    pub fn new(client_hex: &str) -> Self {
        Self { client: client_hex.to_owned(), ids: BTreeMap::new() }
    }

    /// The first difference between what was expected and what came.
    pub fn check(&mut self, expected: &Value, got: &Value) -> Result<(), Mismatch> {
        match (expected, got) {
            (Value::Object(expected), Value::Object(got)) => self.check_object(expected, got),
            (Value::Array(expected), Value::Array(got)) => self.check_list(expected, got),
            (Value::String(pattern), got) => self.check_text(pattern, got),
            (expected, got) if expected == got => Ok(()),
            (expected, got) => Err(Mismatch::new(expected, got)),
        }
    }

    /// The text with the ids that are known by now in place of `"$client"` and `"$new:NAME"`.
    pub fn fill_in(&self, text: &str) -> String {
        let mut text = text.replace("\"$client\"", &format!("\"{}\"", self.client));
        for (name, id) in &self.ids {
            text = text.replace(&format!("\"$new:{name}\""), &format!("\"{id}\""));
        }
        text
    }

    /// Every key of one must be in the other, unless some are said to be left out.
    fn check_object(&mut self, expected: &Map<String, Value>, got: &Map<String, Value>) -> Result<(), Mismatch> {
        let leaves_out = expected.get(LEFT_OUT).is_some_and(|mark| mark == LEFT_OUT);
        for (key, expected) in expected.iter().filter(|(key, _)| !leaves_out || *key != LEFT_OUT) {
            match got.get(key) {
                Some(got) => self.check(expected, got),
                None => Err(Mismatch::new(expected, "nothing")),
            }
            .map_err(|mismatch| mismatch.below(key))?;
        }
        match got.iter().find(|(key, _)| !leaves_out && !expected.contains_key(*key)) {
            Some((key, got)) => Err(Mismatch::new("nothing", got).below(key)),
            None => Ok(()),
        }
    }

    /// Entry by entry, in order.
    fn check_list(&mut self, expected: &[Value], got: &[Value]) -> Result<(), Mismatch> {
        for (index, pair) in expected.iter().zip(got).enumerate() {
            self.check(pair.0, pair.1).map_err(|mismatch| mismatch.below(&index.to_string()))?;
        }
        let shorter = expected.len().min(got.len());
        match (expected.get(shorter), got.get(shorter)) {
            (Some(expected), _) => Err(Mismatch::new(expected, "nothing")),
            (_, Some(got)) => Err(Mismatch::new("nothing", got)),
            (None, None) => Ok(()),
        }
        .map_err(|mismatch| mismatch.below(&shorter.to_string()))
    }

    /// A placeholder or plain text.
    fn check_text(&mut self, pattern: &str, value: &Value) -> Result<(), Mismatch> {
        let matches = |text: &str| match pattern {
            "$any" => !text.is_empty(),
            "$time" => is_time(text),
            "$client" => text == self.client,
            _ => match pattern.strip_prefix("$new:") {
                Some(name) => self.is_id_of(name, text),
                None => text == pattern,
            },
        };
        match value.as_str() {
            Some(text) if matches(text) => {}
            _ => return Err(Mismatch::new(self.explain(pattern), value)),
        }
        if let (Some(name), Some(id)) = (pattern.strip_prefix("$new:"), value.as_str()) {
            self.ids.insert(name.to_owned(), id.to_owned());
        }
        Ok(())
    }

    /// Is this the name's id or, for a name not met before, an id that no other name has?
    fn is_id_of(&self, name: &str, text: &str) -> bool {
        match self.ids.get(name) {
            Some(id) => id == text,
            None => is_id(text) && !self.ids.values().any(|id| id == text),
        }
    }

    /// The placeholder and what it stands for, as far as that is known.
    fn explain(&self, pattern: &str) -> Value {
        let meaning = match pattern.strip_prefix("$new:") {
            Some(name) => self.ids.get(name),
            None => (pattern == "$client").then_some(&self.client),
        };
        match meaning {
            Some(id) => format!("{pattern} = {id}").into(),
            None => pattern.into(),
        }
    }
}

/// The value with every `"$client"` in it replaced by the client's id.
pub fn with_client(value: &Value, client_hex: &str) -> Value {
    match value {
        Value::String(text) if text == "$client" => client_hex.into(),
        Value::Array(list) => list.iter().map(|v| with_client(v, client_hex)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), with_client(value, client_hex))).collect(),
        other => other.clone(),
    }
}

/// Name and value of the member that stands for members left out.
const LEFT_OUT: &str = "...";

/// Where two values differ, and how.
#[derive(Debug, PartialEq)]
pub struct Mismatch {
    pointer: String,
    expected: String,
    got: String,
}

impl Mismatch {
    /// A difference at the place that is being looked at; values are shown as JSON, words as they are.
    pub fn new(expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self { pointer: String::new(), expected: expected.to_string(), got: got.to_string() }
    }

    /// The same difference, seen from the value that has it under `key`.
    pub fn below(mut self, key: &str) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        self.pointer = format!("/{key}{}", self.pointer);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, expected, got } = self;
        write!(out, "{pointer}: expected {expected}, got {got}")
    }
}

/// 24 lower-case hex digits.
fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Digits and punctuation as in 2025-01-12T00:00:00.000Z.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CLIENT: &str = "64b000000000000000000001";
    const ONE: &str = "64b0000000000000000000aa";
    const TWO: &str = "64b0000000000000000000bb";

    fn check(expected: Value, got: Value) -> Result<(), String> {
        let outcome = Matcher::new(CLIENT).check(&expected, &got);
        outcome.map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn placeholders_stand_for_what_they_say() {
        let expected = json!({ "clientId": "$client", "at": "$time", "requestId": "$any", "_id": "$new:a" });
        let got = json!({ "clientId": CLIENT, "at": "2025-01-12T10:20:30.456Z", "requestId": "r", "_id": ONE });
        assert_eq!(check(expected, got), Ok(()));
    }

    #[test]
    fn placeholders_refuse_what_has_another_shape() {
        for (placeholder, got) in [
            ("$any", json!("")),
            ("$any", json!(null)),
            ("$any", json!(1)),
            ("$time", json!("2025-01-12T10:20:30Z")),
            ("$time", json!("2025-01-12T10:20:30.000+00:00")),
            ("$new:a", json!("64b")),
            ("$new:a", json!("64B0000000000000000000AA")),
        ] {
            let expected = format!(r#": expected "{placeholder}", got {got}"#);
            assert_eq!(check(json!(placeholder), got), Err(expected));
        }
        assert_eq!(
            check(json!("$client"), json!(ONE)),
            Err(format!(r#": expected "$client = {CLIENT}", got "{ONE}""#))
        );
    }

    #[test]
    fn a_new_id_is_one_id_and_no_other_names_id() {
        let same = json!(["$new:a", "$new:b", { "a": "$new:a" }]);
        assert_eq!(check(same.clone(), json!([ONE, TWO, { "a": ONE }])), Ok(()));
        assert_eq!(
            check(same.clone(), json!([ONE, TWO, { "a": TWO }])),
            Err(format!(r#"/2/a: expected "$new:a = {ONE}", got "{TWO}""#))
        );
        assert_eq!(check(same, json!([ONE, ONE, { "a": ONE }])), Err(format!(r#"/1: expected "$new:b", got "{ONE}""#)));
    }

    #[test]
    fn a_matcher_remembers_ids_from_one_check_to_the_next() {
        let mut matcher = Matcher::new(CLIENT);
        assert_eq!(matcher.check(&json!("$new:a"), &json!(ONE)), Ok(()));
        assert!(matcher.check(&json!("$new:a"), &json!(TWO)).is_err());
    }

    #[test]
    fn lists_and_objects_are_compared_whole() {
        let cases = [
            (json!({ "a": 1 }), json!({ "a": 1, "b": 2 }), r#"/b: expected nothing, got 2"#),
            (json!({ "a": 1, "b": 2 }), json!({ "a": 1 }), r#"/b: expected 2, got nothing"#),
            (json!([1]), json!([1, 2]), r#"/1: expected nothing, got 2"#),
            (json!([1, 2]), json!([1]), r#"/1: expected 2, got nothing"#),
            (json!([1, 2]), json!([2, 1]), "/0: expected 1, got 2"),
            (json!({ "a/b": { "c~": 1 } }), json!({ "a/b": { "c~": 2 } }), "/a~1b/c~0: expected 1, got 2"),
            (json!(1), json!(1.0), ": expected 1, got 1.0"),
            (json!({}), json!([]), ": expected {}, got []"),
            (json!(null), json!(false), ": expected null, got false"),
        ];
        for (expected, got, difference) in cases {
            assert_eq!(check(expected, got), Err(difference.to_owned()));
        }
    }

    #[test]
    fn an_object_may_leave_members_out() {
        let some = json!({ "list": [{ "a": 1, "...": "..." }] });
        assert_eq!(check(some.clone(), json!({ "list": [{ "a": 1, "b": 2 }] })), Ok(()));
        assert_eq!(check(some.clone(), json!({ "list": [{ "a": 1 }] })), Ok(()));
        assert_eq!(
            check(some.clone(), json!({ "list": [{ "b": 2 }] })),
            Err("/list/0/a: expected 1, got nothing".into())
        );
        assert_eq!(check(some, json!({ "list": [{ "a": 1 }], "b": 2 })), Err("/b: expected nothing, got 2".into()));
        assert!(check(json!({ "...": 1 }), json!({ "b": 2 })).is_err());
    }

    #[test]
    fn known_ids_are_filled_in() {
        let mut matcher = Matcher::new(CLIENT);
        matcher.check(&json!({ "_id": "$new:a" }), &json!({ "_id": ONE })).unwrap();
        assert_eq!(
            matcher.fill_in(r#"["$new:a","$new:ab","$client","$clients","$any"]"#),
            format!(r#"["{ONE}","$new:ab","{CLIENT}","$clients","$any"]"#)
        );
    }

    #[test]
    fn the_client_is_filled_in_at_any_depth() {
        let value = json!({ "clientId": "$client", "list": [{ "x": "$client" }, "client", "$clients", 1] });
        assert_eq!(
            with_client(&value, CLIENT),
            json!({ "clientId": CLIENT, "list": [{ "x": CLIENT }, "client", "$clients", 1] })
        );
    }
}
