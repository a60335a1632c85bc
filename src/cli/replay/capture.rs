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

impl Capture {
    /// Reads an entry `{endpoint, method, body, timestamp, requestId}`. Phones keep more (tries, states); that is not
    /// looked at.
    pub(super) fn read(place: Place, entry: Value) -> Result<Self, CaptureError> {
        match Self::of(&place, entry) {
            Ok(capture) => Ok(capture),
            Err(text) => Err(CaptureError { place, text }),
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
        let key = key(text(&entry, "requestId")?)?;
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
            DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| wrong(&format!("{text:?}")))
        }
        Some(Value::Number(number)) => {
            let at = number.as_i64().and_then(DateTime::from_timestamp_millis);
            at.ok_or_else(|| wrong(&number.to_string()))
        }
        Some(other) => Err(wrong(kind(other))),
        None => Err("timestamp is missing".into()),
    }
}

/// What a key may be: API.md, exactly once.
fn key(key: String) -> Result<String, String> {
    let is_key = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_key { Ok(key) } else { Err("requestId must be 1 to 255 visible ASCII characters".into()) }
}

fn body(body: Option<Value>) -> Result<Bytes, String> {
    match body {
        None | Some(Value::Null) => Ok(Bytes::new()),
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
        json!({"endpoint": "/api/sync", "method": "post", "timestamp": "2025-01-12T10:00:00+05:30", "requestId": "r-1"})
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
        assert_eq!(read(entry()).unwrap().body, "");
    }

    #[test]
    fn an_endpoint_is_a_path_or_a_url_and_a_time_is_text_or_milliseconds() {
        let mut url = entry();
        url["endpoint"] = json!("https://shop.example.com/api/sync/");
        url["timestamp"] = json!(1_736_656_200_000_i64);
        let (url, path) = (read(url).unwrap(), read(entry()).unwrap());
        assert_eq!((url.route, url.at), (path.route, path.at));
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
            ("requestId", json!(7), "requestId must be a string, not a number"),
            ("requestId", json!("two words"), "requestId must be 1 to 255 visible ASCII characters"),
            ("body", json!([]), "body must be an object, or a string that holds one, not a list"),
        ] {
            let mut entry = entry();
            entry[member] = value;
            let error = read(entry).unwrap_err();
            assert!(error.starts_with("queue.json:7 (entry 2): ") && error.contains(told), "{error}");
        }
        for member in ["endpoint", "method", "timestamp", "requestId"] {
            let mut entry = entry();
            entry.as_object_mut().unwrap().remove(member);
            assert!(read(entry).unwrap_err().ends_with(&format!("{member} is missing")));
        }
        assert!(read(json!(1)).unwrap_err().ends_with("a capture must be an object"));
    }
}
