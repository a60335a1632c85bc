//! The examples of the document are what a server is sent, and what it answers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::conformance::{document, hold};
use crate::harness::{Engine, Phone, Request};

#[test]
fn every_example_is_of_its_schema() {
    for (method, path, operation) in document().operations() {
        let responses = operation["responses"].as_object().unwrap().iter();
        let bodies = responses.map(|(at, body)| (at.as_str(), body)).chain([("request", &operation["requestBody"])]);
        for (at, body) in bodies {
            let content = &body["content"]["application/json"];
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let problems: Vec<_> = document()
                    .validator(&content["schema"])
                    .iter_errors(&example["value"])
                    .map(|error| format!("{}: {error}", error.instance_path()))
                    .collect();
                assert!(problems.is_empty(), "{method} {path} {at} {name}: {}", problems.join("\n"));
            }
        }
    }
}

/// In the order of a phone's day. Ids, times, cursors and the client are each server's own.
#[test]
fn every_answer_is_as_shown() {
    let phone = Phone::new(Engine::Embedded.server());
    let key = document().0.pointer(KEY).and_then(Value::as_str).expect("a key is shown").to_owned();
    let mut wrong = Vec::new();
    for (method, path, request, answer) in [
        ("POST", "/api/readytosync", "{}", "ready"),
        ("POST", "/api/sync", &shown("sync.request"), "sync"),
        ("POST", "/api/sync/validate", &shown("validate.request"), "validate"),
        ("POST", "/api/sync/reconcile", &shown("reconcile.request"), "reconcile"),
        ("GET", "/api/health", "", "health"),
    ] {
        let request = Request::new(method, path).body(request);
        let request = if path == "/api/sync" { request.header("X-Idempotency-Key", &key) } else { request };
        let sent = phone.send(request);
        hold(method, path, &sent, true);
        let expected: Value = serde_json::from_str(&shown(&format!("{answer}.answer"))).unwrap();
        let got = sent.expect_ok();
        if own(&got) != own(&expected) {
            wrong.push(format!("{EXAMPLES}/{answer}.answer.json, but the server says\n{got:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_cursor_as_shown_is_taken() {
    let phone = Phone::new(Engine::Embedded.server());
    let body: Value = serde_json::from_str(&shown("delta.request")).unwrap();
    let answer = phone.sync(&body);
    assert_eq!(answer.expect_ok()["fullSyncReason"], json!("cursor_unknown"));
    hold("POST", "/api/sync", &answer, true);
}

fn shown(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{EXAMPLES}/{name}.json"));
    std::fs::read_to_string(path).unwrap()
}

/// A JSON with each id, time and cursor named by its kind and by when it came first.
fn own(value: &Value) -> Value {
    let mut names = BTreeMap::new();
    renamed(value, &mut names)
}

fn renamed(value: &Value, names: &mut BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let hex = text.len() >= 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let time = text.len() == 24 && text.ends_with('Z') && !text.starts_with("2025");
            let next = names.len();
            match (hex, time) {
                (true, _) => json!(names.entry(text.clone()).or_insert_with(|| format!("id {next}"))),
                (_, true) => json!("time"),
                _ => value.clone(),
            }
        }
        Value::Array(values) => values.iter().map(|value| renamed(value, names)).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), renamed(value, names))).collect(),
        other => other.clone(),
    }
}

const EXAMPLES: &str = "src/http/openapi/examples";
const KEY: &str = "/paths/~1api~1sync/post/parameters/1/schema/examples/0";
