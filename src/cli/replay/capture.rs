//! One capture: a request as a phone has kept it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::phone::{Address, Route};

/// A request that a phone has kept.
#[derive(Debug, Clone)]
pub(super) struct Capture {
    /// Where it stands.
    pub place: Place,
    /// What it asks for.
    pub route: Route,
    /// When the phone made it.
    pub at: DateTime<Utc>,
    /// The `requestId`, which is the idempotency key.
    pub key: String,
    /// The body: what was kept as a string, byte for byte.
    pub body: Bytes,
}

/// Where an entry stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The how manieth of the file it is, from 1.
    pub entry: usize,
}

/// What is wrong with an entry, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {text}")]
pub struct CaptureError {
    place: Place,
    text: String,
}

impl CaptureError {
    pub(super) fn new(place: Place, text: String) -> Self {
        Self { place, text }
    }
}

impl Capture {
    /// Reads an entry `{endpoint, method, body, timestamp, requestId}`. Phones keep more (tries, states); that is not
    /// looked at.
    pub(super) fn read(place: Place, entry: Value) -> Result<Self, CaptureError> {
        match Self::of(&place, entry) {
            Ok(capture) => Ok(capture),
            Err(text) => Err(CaptureError::new(place, text)),
        }
    }

    fn of(place: &Place, entry: Value) -> Result<Self, String> {
        let Value::Object(mut entry) = entry else { return Err("a capture must be an object".into()) };
        let route = route(&text(&entry, "endpoint")?)?;
        let method = text(&entry, "method")?;
        if !method.eq_ignore_ascii_case("POST") {
            return Err(format!("method must be POST, not {method:?}"));
        }
        let at = timestamp(&entry)?;
        let key = key(&entry)?;
        let body = body(entry.remove("body"))?;
        Ok(Self { place: place.clone(), route, at, key, body })
    }
}

fn text(entry: &Map<String, Value>, name: &str) -> Result<String, String> {
    match entry.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{name} must be a string, not {}", kind(other))),
        None => Err(format!("{name} is missing")),
    }
}

/// Phones keep the path, or the whole URL of the server that they were meant for.
fn route(endpoint: &str) -> Result<Route, String> {
    let path = endpoint.parse::<Address>().map_or_else(|_| endpoint.to_owned(), |address| address.path().to_owned());
    let known = Route::ALL.into_iter().find(|route| route.path() == path.trim_end_matches('/'));
    known.ok_or_else(|| {
        let paths = Route::ALL.map(Route::path).join(", ");
        format!("endpoint must be one of {paths}, not {endpoint:?}")
    })
}

fn timestamp(entry: &Map<String, Value>) -> Result<DateTime<Utc>, String> {
    let wrong = |what: &str| format!("timestamp must be RFC 3339 or milliseconds since 1970, not {what}");
    match entry.get("timestamp") {
        Some(Value::String(text)) => {
            let at = match text.parse() {
                Ok(milliseconds) => DateTime::from_timestamp_millis(milliseconds),
                Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
            };
            at.ok_or_else(|| wrong(&format!("{text:?}")))
        }
        Some(Value::Number(number)) => {
            // Clocks of browsers have fractions.
            let milliseconds = number.as_i64().or_else(|| number.as_f64().map(|fraction| fraction as i64));
            let at = milliseconds.and_then(DateTime::from_timestamp_millis);
            at.ok_or_else(|| wrong(&number.to_string()))
        }
        Some(other) => Err(wrong(kind(other))),
        None => Err("timestamp is missing".into()),
    }
}

/// What a key may be: API.md, exactly once. A number is sent as its digits, which is what a phone made of it.
fn key(entry: &Map<String, Value>) -> Result<String, String> {
    let key = match entry.get("requestId") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
        Some(Value::Number(number)) => {
            return Err(format!("requestId must be a whole number or a string, not {number}"));
        }
        Some(other) => return Err(format!("requestId must be a string or a whole number, not {}", kind(other))),
        None => return Err("requestId is missing".into()),
    };
    let is_key = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_key { Ok(key) } else { Err("requestId must be 1 to 255 visible ASCII characters".into()) }
}

