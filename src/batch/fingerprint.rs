//! The fingerprint of a payload: the same for every spelling of the same JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// SHA-256 over the canonical form of a request body, in hex.
///
/// Canonical: no white space, the members of objects sorted, numbers by their value (`1`, `1.0` and
/// `1e0` are one number). At the top `clientId` is left out, which the token says already, and `since` and
/// `data`, which ask for the answer and do nothing to the books.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Takes the fingerprint of a parsed body.
    pub fn of(body: &Value) -> Self {
        let mut canonical = Canonical(Sha256::new());
        match body.as_object() {
            Some(members) => canonical.object(members.iter().filter(|(name, _)| !NOT_PAYLOAD.contains(&name.as_str()))),
            None => canonical.value(body),
        }
        Self(canonical.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The members of a body that are no part of its payload.
const NOT_PAYLOAD: [&str; 3] = ["clientId", "since", "data"];

/// Feeds a hash with canonical JSON.
struct Canonical(Sha256);

impl Canonical {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.number(number),
            Value::Array(values) => {
                self.0.update(b"[");
                for value in values {
                    self.value(value);
                    self.0.update(b",");
                }
                self.0.update(b"]");
            }
            // `serde_json` keeps members sorted, unless its feature `preserve_order` is on.
            Value::Object(members) => self.object(members.iter()),
            Value::Null | Value::Bool(_) | Value::String(_) => self.text(value),
        }
    }

    fn object<'a>(&mut self, members: impl Iterator<Item = (&'a String, &'a Value)>) {
        self.0.update(b"{");
        for (name, value) in members {
            self.text(name);
            self.0.update(b":");
            self.value(value);
            self.0.update(b",");
        }
        self.0.update(b"}");
    }

    fn number(&mut self, number: &Number) {
        // Beyond 2^53 doubles have gaps, so that only below it a double stands for one whole number.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match number.as_f64() {
            Some(double) if double.fract() == 0.0 && double.abs() < EXACT => self.0.update((double as i64).to_string()),
            _ => self.0.update(number.to_string()),
        }
    }

    fn text(&mut self, value: &(impl Serialize + ?Sized)) {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.0.update(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &str) -> Fingerprint {
        Fingerprint::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn spelling_does_not_matter() {
        let one = fingerprint(r#"{"item":{"create":[{"name":"é","price":10}]},"payment":null}"#);
        let other = fingerprint(
            r#" {"payment" : null, "clientId": "x", "since": "y", "data": "none", "item":{"create":[{"price":1.0e1,"name":"\u00e9"}]}}"#,
        );
        assert_eq!(one, other);
    }

    #[test]
    fn content_matters() {
        let texts = [
            "{}",
            "[]",
            "null",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1.5}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":[1,1]}"#,
            r#"{"a":[11]}"#,
            r#"{"a":{"clientId":"x"}}"#,
            r#"{"a":{}}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":9007199254740992}"#,
        ];
        let distinct: std::collections::HashSet<_> = texts.iter().map(|t| fingerprint(t)).collect();
        assert_eq!(distinct.len(), texts.len());
    }
}
