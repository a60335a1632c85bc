//! Headers that every answer carries, so that a browser which gets hold of one makes nothing else of it.
//!
//! `Strict-Transport-Security` is for the proxy that speaks TLS.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

const EVERYWHERE: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
];

/// Puts them on an answer; on one that may tell of a client's books, also that nobody is to keep it. What an answer
/// says of itself stays.
pub fn put(of_a_client: bool, headers: &mut HeaderMap) {
    headers.reserve(EVERYWHERE.len() + 1);
    for (name, value) in EVERYWHERE {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if of_a_client && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
