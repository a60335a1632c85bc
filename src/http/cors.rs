//! Web pages of other origins: what the Fetch standard has browsers ask before they let a page call the API.

use actix_cors::Cors;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::middleware::Condition;

/// Which web pages may call the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// None of another origin. Nothing of this protocol is spoken.
    Same,
    /// All.
    Any,
    /// These.
    Of(Vec<String>),
}

/// How long a browser may remember what it was allowed, in seconds.
const MAX_AGE: usize = 3600;

/// Answers preflights, which carry no token, and says of each answer which page may read it. Tokens are sent by the
/// page's own script, so cookies and the like are never asked for.
pub fn cors(origins: &Origins) -> Condition<Cors> {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-idempotency-key"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([
            "X-Request-Id",
            "Idempotency-Replayed",
            "Retry-After",
            "ETag",
            "RateLimit",
            "RateLimit-Policy",
        ])
        .max_age(MAX_AGE);
    match origins {
        Origins::Same => Condition::new(false, cors),
        Origins::Any => Condition::new(true, cors.allow_any_origin().send_wildcard()),
        Origins::Of(list) => {
            let list = list.clone();
            let known = move |origin: &header::HeaderValue, _: &_| list.iter().any(|known| origin == known.as_str());
            Condition::new(true, cors.allowed_origin_fn(known))
        }
    }
}

/// Keeps what was said of an answer when another one takes its place.
pub(super) fn keep(said: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in said {
        if *name == header::VARY || name.as_str().starts_with("access-control-") {
            headers.append(name.clone(), value.clone());
        }
    }
}
