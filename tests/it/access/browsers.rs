//! What browsers ask and are told: origins, and the headers that every answer carries.

use std::collections::BTreeSet;

use crate::behaviour::errors::assert_error;
use crate::harness::{Answer, Phone, Request, Server, Setup};

const SHOP: &str = "https://shop.example";
const EXPOSED: [&str; 6] =
    ["etag", "idempotency-replayed", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"];

fn phone_of(origins: &str) -> (Server, Phone) {
    let server = Server::start(&Setup::embedded().env("CORS_ORIGINS", origins));
    let phone = Phone::new(&server);
    (server, phone)
}

fn preflight(phone: &Phone, origin: &str, method: &str, headers: &str) -> Answer {
    let request = Request::new("OPTIONS", "/api/sync").without_token().header("Origin", origin);
    phone
        .send(request.header("Access-Control-Request-Method", method).header("Access-Control-Request-Headers", headers))
}

fn set_of(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[test]
fn a_preflight_of_a_known_origin_is_answered_without_a_token() {
    let (_server, phone) = phone_of(&format!("{SHOP}, capacitor://localhost"));
    let all =
        "authorization,content-type,content-encoding,x-idempotency-key,idempotency-key,if-none-match,x-request-id";
    for origin in [SHOP, "capacitor://localhost"] {
        let answer = preflight(&phone, origin, "POST", all);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("Access-Control-Allow-Origin").as_deref(), Some(origin));
        assert_eq!(set_of(&answer.header("Access-Control-Allow-Headers").unwrap()), set_of(all));
        assert_eq!(set_of(&answer.header("Access-Control-Allow-Methods").unwrap()), set_of("GET,POST"));
        assert_eq!(answer.header("Access-Control-Max-Age").as_deref(), Some("3600"));
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
        assert!(set_of(&answer.header("Vary").unwrap()).contains("origin"));
        assert!(answer.header("X-Request-Id").is_some());
    }
    for (origin, method, headers) in [
        ("https://evil.example", "POST", "authorization"),
        ("https://shop.example.evil", "POST", "authorization"),
        ("http://shop.example", "POST", "authorization"),
        ("https://shop.example:8443", "POST", "authorization"),
        ("null", "POST", "authorization"),
        (SHOP, "DELETE", "authorization"),
        (SHOP, "POST", "x-other"),
    ] {
        let answer = preflight(&phone, origin, method, headers);
        let body = answer.expect_error(403, "origin_not_allowed");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{origin} {method} {headers}");
        assert_eq!(body["requestId"].as_str(), answer.header("X-Request-Id").as_deref());
    }
}

#[test]
fn the_error_of_a_preflight() {
    let (_server, phone) = phone_of(SHOP);
    let request = Request::new("OPTIONS", "/api/sync").without_token().header("Origin", "https://evil.example");
    assert_error(&phone, request.header("Access-Control-Request-Method", "POST"), "origin_not_allowed");
}

#[test]
fn a_page_may_read_errors_too() {
    let (_server, phone) = phone_of(SHOP);
    let good = phone.send(Request::sync().header("Origin", SHOP));
    good.expect_ok();
    let bad = phone.send(Request::sync().without_token().header("Origin", SHOP));
    bad.expect_error(401, "unauthorized");
    for answer in [good, bad] {
        assert_eq!(answer.header("Access-Control-Allow-Origin").as_deref(), Some(SHOP));
        assert_eq!(set_of(&answer.header("Access-Control-Expose-Headers").unwrap()), EXPOSED.map(str::to_owned).into());
    }
    // What is no browser, or another page's, is served as ever; its browser shows nothing of it.
    for request in [Request::sync(), Request::sync().header("Origin", "https://evil.example")] {
        let answer = phone.send(request);
        answer.expect_ok();
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
}

#[test]
fn all_origins_may_be_let_in() {
    let (_server, phone) = phone_of("*");
    for origin in [SHOP, "null"] {
        let answer = preflight(&phone, origin, "GET", "authorization");
        assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin").as_deref()), (200, Some("*")));
        let answer = phone.send(Request::new("GET", "/api/sync/data").header("Origin", origin));
        assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin").as_deref()), (200, Some("*")));
    }
}

#[test]
fn by_default_nothing_is_said_of_origins() {
    let (_server, phone) = phone_of("");
    preflight(&phone, SHOP, "POST", "authorization").expect_error(405, "method_not_allowed");
    let answer = phone.send(Request::sync().header("Origin", SHOP));
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{:?}", answer.headers);
}

#[test]
fn an_origin_that_no_browser_sends_stops_the_start() {
    for wrong in ["shop.example", "https://shop.example/", "https://Shop.example", "*,https://shop.example"] {
        let refusal = Server::refused(&Setup::embedded().env("CORS_ORIGINS", wrong));
        assert!(refusal.contains("--cors-origins"), "{refusal}");
    }
}

#[test]
fn every_answer_carries_the_security_headers() {
    let (_server, phone) = phone_of("");
    for (request, status, cache) in [
        (Request::sync(), 200, "no-store"),
        (Request::new("GET", "/api/sync/data"), 200, "private, no-cache"),
        (Request::new("GET", "/api/sync/data").header("If-None-Match", "*"), 304, "private, no-cache"),
        (Request::new("GET", "/api/sync/limits").without_token(), 200, "no-store"),
        (Request::new("GET", "/api/health").without_token(), 200, "no-store"),
        (Request::sync().without_token(), 401, "no-store"),
        (Request::new("GET", "/api/nothing"), 404, "no-store"),
        (Request::new("PUT", "/api/sync"), 405, "no-store"),
        // The same routes, spelled otherwise.
        (Request::new("POST", "/%61pi/%73ync"), 200, "no-store"),
        (Request::new("GET", "/%61pi/sync/data"), 200, "private, no-cache"),
        (Request::new("POST", "/%61pi/sync").without_token(), 401, "no-store"),
    ] {
        let answer = phone.send(request);
        assert_eq!(answer.status, status);
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Frame-Options", "DENY"),
            ("Content-Security-Policy", "frame-ancestors 'none'"),
            ("Cache-Control", cache),
        ] {
            assert_eq!(answer.header(name).as_deref(), Some(value), "{name} of {status}");
        }
    }
}
