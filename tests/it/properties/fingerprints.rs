//! Fingerprints: blind to how a payload is spelled, and to nothing else.

use proptest::prelude::*;
use serde_json::{Number, Value, json};
use viveka_sync::batch::{Batch, Fingerprint};

use super::render::pointers;
use super::story::{client, config, stories};
use super::wild;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn another_spelling_of_the_same_body_keeps_the_fingerprint(body in wild::bodies(), seed in any::<u64>()) {
        let spelled = Speller(seed).spell(&body);
        let read: Value = serde_json::from_str(&spelled).unwrap();
        prop_assert_eq!(Fingerprint::of(&read), Fingerprint::of(&body), "{}\n{}", body, spelled);
    }

    #[test]
    fn another_spelling_is_the_same_batch_with_the_same_fingerprint(story in stories(), seed in any::<u64>()) {
        for step in story.steps() {
            let spelled = Speller(seed).spell(&step.body);
            let read = Batch::parse(spelled.as_bytes(), &client(), 10_000).ok();
            prop_assert_eq!(read.as_ref(), step.batch.as_deref(), "{}\n{}", step.body, spelled);
        }
    }

    #[test]
    fn another_value_anywhere_changes_the_fingerprint(
        body in wild::bodies(),
        place in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        // Only a member `clientId` of the body itself is left out.
        let pointers: Vec<_> = pointers(&body).into_iter().filter(|pointer| !pointer.starts_with("/clientId")).collect();
        let pointer = &pointers[place.index(pointers.len())];
        let mut other = body.clone();
        let value = other.pointer_mut(pointer).unwrap();
        *value = changed(value, seed);
        prop_assert_ne!(Fingerprint::of(&body), Fingerprint::of(&other), "{} at {:?} in {}", other, pointer, body);
    }

    #[test]
    fn the_client_id_of_a_body_does_not_matter(body in wild::bodies(), stated in wild::values()) {
        let mut other = body.clone();
        if let Some(members) = other.as_object_mut() {
            members.insert("clientId".to_owned(), stated);
        }
        prop_assert_eq!(Fingerprint::of(&body), Fingerprint::of(&other));
    }
}

/// A value that means something else.
fn changed(value: &Value, seed: u64) -> Value {
    match value {
        Value::Null => json!(false),
        Value::Bool(value) => json!(!value),
        Value::Number(number) if seed.is_multiple_of(2) => json!(number.to_string()),
        Value::Number(number) => match number.as_f64().filter(|double| double.abs() < 1e12) {
            Some(double) => json!(double + 0.25),
            None => json!(0.25),
        },
        Value::String(text) if text.is_empty() => Value::Null,
        Value::String(text) if seed.is_multiple_of(2) => json!(format!("{text} ")),
        Value::String(text) => json!(text.chars().skip(1).collect::<String>()),
        Value::Array(values) if seed.is_multiple_of(2) => json!([values]),
        Value::Array(values) => values.iter().cloned().chain([Value::Null]).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let mut members = members.clone();
            let member = members.keys().find(|name| *name != "clientId").cloned();
            match (member, seed % 3) {
                (Some(name), 0) => drop(members.remove(&name)),
                (Some(name), 1) => {
                    let value = members.remove(&name).unwrap_or_default();
                    members.insert(format!("{name} by another name"), value);
                }
                _ => drop(members.insert("one more".to_owned(), Value::Null)),
            }
            Value::Object(members)
        }
    }
}

/// Writes JSON in the ways that serializers differ: order of members, white space, numbers, escapes.
struct Speller(u64);

impl Speller {
    /// A number below a bound (xorshift).
    fn pick(&mut self, bound: usize) -> usize {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn spell(&mut self, value: &Value) -> String {
        let spelled = match value {
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(values) => format!("[{}]", values.iter().map(|v| self.spell(v)).collect::<Vec<_>>().join(",")),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| format!("{}:{}", self.text(name), self.spell(value)));
                let members: Vec<_> = members.collect();
                format!("{{{}}}", self.shuffled(members).join(","))
            }
            Value::Null | Value::Bool(_) => value.to_string(),
        };
        let blank = |n| ["", " ", "\n\t", "\r"][n];
        format!("{}{spelled}{}", blank(self.pick(4)), blank(self.pick(4)))
    }

    fn shuffled(&mut self, mut values: Vec<String>) -> Vec<String> {
        for last in (1..values.len()).rev() {
            let other = self.pick(last + 1);
            values.swap(last, other);
        }
        values
    }

    fn text(&mut self, text: &str) -> String {
        let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let spelled = |c: char| {
            let quoted = json!(c.to_string()).to_string();
            if self.pick(4) == 0 { escaped(c) } else { quoted[1..quoted.len() - 1].to_owned() }
        };
        format!("\"{}\"", text.chars().map(spelled).collect::<String>())
    }

    /// `15` as `15.0`, `1.5e1`, `150E-1` ... From 2^53 on a whole number is spelled in one way only.
    fn number(&mut self, number: &Number) -> String {
        let text = number.to_string();
        if number.as_f64().is_none_or(|double| double.abs() >= 2_f64.powi(53)) {
            return text;
        }
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i32>().unwrap() - fraction.len() as i32;
        let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
        let digits = format!("{whole}{fraction}{}", "0".repeat(self.pick(3)));
        let exponent = exponent - (digits.len() - whole.len() - fraction.len()) as i32;
        let digits = match digits.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        let point = 1 + self.pick(digits.len());
        let exponent = exponent + (digits.len() - point) as i32;
        let fraction = if point < digits.len() { format!(".{}", &digits[point..]) } else { String::new() };
        match exponent {
            0 => format!("{sign}{}{fraction}", &digits[..point]),
            _ => format!("{sign}{}{fraction}{}{exponent}", &digits[..point], ["e", "E"][self.pick(2)]),
        }
    }
}
