//! Swagger UI is served whole, by this server alone.

use crate::harness::{Engine, Phone, Request};

fn get(path: &str) -> crate::harness::Answer {
    Phone::new(Engine::Embedded.server()).send(Request::new("GET", path).without_token())
}

#[test]
fn the_page_and_all_that_it_names_are_there() {
    let page = get("/api-docs/");
    assert_eq!(page.header("Content-Type").as_deref(), Some("text/html"));
    let html = String::from_utf8(page.bytes).unwrap();
    let named = ["src=\"", "href=\""].into_iter().flat_map(|attribute| html.split(attribute).skip(1));
    let named: Vec<_> = named.map(|rest| rest.split('"').next().unwrap().trim_start_matches("./")).collect();
    assert!(named.len() >= 5, "{html}");
    for file in named {
        let answer = get(&format!("/api-docs/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.bytes.is_empty(), "{file}");
    }
}

#[test]
fn the_page_asks_this_server_for_its_document_and_nobody_else() {
    let script = String::from_utf8(get("/api-docs/swagger-initializer.js").bytes).unwrap();
    assert!(script.contains("\"url\": \"openapi.json\""), "{script}");
    assert!(script.contains("\"validatorUrl\": \"none\""), "{script}");
    assert!(!script.contains("http"), "{script}");
}

#[test]
fn only_scripts_of_this_server_run() {
    let policy = get("/api-docs/").header("Content-Security-Policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
}

#[test]
fn the_page_is_also_found_without_its_slash() {
    let answer = get("/api-docs");
    assert_eq!((answer.status, answer.header("Location").as_deref()), (308, Some("/api-docs/")));
}

#[test]
fn what_is_not_there_is_not_found() {
    for path in ["/api-docs/nothing.js", "/api-docs/../Cargo.toml", "/api-docs/%2e%2e/Cargo.toml"] {
        get(path).expect_error(404, "not_found");
    }
    let phone = Phone::new(Engine::Embedded.server());
    let refused = phone.send(Request::new("POST", "/api-docs/openapi.json"));
    refused.expect_error(405, "method_not_allowed");
    assert_eq!(refused.header("Allow").as_deref(), Some("GET"));
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    for path in ["/api-docs/", "/api-docs/openapi.json", "/api-docs/swagger-ui-bundle.js"] {
        let etag = get(path).header("ETag").unwrap();
        let phone = Phone::new(Engine::Embedded.server());
        let again = phone.send(Request::new("GET", path).header("If-None-Match", &etag));
        assert_eq!((again.status, again.bytes.len()), (304, 0), "{path}");
    }
}
