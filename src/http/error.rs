//! What goes wrong, as the phone is told. The only file that names status codes.

use std::fmt;
use std::ops::RangeInclusive;

use actix_cors::CorsError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::batch::{Invalid, Problem, Problems};
use crate::plan::Reject;
use crate::store::{ExecuteError, StoreError};

/// Why a request was not answered with success. What is in [`ApiError::Unavailable`] and
/// [`ApiError::Internal`] is for the log alone.
#[derive(Debug, Clone)]
pub enum ApiError {
    /// No such route.
    NotFound,
    /// The route has no such method, only this one.
    MethodNotAllowed(&'static str),
    /// No valid token.
    Unauthorized,
    /// The token's session has ended.
    SessionEnded,
    /// The client's account is not active.
    AccountInactive,
    /// Whether the token is good cannot be told now.
    KeysAway,
    /// A web page of another origin may not ask that.
    ForeignOrigin,
    /// The client has made too many requests; the next one is possible after so many seconds.
    RateLimited {
        /// Until then.
        seconds: u64,
    },
    /// The body came too slowly.
    SlowBody,
    /// The body names another client than the token.
    ClientMismatch,
    /// The body broke off, or could not be read.
    BrokenBody,
    /// The body is not of the coding that it is said to be of.
    MalformedEncoding(&'static str),
    /// The body is not JSON; the text says where.
    MalformedJson(String),
    /// The body is no batch.
    InvalidBatch(Problems),
    /// The idempotency key is none; the text says why.
    KeyInvalid(&'static str),
    /// The batch writes and has no key, and this server asks for one.
    KeyRequired,
    /// The body is larger than this many bytes.
    PayloadTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The batch has more operations than this.
    TooManyOperations {
        /// The limit.
        limit: usize,
    },
    /// A content coding that this server does not know.
    UnsupportedEncoding,
    /// The records say no.
    Rejected(Problems),
    /// The key was committed with another payload.
    KeyReused,
    /// The same batch is being worked on.
    InProgress,
    /// Too much is going on.
    Overloaded,
    /// The server is about to stop.
    Stopping,
    /// The store did not answer.
    Unavailable(String),
    /// The store is known to be away, which the log says once and not for each request.
    Away,
    /// A bug.
    Internal(String),
}

/// What one kind of error looks like from the outside.
struct Face {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiError)]
pub struct Envelope<'a> {
    /// False.
    success: bool,
    /// One sentence for people: the first problem's, if there are problems.
    message: &'a str,
    /// What a program acts on. Which codes come with which status is told with each operation.
    code: &'a str,
    /// The problems of an `invalid_batch` or a `batch_rejected`, in the order of the operations; else empty.
    #[schema(value_type = Vec<Problem>, max_items = 100)]
    errors: Value,
    /// Names this request in the server's log; the same as the header `X-Request-Id`.
    request_id: &'a str,
}

/// Seconds after which a phone may try again: by chance one of these, so that phones that were refused
/// together do not come back together.
const RETRY_AFTER_SECONDS: RangeInclusive<u32> = 1..=5;
/// For a batch that is being worked on, and so soon done.
const RETRY_SOON_SECONDS: RangeInclusive<u32> = 1..=2;
/// Beyond the time that a client has to wait, so that its phones do not all come at once.
const APART_SECONDS: RangeInclusive<u32> = 0..=2;

impl ApiError {
    /// The answer with its JSON envelope.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let Face { status, code, message } = self.face();
        let mut response = HttpResponseBuilder::new(status);
        match self {
            Self::MethodNotAllowed(allowed) => drop(response.insert_header((ALLOW, *allowed))),
            Self::Unauthorized | Self::SessionEnded => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
            Self::RateLimited { seconds } => {
                let seconds = seconds + u64::from(any_of(APART_SECONDS));
                response.insert_header((RETRY_AFTER, seconds));
            }
            // What is still to come of the body is of no use to anybody.
            Self::SlowBody => drop(response.force_close()),
            Self::InProgress => drop(response.insert_header((RETRY_AFTER, any_of(RETRY_SOON_SECONDS)))),
            Self::Overloaded | Self::Stopping | Self::Unavailable(_) | Self::Away | Self::KeysAway => {
                response.insert_header((RETRY_AFTER, any_of(RETRY_AFTER_SECONDS)));
            }
            _ => {}
        }
        response.json(Envelope { success: false, message: &message, code, errors: self.errors(), request_id })
    }

    /// The error of something that came after a batch, which may have been committed by then: what would say
    /// that nothing was applied must not.
    pub fn after(self, committed: bool) -> Self {
        match self {
            Self::Overloaded | Self::Internal(_) if committed => {
                Self::Unavailable(format!("after the commit: {}", self.inside().unwrap_or("overloaded")))
            }
            other => other,
        }
    }

    /// What the log says of the inside; `None` where the outside knows it all.
    pub fn inside(&self) -> Option<&str> {
        match self {
            Self::Unavailable(inside) | Self::Internal(inside) => Some(inside),
            _ => None,
        }
    }

