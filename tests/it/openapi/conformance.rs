//! Whether an answer is one that the document tells of.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::{Answer, Engine, Phone, Request};

/// Fails with all that the document does not tell of an answer: its status, code, headers, or something in its body.
///
/// Fields of records that the database holds and the document does not list are told in general; `known_records` says
/// that there are none of them.
#[track_caller]
pub fn hold(method: &str, path: &str, answer: &Answer, known_records: bool) {
    let document = document();
    let problems = match document.operation(method, path) {
        Some(operation) => problems(document, operation, answer, known_records),
        None => problems_of_no_operation(document, answer),
    };
    assert!(
        problems.is_empty(),
        "{method} {path}: {}\n{}",
        problems.join("\n"),
        String::from_utf8_lossy(&answer.bytes)
    );
}

/// The document of the tests' servers: they differ in their limits only, which no answer shows.
pub fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let phone = Phone::new(Engine::Embedded.server());
        Document(phone.send(Request::new("GET", "/api-docs/openapi.json").without_token()).expect_ok())
    })
}

/// The whole document.
pub struct Document(pub Value);

impl Document {
    /// An operation, by the path without its query.
    pub fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        self.0["paths"].get(path)?.get(method.to_ascii_lowercase())
    }

    /// All operations, with method and path.
    pub fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (method.clone(), path.clone(), operation))
        });
        operations.collect()
    }

    /// A validator of one of its schemas.
    pub fn validator(&self, schema: &Value) -> Validator {
        validator(schema, &self.0["components"])
    }

    /// The same, if records have no fields but those that are listed.
    fn validator_of_known_records(&self, schema: &Value) -> Validator {
        let mut components = self.0["components"].clone();
        for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
            if schema["additionalProperties"] == json!(true) {
                schema["additionalProperties"] = json!(false);
            }
        }
        validator(schema, &components)
    }
}

fn validator(schema: &Value, components: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = components.clone();
    jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
}

fn problems(document: &Document, operation: &Value, answer: &Answer, known_records: bool) -> Vec<String> {
    let Some(response) = operation["responses"].get(answer.status.to_string()) else {
        return vec![format!("status {} is not documented", answer.status)];
    };
    let mut problems = undocumented_headers(response, answer);
    let Some(content) = response.get("content") else {
        problems.extend((!answer.bytes.is_empty()).then(|| "a body is not documented".to_owned()));
        return problems;
    };
    let Some(content) = answer.header("Content-Type").and_then(|content_type| content.get(content_type)) else {
        problems.push(format!("{:?} is not documented", answer.header("Content-Type")));
        return problems;
    };
    let body = answer.json();
    let schema = &content["schema"];
    let validator =
        if known_records { document.validator_of_known_records(schema) } else { document.validator(schema) };
    problems.extend(validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())));
    if answer.status >= 400 {
        let code = body["code"].as_str().unwrap_or_default();
        problems.extend(content["examples"].get(code).is_none().then(|| format!("code {code} is not documented")));
    }
    problems
}

/// A path or a method that there is not.
fn problems_of_no_operation(document: &Document, answer: &Answer) -> Vec<String> {
    // The last one of a browser, which asks before it sends.
    let expected = ["not_found", "method_not_allowed", "origin_not_allowed"];
    let body = answer.json();
    let error = document.validator(&json!({"$ref": "#/components/schemas/ApiError"}));
    let known = body["code"].as_str().is_some_and(|code| expected.contains(&code));
    let mut problems: Vec<_> = error.iter_errors(&body).map(|error| error.to_string()).collect();
    problems.extend((!known).then(|| format!("{} of no operation", body["code"])));
    problems
}

/// The headers that are the API's own.
const HEADERS: [&str; 9] = [
    "Allow",
    "Cache-Control",
    "ETag",
    "Idempotency-Replayed",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
];
/// Those that are only sometimes there.
const OPTIONAL: [&str; 3] = ["Idempotency-Replayed", "RateLimit", "RateLimit-Policy"];

fn undocumented_headers(response: &Value, answer: &Answer) -> Vec<String> {
    let documented: BTreeSet<_> = response["headers"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    let sent = HEADERS.into_iter().filter(|name| answer.header(name).is_some());
    let undocumented = sent.clone().filter(|name| !documented.iter().any(|other| *other == name));
    let mut problems: Vec<_> = undocumented.map(|name| format!("header {name} is not documented")).collect();
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let pattern = header["schema"]["pattern"].as_str();
        let value = answer.header(name);
        let optional = OPTIONAL.contains(&name.as_str());
        match (value, pattern) {
            (None, _) if !optional => problems.push(format!("header {name} is documented and not there")),
            (Some(value), Some(_)) => {
                let fits = jsonschema::is_valid(&header["schema"], &json!(value));
                problems.extend((!fits).then(|| format!("header {name}: {value}")));
            }
            _ => {}
        }
    }
    problems
}
