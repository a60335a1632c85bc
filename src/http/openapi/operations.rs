//! The operations of the API: what each takes, and what it answers.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathItemBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, Header, HeaderBuilder, HttpMethod, Ref, Required, Response, ResponseBuilder,
};

use super::errors::{self, Traits};
use crate::batch::{Batch, Inquiry, StatedClient};
use crate::http::Limits;
use crate::http::answer::SyncAnswer;
use crate::http::health::Healthy;
use crate::http::ready::Ready;
use crate::http::reconcile::Report as Reconciled;
use crate::http::validate::Report as Validated;
use crate::model::IdempotencyKey;

/// The name of the security scheme.
pub const BEARER: &str = "bearer";

/// `POST /api/readytosync`.
pub fn ready(limits: &Limits) -> PathItem {
    let answered = answer::<Ready>("The token is good.", &[("ready", READY)]);
    Operation::new("readyToSync", "Is my token still good?", include_str!("text/ready.md"))
        .reading(body::<StatedClient>("Optional.", &[("empty", "{}")]))
        .answering("200", answered)
        .item(HttpMethod::Post, limits)
}

/// `POST /api/sync`.
pub fn sync(limits: &Limits) -> PathItem {
    let answered = answer::<SyncAnswer>("The batch is committed, or there was nothing to commit.", &[("day", SYNCED)]);
    let mut answered = answered;
    answered.headers.insert("Idempotency-Replayed".to_owned(), about_header("Idempotency-Replayed").into());
    let about = "Optional: without a body it is a pull.";
    let examples = [("day", SYNC), ("pull", "{}"), ("delta", DELTA), ("receiptOnly", RECEIPT_ONLY)];
    let mut operation =
        Operation::new("sync", "Here is my queue; give me the truth back", include_str!("text/sync.md"))
            .keyed()
            .reading(body::<Batch>(about, &examples))
            .answering("200", answered);
    operation.traits.executes = true;
    operation.traits.store = true;
    operation.item(HttpMethod::Post, limits)
}

/// `GET /api/sync/data`.
pub fn data(limits: &Limits) -> PathItem {
    let of_a_get = |mut response: Response| {
        for name in ["ETag", "Cache-Control"] {
            response.headers.insert(name.to_owned(), about_header(name).into());
        }
        response
    };
    let since = "The `cursor` of the last answer, for a delta. A wrong or old one gives a full answer.";
    let known = "The `ETag` of the answer that the phone has.";
    let unchanged = ResponseBuilder::new().description("Nothing has changed since the answer with this `ETag`.");
    let unchanged = unchanged.header("X-Request-Id", about_header("X-Request-Id")).build();
    let pulled = answer::<SyncAnswer>("The dataset, or what has changed.", &[("full", SYNCED)]);
    let mut operation =
        Operation::new("pullData", "Has anything changed? Then give it to me", include_str!("text/data.md"))
            .taking(ParameterIn::Query, "since", since, text(None))
            .taking(ParameterIn::Header, "If-None-Match", known, text(None))
            .answering("200", of_a_get(pulled))
            .answering("304", of_a_get(unchanged));
    operation.traits.store = true;
    operation.item(HttpMethod::Get, limits)
}

/// `POST /api/sync/validate`.
pub fn validate(limits: &Limits) -> PathItem {
    let answered = answer::<Validated>("What a sync would say.", &[("refused", VALIDATED)]);
    let mut operation = Operation::new("validate", "What would come of this queue?", include_str!("text/validate.md"))
        .keyed()
        .reading(body::<Batch>("As for a sync.", &[("refused", VALIDATE), ("day", SYNC)]))
        .answering("200", answered);
    operation.traits.store = true;
    operation.item(HttpMethod::Post, limits)
}

/// `POST /api/sync/reconcile`.
pub fn reconcile(limits: &Limits) -> PathItem {
    let answered = answer::<Reconciled>("What became of each.", &[("after", RECONCILED)]);
    let about = include_str!("text/reconcile.md");
    let mut operation = Operation::new("reconcile", "Is this batch, is this record in the books?", about)
        .reading(body::<Inquiry>("Each list may be absent or null.", &[("after", RECONCILE)]))
        .answering("200", answered);
    operation.traits.store = true;
    operation.item(HttpMethod::Post, limits)
}

/// `GET` and `HEAD /api/health`.
pub fn health(limits: &Limits) -> PathItem {
    let operation = |id, summary, healthy| {
        let mut operation = Operation::new(id, summary, include_str!("text/health.md")).answering("200", healthy);
        operation.traits = Traits { store: true, ..Traits::default() };
        operation
    };
    let get = operation("health", "Can this server work?", answer::<Healthy>("It can.", &[("ok", HEALTHY)]));
    let mut healthy = answer::<Healthy>("It can.", &[]);
    healthy.content.clear();
    let mut head = operation("healthHead", "Can this server work? Without a body", healthy);
    head.traits.head = true;
    PathItemBuilder::new()
        .operation(HttpMethod::Get, get.build(limits))
        .operation(HttpMethod::Head, head.build(limits))
        .build()
}