    /// The code of the error, as phones read it.
    pub fn code(&self) -> &'static str {
        self.face().code
    }

    /// Whether it passes by itself, and many hear of it at once.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::InProgress
                | Self::Overloaded
                | Self::Stopping
                | Self::Unavailable(_)
                | Self::Away
        )
    }

    fn face(&self) -> Face {
        let (status, code, message) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found".into()),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed".into())
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Invalid or expired token".into()),
            Self::SessionEnded => (
                StatusCode::UNAUTHORIZED,
                "session_expired",
                "Session expired or logged out. Please log in again.".into(),
            ),
            Self::AccountInactive => (StatusCode::FORBIDDEN, "account_inactive", "Account is inactive".into()),
            Self::KeysAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "keys_unavailable",
                "The token cannot be checked now; nothing was applied; send it again".into(),
            ),
            Self::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "origin_not_allowed", "A page of this origin may not send this request".into())
            }
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests; nothing was applied; send it again later".into(),
            ),
            Self::SlowBody => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The body took too long; nothing was applied; send it again".into(),
            ),
            Self::ClientMismatch => {
                (StatusCode::FORBIDDEN, "client_mismatch", "clientId does not match the token".into())
            }
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "malformed_json", "The body could not be read".into()),
            Self::MalformedEncoding(coding) => {
                (StatusCode::BAD_REQUEST, "malformed_json", format!("The body is not valid {coding}"))
            }
            Self::MalformedJson(detail) => {
                (StatusCode::BAD_REQUEST, "malformed_json", format!("The body is not valid JSON: {detail}"))
            }
            Self::InvalidBatch(problems) => (StatusCode::BAD_REQUEST, "invalid_batch", problems.message().into()),
            Self::KeyInvalid(reason) => (StatusCode::BAD_REQUEST, "idempotency_key_invalid", (*reason).into()),
            Self::KeyRequired => (
                StatusCode::BAD_REQUEST,
                "idempotency_key_required",
                "A batch that writes needs the header X-Idempotency-Key".into(),
            ),
            Self::PayloadTooLarge { limit } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("The body is larger than {limit} bytes"))
            }
            Self::TooManyOperations { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_operations",
                format!("The batch has more than {limit} operations, or more lines or values than so many can have"),
            ),
            Self::UnsupportedEncoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                "Content-Encoding must be gzip, br, zstd or identity".into(),
            ),
            Self::Rejected(problems) => (StatusCode::UNPROCESSABLE_ENTITY, "batch_rejected", problems.message().into()),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The idempotency key was used for another batch".into(),
            ),
            Self::InProgress => (
                StatusCode::CONFLICT,
                "sync_in_progress",
                "This batch is still being worked on; send it again with the same key".into(),
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The server is overloaded; nothing was applied; send it again".into(),
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The server is stopping; nothing was applied; send it again".into(),
            ),
            Self::Unavailable(_) | Self::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "The store is unavailable; send it again with the same key".into(),
            ),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal error".into()),
        };
        Face { status, code, message }
    }

    fn errors(&self) -> Value {
        match self {
            Self::InvalidBatch(problems) | Self::Rejected(problems) => problems.to_json(),
            _ => json!([]),
        }
    }
}

/// One number of a range, each with the same chance.
fn any_of(range: RangeInclusive<u32>) -> u32 {
    let (first, count) = (*range.start(), range.end() - range.start() + 1);
    // Without chance it still is one of them.
    first + getrandom::u32().unwrap_or_default() % count
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.face().message)
    }
}

/// `http/envelope.rs` puts the body on, where the request's id is known.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.face().status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// Errors of the framework itself.
impl From<&actix_web::Error> for ApiError {
    fn from(error: &actix_web::Error) -> Self {
        match error.as_error::<Self>() {
            Some(ours) => ours.clone(),
            None if error.as_error::<CorsError>().is_some() => Self::ForeignOrigin,
            None if error.as_response_error().status_code().is_client_error() => Self::BrokenBody,
            None => Self::Internal(error.to_string()),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Json(detail) => Self::MalformedJson(detail),
            Invalid::ForeignClient => Self::ClientMismatch,
            Invalid::TooManyOperations { limit } => Self::TooManyOperations { limit },
            Invalid::Shape(problems) => Self::InvalidBatch(problems),
        }
    }
}

impl From<ExecuteError> for ApiError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(Reject::Problems(problems)) => Self::Rejected(problems),
            ExecuteError::Rejected(Reject::KeyReused) => Self::KeyReused,
            ExecuteError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable(inside) => Self::Unavailable(inside.clone()),
            StoreError::Away => Self::Away,
            StoreError::Unusable(inside) | StoreError::Internal(inside) => Self::Internal(inside.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::body::to_bytes;

    use super::*;

    /// The errors that only a store in trouble brings about.
    #[tokio::test]
    async fn errors_that_pass_ask_for_a_retry_and_tell_nothing_of_the_inside() {
        for (error, status, code) in [
            (ApiError::InProgress, 409, "sync_in_progress"),
            (ApiError::Overloaded, 503, "overloaded"),
            (ApiError::Stopping, 503, "overloaded"),
            (ApiError::Unavailable("host db-7 is away".into()), 503, "store_unavailable"),
            (ApiError::Away, 503, "store_unavailable"),
        ] {
            let response = error.respond("id-1");
            assert_eq!(response.status().as_u16(), status);
            assert!(response.headers().contains_key(RETRY_AFTER), "{code}");
            let body = to_bytes(response.into_body()).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["code"], &body["requestId"]), (&json!(code), &json!("id-1")));
            assert!(!body.to_string().contains("db-7"), "{body}");
        }
    }

    #[test]
    fn phones_that_are_refused_together_come_back_apart() {
        let answers = (0..1000).map(|_| ApiError::Overloaded.respond("id"));
        let seconds: BTreeSet<String> =
            answers.map(|answer| answer.headers().get(RETRY_AFTER).unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(seconds, ["1", "2", "3", "4", "5"].map(str::to_owned).into());
    }
}
