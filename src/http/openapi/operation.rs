//! What the operations are put together from.

use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{self, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, Header, HeaderBuilder, HttpMethod, Ref, Required, Response, ResponseBuilder,
};

use super::errors::{self, Traits};
use crate::http::Limits;
use crate::model::IdempotencyKey;

/// The name of the security scheme.
pub const BEARER: &str = "bearer";

/// A heading of the page, and the class that generators put operations into.
pub const SYNC: &str = "Sync";
/// The same, for what needs no token.
pub const SERVER: &str = "Server";

/// An operation in the making. The errors that it may answer with follow from what it does.
pub struct Operation {
    builder: OperationBuilder,
    traits: Traits,
}

impl Operation {
    /// One that asks for a token.
    pub fn new(id: &str, summary: &str, about: &str) -> Self {
        let request_id =
            "Names this request in the server's log: 1 to 128 letters, digits and `-_.:`. Any other is replaced.";
        let builder = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).description(Some(about));
        let operation = Self { builder, traits: Traits { token: true, ..Traits::default() } };
        operation.taking(ParameterIn::Header, "X-Request-Id", request_id, any_text())
    }

    /// Anybody may ask.
    pub fn without_token(mut self) -> Self {
        self.traits.token = false;
        self
    }

    /// Its answers are heads.
    pub fn without_bodies(mut self) -> Self {
        self.traits.head = true;
        self
    }

    /// It needs the store.
    pub fn asking_the_store(mut self) -> Self {
        self.traits.store = true;
        self
    }

    /// It commits what the body says.
    pub fn applying_a_batch(mut self) -> Self {
        self.traits.executes = true;
        self
    }

    /// It takes a parameter, which may be absent.
    pub fn taking(mut self, place: ParameterIn, name: &str, about: &str, values: Object) -> Self {
        let parameter = ParameterBuilder::new().parameter_in(place).name(name).required(Required::False);
        self.builder = self.builder.parameter(parameter.description(Some(about)).schema(Some(values)));
        self
    }

    /// It looks at the idempotency key.
    pub fn keyed(mut self) -> Self {
        self.traits.key = true;
        let key = || {
            let key = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!#-~][!-~]*$"));
            key.min_length(Some(1)).max_length(Some(IdempotencyKey::MOST_CHARACTERS))
        };
        let example = key().examples(["6f1c6a0e-4a52-4c58-9d8e-0b9d2f5f2a10"]).build();
        let about = "The key of the batch: random, made once, stored with the batch before it is sent, and sent again with \
            every retry. 1 to 255 visible ASCII characters, bare or as a quoted string.";
        let standard = "The standard's name for the same header. Send one of the two; different values are refused.";
        self.taking(ParameterIn::Header, "X-Idempotency-Key", about, example).taking(
            ParameterIn::Header,
            "Idempotency-Key",
            standard,
            key().build(),
        )
    }

    /// It reads a body.
    pub fn reading(mut self, body: RequestBody) -> Self {
        self.traits.body = true;
        self.builder = self.builder.request_body(Some(body));
        self
    }

    /// It may answer so.
    pub fn answering(mut self, status: &str, response: Response) -> Self {
        self.builder = self.builder.response(status, rated(self.traits, response));
        self
    }

    /// The only operation of its path.
    pub fn item(self, method: HttpMethod, limits: &Limits) -> PathItem {
        PathItem::new(method, self.build(limits))
    }

    /// With its errors.
    pub fn build(self, limits: &Limits) -> path::Operation {
        let (tag, security) = if self.traits.token {
            (SYNC, vec![SecurityRequirement::new::<_, [&str; 0], _>(BEARER, [])])
        } else {
            (SERVER, Vec::new())
        };
        let builder = self.builder.tag(tag).securities(Some(security));
        let errors = errors::responses(self.traits, limits);
        let add =
            |builder: OperationBuilder, (status, response)| builder.response(status, rated(self.traits, response));
        errors.into_iter().fold(builder, add).build()
    }
}

/// An example: its name, what it shows, and its JSON.
type Example<'a> = (&'a str, &'a str, &'a str);

/// A body that a phone may leave out.
pub fn body<T: ToSchema>(about: &str, examples: &[Example<'_>]) -> RequestBody {
    let about = format!("{about} It may come as `Content-Encoding: gzip`, `br` or `zstd`.");
    let body = RequestBodyBuilder::new().description(Some(about)).content("application/json", content::<T>(examples));
    body.required(Some(Required::False)).build()
}

/// An answer with a body.
pub fn answer<T: ToSchema>(about: &str, examples: &[Example<'_>]) -> Response {
    let mut response = no_body(about);
    response.content.insert("application/json".to_owned(), content::<T>(examples).into());
    response
}

/// An answer without one.
pub fn no_body(about: &str) -> Response {
    with_headers(ResponseBuilder::new().description(about).build(), &["Cache-Control", "X-Request-Id"])
}

/// With what a client is told of its rate.
fn rated(operation: Traits, response: Response) -> Response {
    if operation.token { with_headers(response, &["RateLimit", "RateLimit-Policy"]) } else { response }
}

/// The same answer with more headers.
pub fn with_headers(mut response: Response, names: &[&str]) -> Response {
    response.headers.extend(names.iter().map(|name| ((*name).to_owned(), header(name).into())));
    response
}

/// A text of any kind.
pub fn any_text() -> Object {
    Object::with_type(Type::String)
}

fn content<T: ToSchema>(examples: &[Example<'_>]) -> Content {
    let examples = examples.iter().map(|(name, summary, json)| {
        let value: serde_json::Value = serde_json::from_str(json).expect("the examples are JSON, as a test has seen");
        (*name, ExampleBuilder::new().summary(*summary).value(Some(value)).build())
    });
    ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).examples_from_iter(examples).build()
}

fn header(name: &str) -> Header {
    let (pattern, about) = match name {
        "X-Request-Id" => (Some("^[0-9A-Za-z_.:-]{1,128}$"), "Names this request in the server's log."),
        "Retry-After" => (Some("^[1-9][0-9]*$"), "Seconds to wait before the next try, and longer each time."),
        "WWW-Authenticate" => (Some("^Bearer"), "`Bearer`."),
        "Idempotency-Replayed" => {
            (Some("^true$"), "Only if the batch had been committed by an earlier request: what came of it then.")
        }
        "ETag" => (Some("^\".+\"$"), "To be sent back as `If-None-Match`."),
        "Cache-Control" => (None, "`no-store`; `private, no-cache` with an `ETag`."),
        "RateLimit" => {
            (Some("^\"client\";r="), "Only if this server limits rates: `r` requests are left, `t` seconds refill it.")
        }
        "RateLimit-Policy" => (Some("^\"client\";q="), "Only if it does: `q` requests in `w` seconds."),
        _ => (None, ""),
    };
    let values = ObjectBuilder::new().schema_type(Type::String).pattern(pattern);
    HeaderBuilder::new().schema(Some(values)).description(Some(about).filter(|about| !about.is_empty())).build()
}
