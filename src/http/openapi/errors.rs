//! The errors that an operation may answer with, as the server would send them.

use std::collections::BTreeMap;

use actix_web::body::MessageBody;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, Ref, Response};

use super::operation::{no_body, with_headers};
use crate::batch::{MalformedJson, Problem, ProblemCode, Problems};
use crate::http::Limits;
use crate::http::error::{ApiError, Envelope};

/// What an operation does, as far as that says what can go wrong with it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// It asks for a token.
    pub token: bool,
    /// It reads a body.
    pub body: bool,
    /// It looks at the idempotency key.
    pub key: bool,
    /// It applies a batch.
    pub executes: bool,
    /// It asks the store.
    pub store: bool,
    /// Its answers have no body.
    pub head: bool,
}

/// Whether an operation may answer with an error.
fn may_happen(error: &ApiError, operation: Traits) -> bool {
    match error {
        ApiError::NotFound | ApiError::MethodNotAllowed(_) => false,
        ApiError::Unauthorized
        | ApiError::SessionEnded
        | ApiError::AccountInactive
        | ApiError::KeysAway
        | ApiError::RateLimited { .. } => operation.token,
        ApiError::ClientMismatch
        | ApiError::BrokenBody
        | ApiError::SlowBody
        | ApiError::MalformedEncoding(_)
        | ApiError::MalformedJson(_)
        | ApiError::InvalidBatch(_)
        | ApiError::PayloadTooLarge { .. }
        | ApiError::TooManyOperations { .. }
        | ApiError::UnsupportedEncoding => operation.body,
        ApiError::KeyInvalid(_) => operation.key,
        ApiError::KeyRequired | ApiError::Rejected(_) | ApiError::KeyReused | ApiError::InProgress => {
            operation.executes
        }
        ApiError::Unavailable(_) | ApiError::Away => operation.store,
        ApiError::ForeignOrigin | ApiError::Overloaded | ApiError::Stopping | ApiError::Internal(_) => true,
    }
}

/// One of each code that an operation may answer with.
fn each(limits: &Limits) -> Vec<ApiError> {
    let problem = |path: &str, code, message: &str| {
        Problems::one(Problem { path: path.to_owned(), code, message: message.to_owned() })
    };
    vec![
        ApiError::MalformedJson(MalformedJson {
            detail: "expected value at line 1 column 22".to_owned(),
            line: 1,
            column: 22,
        }),
        ApiError::InvalidBatch(problem(
            "/item/create/0/name",
            ProblemCode::Missing,
            "Item create at index 0 is missing name/price",
        )),
        ApiError::KeyInvalid("The idempotency key must be 1 to 255 visible ASCII characters"),
        ApiError::KeyRequired,
        ApiError::Unauthorized,
        ApiError::SessionEnded,
        ApiError::AccountInactive,
        ApiError::ForeignOrigin,
        ApiError::ClientMismatch,
        ApiError::SlowBody,
        ApiError::InProgress,
        ApiError::PayloadTooLarge { limit: limits.max_body_bytes },
        ApiError::TooManyOperations { limit: limits.max_operations },
        ApiError::UnsupportedEncoding,
        ApiError::Rejected(problem(
            "/payment/create/1/amount",
            ProblemCode::ExceedsBalance,
            "Payment exceeds outstanding balance",
        )),
        ApiError::KeyReused,
        ApiError::RateLimited { seconds: 2 },
        ApiError::Internal(String::new()),
        ApiError::Overloaded,
        ApiError::Away,
        ApiError::KeysAway,
    ]
}

/// The responses of an operation that are errors, by status.
pub fn responses(operation: Traits, limits: &Limits) -> Vec<(String, Response)> {
    let mut by_status: BTreeMap<u16, Vec<Sent>> = BTreeMap::new();
    for error in each(limits).iter().filter(|error| may_happen(error, operation)) {
        let sent = Sent::of(error);
        by_status.entry(sent.status).or_default().push(sent);
    }
    by_status.into_iter().map(|(status, errors)| (status.to_string(), response(&errors, operation))).collect()
}

/// An error as the server sends it.
struct Sent {
    status: u16,
    headers: Vec<String>,
    body: Value,
}

impl Sent {
    fn of(error: &ApiError) -> Self {
        let response = error.respond("64b0000000000000000000a1");
        let headers = response.headers().keys().map(ToString::to_string);
        Self {
            status: response.status().as_u16(),
            headers: headers.filter(|name| name != "content-type").collect(),
            body: response
                .into_body()
                .try_into_bytes()
                .ok()
                .and_then(|b| serde_json::from_slice(&b).ok())
                .unwrap_or_default(),
        }
    }

    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}

fn response(errors: &[Sent], operation: Traits) -> Response {
    let told = errors.iter().map(|error| format!("- `{}`: {}", error.text("code"), error.text("message")));
    let about = told.collect::<Vec<_>>().join("\n");
    let names: Vec<_> = errors.iter().flat_map(|error| &error.headers).map(|name| canonical(name)).collect();
    let mut response = with_headers(no_body(&about), &names.iter().map(String::as_str).collect::<Vec<_>>());
    if !operation.head {
        let examples = errors.iter().map(|error| {
            let example = ExampleBuilder::new().summary(error.text("message")).value(Some(error.body.clone())).build();
            (error.text("code"), example)
        });
        let schema = Ref::from_schema_name(Envelope::name());
        let body = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
        response.content.insert("application/json".to_owned(), body.into());
    }
    response
}

/// The spelling of the standards, for readers.
fn canonical(name: &str) -> String {
    match name {
        "www-authenticate" => "WWW-Authenticate".to_owned(),
        _ => name.split('-').map(capital).collect::<Vec<_>>().join("-"),
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_uppercase() + rest
}
