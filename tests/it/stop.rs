//! SIGTERM: what is in flight is finished, whatever else comes is refused, and the process ends.

use serde_json::{Value, json};

use crate::harness::{Answer, Connection, Phone, Request, Server, Setup};

#[test]
fn a_stop_finishes_what_is_in_flight_and_refuses_the_rest() {
    let setup = Setup::embedded().env("CORS_ORIGINS", PAGE);
    let mut server = Server::start(&setup);
    let phone = Phone::new(&server);
    let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}}).to_string();
    let mut in_flight = Connection::open(&phone);
    in_flight.begin_sync(&phone, "in-flight", batch.len());
    let mut kept_alive = Connection::open(&phone);
    kept_alive.send_pull(&phone);
    assert!(kept_alive.answer().0.starts_with("http/1.1 200"));

    server.ask_to_end();
    server.wait_for_log(|line| line.contains("stopping"));
    kept_alive.send_pull(&phone);
    let (head, body) = kept_alive.answer();
    assert!(head.starts_with("http/1.1 503") && head.contains("\nconnection: close"), "{head}");
    assert!(head.contains("\nretry-after: ") && body.contains("\"overloaded\""), "{head}{body}");
    assert_refused(&phone.sync_with_key(&json!({"item": {"create": [{"name": "Late", "price": 1}]}}), "late"));
    assert_refused(&phone.send(Request::new("GET", "/api/health").without_token()));

    assert_readable_by_a_page(&phone);

    in_flight.send(batch.as_bytes());
    let (head, body) = in_flight.answer();
    assert!(head.starts_with("http/1.1 200") && head.contains("\nconnection: close"), "{head}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["revision"], json!(1));
    assert_eq!(server.wait_for_end(), 0);

    server.restart();
    let answer = Phone::of(&server, &phone.client).pull().expect_ok();
    let items = answer["data"]["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["name"]), (1, &json!("Tea")), "the late one was not applied");
}

/// A web page that may call the API.
const PAGE: &str = "https://shop.example";

/// A browser lets the page see that the server is stopping, as it does with any other answer.
#[track_caller]
fn assert_readable_by_a_page(phone: &Phone) {
    let refused = phone.send(Request::sync().header("Origin", PAGE));
    assert_refused(&refused);
    let exposed = refused.header("Access-Control-Expose-Headers").unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");
    for (name, value) in [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")] {
        assert_eq!(refused.header(name).as_deref(), Some(value), "{name}");
    }
    let preflight = Request::new("OPTIONS", "/api/sync").without_token().header("Origin", PAGE);
    let allowed = phone.send(preflight.header("Access-Control-Request-Method", "POST"));
    assert_eq!((allowed.status, allowed.header("Connection").as_deref()), (200, Some("close")));
    for answer in [refused, allowed] {
        assert_eq!(answer.header("Access-Control-Allow-Origin").as_deref(), Some(PAGE));
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let mut in_flight = Connection::open(&phone);
    in_flight.begin_sync(&phone, "never-sent", 1000);
    server.ask_to_end();
    server.wait_for_log(|line| line.contains("stopping, when"));
    assert_refused(&phone.pull());
    server.ask_to_end();
    server.wait_for_log(|line| line.contains("stopping at once"));
    assert_eq!(server.wait_for_end(), 0);
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    let body = answer.expect_error(503, "overloaded");
    assert_eq!(body["message"], "The server is stopping; nothing was applied; send it again");
    assert!(answer.header("Retry-After").is_some());
    assert_eq!(answer.header("Connection").as_deref(), Some("close"));
}
