//! The fingerprint of a payload: the same for every spelling of the same JSON.

use std::ops::Deref;

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
        let mut canonical = Canonical { hash: Sha256::new(), pending: Vec::with_capacity(2 * Canonical::PIECE) };
        match body.as_object() {
            Some(members) => canonical.object(members.iter().filter(|(name, _)| !NOT_PAYLOAD.contains(&name.as_str()))),
            None => canonical.value(body),
        }
        Self(hex::encode(&*canonical.finish()))
    }

    /// Whether it has the form of one: a stored one may be anything, and then no payload has it.
    pub fn is_well_formed(&self) -> bool {
        self.0.len() == 64 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// The members of a body that are no part of its payload.
const NOT_PAYLOAD: [&str; 3] = ["clientId", "since", "data"];

/// Feeds a hash with canonical JSON, in pieces that are worth its while.
struct Canonical {
    hash: Sha256,
    pending: Vec<u8>,
}

impl Canonical {
    const PIECE: usize = 4 << 10;

    fn put(&mut self, text: &[u8]) {
        self.pending.extend_from_slice(text);
        self.hash_if_enough();
    }

    /// Writes a value as `serde_json` does.
    fn write(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.pending, value).expect("memory takes any text and any number");
        self.hash_if_enough();
    }

    fn hash_if_enough(&mut self) {
        if self.pending.len() >= Self::PIECE {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.number(number),
            Value::Array(values) => {
                self.put(b"[");
                for value in values {
                    self.value(value);
                    self.put(b",");
                }
                self.put(b"]");
            }
            // `serde_json` keeps members sorted, unless its feature `preserve_order` is on.
            Value::Object(members) => self.object(members.iter()),
            Value::Null | Value::Bool(_) | Value::String(_) => self.write(value),
        }
    }

    fn object<'a>(&mut self, members: impl Iterator<Item = (&'a String, &'a Value)>) {
        self.put(b"{");
        for (name, value) in members {
            self.write(name);
            self.put(b":");
            self.value(value);
            self.put(b",");
        }
        self.put(b"}");
    }

    fn number(&mut self, number: &Number) {
        // Beyond 2^53 doubles have gaps, so that only below it a double stands for one whole number.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match number.as_f64() {
            Some(double) if double.fract() == 0.0 && double.abs() < EXACT => self.write(&(double as i64)),
            _ => self.write(number),
        }
    }

    fn finish(mut self) -> impl Deref<Target = [u8]> {
        self.hash.update(&self.pending);
        self.hash.finalize()
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

    /// Receipts keep them for years.
    #[test]
    fn a_fingerprint_stays_what_it_was() {
        let text =
            r#"{"b":[1,1.0e1,-2.50,0.1,9007199254740993,null,true,{}],"a":{"t":"\u00e9\"\\\u0001"},"clientId":"x"}"#;
        let canonical = r#"{"a":{"t":"é\"\\\u0001",},"b":[1,10,-2.5,0.1,9007199254740993,null,true,{},],}"#;
        assert_eq!(fingerprint(text).0, "302ac5ac33ef1708276f93ec31ac60e258d544ceb390b2a8748d36dea3d16a1a");
        assert_eq!(fingerprint(text).0, hex::encode(Sha256::digest(canonical)));
    }

    #[test]
    fn a_long_payload_is_hashed_in_pieces_as_in_one() {
        let text = format!("[{}0]", r#"["é",[],{},1.25],"#.repeat(3000));
        let canonical = format!("[{}0,]", r#"["é",[],{},1.25,],"#.repeat(3000));
        assert_eq!(fingerprint(&text).0, hex::encode(Sha256::digest(canonical)));
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
