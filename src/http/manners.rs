//! Headers that every answer carries, so that a browser which gets hold of one makes nothing else of it.
//!
//! `Strict-Transport-Security` is for the proxy that speaks TLS. What actix answers before there is a request (400, 408,
//! 431) it writes by itself, without a body and past every middleware (`h1/dispatcher.rs` of actix-http 3).

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

const EVERYWHERE: [(HeaderName, HeaderValue); 5] = [
    // It may tell of a client's books, however its path was spelled.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
];

/// Puts them on an answer. What an answer says of itself stays.
pub fn put(headers: &mut HeaderMap) {
    headers.reserve(EVERYWHERE.len());
    for (name, value) in EVERYWHERE {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}