const READY: &str = include_str!("examples/ready.answer.json");
const SYNC: &str = include_str!("examples/sync.request.json");
const SYNCED: &str = include_str!("examples/sync.answer.json");
const DELTA: &str = include_str!("examples/delta.request.json");
const RECEIPT_ONLY: &str = r#"{"data": "none"}"#;
const VALIDATE: &str = include_str!("examples/validate.request.json");
const VALIDATED: &str = include_str!("examples/validate.answer.json");
const RECONCILE: &str = include_str!("examples/reconcile.request.json");
const RECONCILED: &str = include_str!("examples/reconcile.answer.json");
const HEALTHY: &str = include_str!("examples/health.answer.json");

/// An operation in the making.
struct Operation {
    builder: OperationBuilder,
    traits: Traits,
}

impl Operation {
    /// One that asks for a token.
    fn new(id: &str, summary: &str, about: &str) -> Self {
        let request_id =
            "Names this request in the server's log: 1 to 128 letters, digits and `-_.:`. Any other is replaced.";
        let builder = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).description(Some(about));
        let operation = Self { builder, traits: Traits { token: true, ..Traits::default() } };
        operation.taking(ParameterIn::Header, "X-Request-Id", request_id, text(None))
    }

    fn taking(mut self, place: ParameterIn, name: &str, about: &str, values: Object) -> Self {
        self.builder = self.builder.parameter(parameter(place, name, about, values));
        self
    }

    /// One that looks at the idempotency key.
    fn keyed(mut self) -> Self {
        self.traits.key = true;
        let mut key = text(Some("^[!#-~][!-~]*$"));
        key.min_length = Some(1);
        key.max_length = Some(IdempotencyKey::MOST_CHARACTERS);
        key.examples = vec!["6f1c6a0e-4a52-4c58-9d8e-0b9d2f5f2a10".into()];
        let about = "The key of the batch: random, made once, stored with the batch before it is sent, and sent again with \
            every retry. 1 to 255 visible ASCII characters, bare or as a quoted string.";
        let standard = "The standard's name for the same header. Send one of the two; different values are refused.";
        let mut other = key.clone();
        other.examples.clear();
        self.taking(ParameterIn::Header, "X-Idempotency-Key", about, key).taking(
            ParameterIn::Header,
            "Idempotency-Key",
            standard,
            other,
        )
    }

    fn reading(mut self, body: RequestBody) -> Self {
        self.traits.body = true;
        self.builder = self.builder.request_body(Some(body));
        self
    }

    fn answering(mut self, status: &str, response: Response) -> Self {
        self.builder = self.builder.response(status, response);
        self
    }

    fn item(self, method: HttpMethod, limits: &Limits) -> PathItem {
        PathItem::new(method, self.build(limits))
    }

    fn build(self, limits: &Limits) -> utoipa::openapi::path::Operation {
        let security =
            if self.traits.token { vec![SecurityRequirement::new::<_, [&str; 0], _>(BEARER, [])] } else { Vec::new() };
        let builder = self.builder.securities(Some(security));
        let errors = errors::responses(self.traits, limits);
        errors.into_iter().fold(builder, |builder, (status, response)| builder.response(status, response)).build()
    }
}

fn parameter(place: ParameterIn, name: &str, about: &str, values: Object) -> Parameter {
    ParameterBuilder::new()
        .parameter_in(place)
        .name(name)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(values))
        .build()
}

fn body<T: ToSchema>(about: &str, examples: &[(&str, &str)]) -> RequestBody {
    let body = RequestBodyBuilder::new().description(Some(about)).content("application/json", content::<T>(examples));
    body.required(Some(Required::False)).build()
}

fn answer<T: ToSchema>(about: &str, examples: &[(&str, &str)]) -> Response {
    let response = ResponseBuilder::new().description(about).content("application/json", content::<T>(examples));
    response.header("X-Request-Id", about_header("X-Request-Id")).build()
}

fn content<T: ToSchema>(examples: &[(&str, &str)]) -> Content {
    let examples = examples.iter().map(|(name, json)| {
        let value: Value = serde_json::from_str(json).expect("the examples are JSON, as a test has seen");
        (*name, ExampleBuilder::new().value(Some(value)).build())
    });
    ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).examples_from_iter(examples).build()
}

/// A text, of this form.
fn text(pattern: Option<&str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(pattern).build()
}

/// A header of an answer.
pub fn about_header(name: &str) -> Header {
    let (values, about) = match name {
        "X-Request-Id" => (text(Some("^[0-9A-Za-z_.:-]{1,128}$")), "Names this request in the server's log."),
        "Retry-After" => (text(Some("^[1-5]$")), "Seconds to wait before the next try, and longer each time."),
        "WWW-Authenticate" => (text(None), "`Bearer`."),
        "Idempotency-Replayed" => {
            (text(Some("^true$")), "Only if the batch had been committed by an earlier request: what came of it then.")
        }
        "ETag" => (text(Some("^\".+\"$")), "To be sent back as `If-None-Match`."),
        "Cache-Control" => (text(None), "`private, no-cache`."),
        _ => (text(None), ""),
    };
    HeaderBuilder::new().schema(Some(values)).description(Some(about)).build()
}
