//! Whole requests, honest about themselves or not.

use std::fmt;
use std::io::Write;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{corpus, damage};

/// A request as it goes out, but for the token.
#[derive(Clone, Debug)]
pub struct Attack {
    /// All bytes, with `$TOKEN` where the client's token belongs.
    pub bytes: Vec<u8>,
    /// Whether it is HTTP that says the truth about its length, so that an answer must come.
    pub is_honest: bool,
}

impl Attack {
    /// Bytes that promise nothing.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), is_honest: false }
    }

    /// A body without any odd header.
    pub fn plain(route: &str, body: Vec<u8>) -> Self {
        Self::build(route, &[], &body, Length::Right)
    }

    fn build(route: &str, headers: &[String], body: &[u8], length: Length) -> Self {
        let method = if route == "/api/health" { "GET" } else { "POST" };
        let mut bytes = format!("{method} {route} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n").into_bytes();
        if !headers.iter().any(|header| header.starts_with("Authorization")) {
            bytes.extend(b"Authorization: Bearer $TOKEN\r\n");
        }
        for header in headers {
            bytes.extend(header.bytes());
            bytes.extend(b"\r\n");
        }
        match &length {
            Length::Right => write!(bytes, "Content-Length: {}\r\n\r\n", body.len()),
            Length::Wrong(text) => write!(bytes, "Content-Length: {text}\r\n\r\n"),
            Length::Chunked => write!(bytes, "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()),
        }
        .expect("a Vec takes all");
        bytes.extend(body);
        if length == Length::Chunked {
            bytes.extend(if body.is_empty() { &b"\r\n"[..] } else { b"\r\n0\r\n\r\n" });
        }
        // The HTTP library takes all that follows an upgrade for its body, whatever its length is said to be, and
        // refuses a second host by itself.
        let odd = headers.iter().any(|header| header.starts_with("Upgrade") || header.starts_with("Host"));
        Self { bytes, is_honest: !odd && !matches!(length, Length::Wrong(_)) }
    }
}

/// What a request says of its length.
#[derive(Clone, Debug, PartialEq)]
enum Length {
    Right,
    Wrong(&'static str),
    Chunked,
}

/// Any request at all, mostly damaged bodies of syncs.
pub fn attacks() -> impl Strategy<Value = Attack> {
    let body = prop_oneof![6 => damage::damaged(corpus::bodies()), 1 => Just(vec![])];
    let headers = vec(select(HEADERS).prop_map(str::to_owned), 0..3);
    let length = prop_oneof![
        12 => Just(Length::Right),
        1 => select(LENGTHS).prop_map(Length::Wrong),
        2 => Just(Length::Chunked),
    ];
    let http =
        (select(ROUTES), headers, coded(body), length).prop_map(|(route, mut headers, (coding, body), length)| {
            headers.extend(coding.map(|coding| format!("Content-Encoding: {coding}")));
            Attack::build(route, &headers, &body, length)
        });
    let raw = damage::damaged(corpus::requests()).prop_map(|bytes| Attack::raw(&bytes));
    prop_oneof![8 => http, 1 => raw]
}

/// The body in some coding, which is at times not the one that is named, or damaged on the way.
fn coded(body: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = (Option<&'static str>, Vec<u8>)> {
    let coding = option::weighted(0.25, select(CODINGS));
    let damage = option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (body, coding, damage).prop_map(|(body, coding, damage)| {
        let mut bytes = coding.map_or_else(|| body.clone(), |coding| encode(coding, &body));
        if let (Some(_), Some((at, with)), false) = (coding, damage, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        (coding, bytes)
    })
}

fn encode(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
            encoder.write_all(body).and_then(|()| encoder.finish().map(drop)).expect("a Vec takes all");
        }
        "br" => {
            brotli::CompressorWriter::new(&mut out, 4096, 1, 22).write_all(body).expect("a Vec takes all");
        }
        "zstd" => zstd::stream::copy_encode(body, &mut out, 1).expect("a Vec takes all"),
        _ => out.extend(body),
    }
    out
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes.escape_ascii())
    }
}

/// Where requests go; the first one takes most of them.
pub const ROUTES: &[&str] =
    &["/api/sync", "/api/sync/validate", "/api/sync/reconcile", "/api/readytosync", "/api/health"];

const CODINGS: &[&str] = &["gzip", "br", "zstd", "identity", "deflate", "gzip, br", "GZIP", ""];

const LENGTHS: &[&str] = &["0", "1", "17", "1000000", "99999999999999999999", "-1", "+5", "5, 6", "0x10", "", "a"];

const HEADERS: &[&str] = &[
    "X-Idempotency-Key: k1",
    "X-Idempotency-Key: k2",
    "Idempotency-Key: \"k1\"",
    "Idempotency-Key: \"k1",
    "Idempotency-Key: \"\\",
    "Idempotency-Key: \"a\\\"b\"",
    "Idempotency-Key:",
    "X-Idempotency-Key: two words",
    "X-Idempotency-Key: \u{e9}\u{1f600}",
    "Accept-Encoding: gzip",
    "Accept-Encoding: br;q=1, gzip;q=0.5, *;q=0",
    "Accept-Encoding: zstd;q=0.0000001, identity;q=0",
    "Accept-Encoding: ;;;q=,,br;q=99999999999999999999;q=-1",
    "Accept-Encoding: *",
    "Authorization: Bearer",
    "Authorization: Bearer a.b.c",
    "Authorization: Basic $TOKEN",
    "Authorization: Bearer $TOKEN$TOKEN",
    "Authorization: bearer $TOKEN",
    "Authorization: Bearer \u{e9}",
    "X-Request-Id: ../../etc/passwd",
    "X-Request-Id: it-1",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data; boundary=a",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Range: bytes=0-1",
    "If-None-Match: *",
    "Cookie: a=b; a=c; =; ;;",
    "X-Forwarded-For: 127.0.0.1, \"",
    "Host: other",
    "Trailer: X-Idempotency-Key",
];