/// One that is not there was lost: sent as a pull, its operations would be told as done.
fn body(body: Option<Value>) -> Result<Bytes, String> {
    match body {
        None => Err("body is missing (null is a pull)".into()),
        Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(text)) => Ok(text.into()),
        Some(object @ Value::Object(_)) => Ok(object.to_string().into()),
        Some(other) => Err(format!("body must be an object, or a string that holds one, not {}", kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (entry {})", self.file.display(), self.line, self.entry)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entry: Value) -> Result<Capture, String> {
        let place = Place { file: Path::new("queue.json").into(), line: 7, entry: 2 };
        Capture::read(place, entry).map_err(|error| error.to_string())
    }

    fn entry() -> Value {
        json!({"endpoint": "/api/sync", "method": "post", "body": null, "timestamp": "2025-01-12T10:00:00+05:30",
               "requestId": "r-1"})
    }

    #[test]
    fn a_body_is_an_object_or_its_text_or_nothing() {
        for (body, sent) in [
            (json!({"item": null}), r#"{"item":null}"#),
            (json!("{ \"item\": 1.0}"), r#"{ "item": 1.0}"#),
            (json!(null), ""),
        ] {
            let mut entry = entry();
            entry["body"] = body;
            assert_eq!(read(entry).unwrap().body, sent);
        }
    }

    #[test]
    fn an_endpoint_is_a_path_or_a_url() {
        let mut url = entry();
        url["endpoint"] = json!("https://shop.example.com/api/sync/");
        assert_eq!(read(url).unwrap().route, read(entry()).unwrap().route);
    }

    #[test]
    fn a_time_is_text_or_milliseconds_as_a_number_or_as_text() {
        for time in [json!(1_736_656_200_000_i64), json!(1_736_656_200_000.25), json!("1736656200000")] {
            let mut other = entry();
            other["timestamp"] = time;
            assert_eq!(read(other).unwrap().at, read(entry()).unwrap().at);
        }
    }

    #[test]
    fn a_key_is_text_or_a_whole_number() {
        for (id, key) in [(json!("r-1"), "r-1"), (json!(17), "17"), (json!(u64::MAX), "18446744073709551615")] {
            let mut entry = entry();
            entry["requestId"] = id;
            assert_eq!(read(entry).unwrap().key, key);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_entry() {
        for (member, value, told) in [
            ("endpoint", json!("/api/items"), "endpoint must be one of /api/readytosync, /api/sync, "),
            ("method", json!("PUT"), "method must be POST, not \"PUT\""),
            (
                "timestamp",
                json!("yesterday"),
                "timestamp must be RFC 3339 or milliseconds since 1970, not \"yesterday\"",
            ),
            ("timestamp", json!([]), "timestamp must be RFC 3339 or milliseconds since 1970, not a list"),
            ("timestamp", json!(1e300), "timestamp must be RFC 3339 or milliseconds since 1970, not 1e"),
            ("requestId", json!(7.5), "requestId must be a whole number or a string, not 7.5"),
            ("requestId", json!(null), "requestId must be a string or a whole number, not null"),
            ("requestId", json!("two words"), "requestId must be 1 to 255 visible ASCII characters"),
            ("body", json!([]), "body must be an object, or a string that holds one, not a list"),
        ] {
            let mut entry = entry();
            entry[member] = value;
            let error = read(entry).unwrap_err();
            assert!(error.starts_with("queue.json:7 (entry 2): ") && error.contains(told), "{error}");
        }
        for member in ["endpoint", "method", "body", "timestamp", "requestId"] {
            let mut entry = entry();
            entry.as_object_mut().unwrap().remove(member);
            assert!(read(entry).unwrap_err().contains(&format!("{member} is missing")));
        }
        assert!(read(json!(1)).unwrap_err().ends_with("a capture must be an object"));
    }
}
