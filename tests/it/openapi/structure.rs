//! The document is OpenAPI 3.1, and says what it must.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::conformance::document;

/// By the schema of the OpenAPI Initiative (Apache License 2.0).
#[test]
fn it_is_openapi_3_1() {
    let schema: Value = serde_json::from_str(include_str!("openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let problems: Vec<_> =
        validator.iter_errors(&document().0).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn its_schemas_are_json_schemas() {
    for (name, schema) in document().0["components"]["schemas"].as_object().unwrap() {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = &document().0;
    let mut used = BTreeSet::new();
    collect_references(document, &mut used);
    for reference in &used {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "{name} is not used");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_a_text_and_its_errors() {
    let mut names = BTreeSet::new();
    for (method, path, operation) in document().operations() {
        let what = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{what}");
        for text in ["summary", "description"] {
            assert!(operation[text].as_str().is_some_and(|text| !text.is_empty()), "{what}");
        }
        let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        let open = operation["security"].as_array().unwrap().is_empty();
        assert!(["200", "500", "503"].iter().all(|status| statuses.contains(status)), "{what}: {statuses:?}");
        assert_eq!(statuses.contains(&"401"), !open, "{what}");
    }
}

/// Read off the source text, as the arrows are.
#[test]
fn every_route_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/mod.rs");
    let source = std::fs::read_to_string(path).unwrap();
    let routes: Vec<_> = source.split('"').filter(|text| text.starts_with("/api/")).collect();
    assert!(routes.len() >= FEWEST_ROUTES, "only {routes:?}");
    for route in routes {
        assert!(document().0["paths"].get(route).is_some(), "{route} is not documented");
    }
}

/// What a server may say in errors is told, word for word, in the page of the API.
#[test]
fn every_code_of_the_status_table_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("API.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split("\n## Status table").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let status = cells.next()?.parse::<u16>().ok()?;
        Some((status, cells.next()?.trim_matches('`').to_owned()))
    });
    let rows: BTreeSet<_> = rows.filter(|(status, _)| ![404, 405].contains(status)).collect();
    let mut documented = BTreeSet::new();
    for (_, _, operation) in document().operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let examples = &response["content"]["application/json"]["examples"];
            let status: u16 = status.parse().unwrap();
            if status >= 400 {
                documented.extend(examples.as_object().into_iter().flatten().map(|(code, _)| (status, code.clone())));
            }
        }
    }
    assert_eq!(documented, rows);
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

const FEWEST_ROUTES: usize = 6;
