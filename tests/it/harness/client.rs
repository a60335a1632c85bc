//! A phone: one client's view of a server.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{self, HeaderMap, Method};

use super::server::Server;
use super::token::{random_hex, token};

/// A phone of one client, logged in.
pub struct Phone {
    /// The server's base URL.
    pub url: String,
    /// The client's id, 24 hex digits.
    pub client: String,
    /// The token that the phone shows.
    pub token: String,
    agent: ureq::Agent,
}

impl Phone {
    /// A phone of a client that nobody has heard of yet.
    pub fn new(server: &Server) -> Self {
        Self::of(server, &random_hex(12))
    }

    /// A phone of this client.
    pub fn of(server: &Server, client_hex: &str) -> Self {
        Self::at(&server.url(), client_hex, PATIENCE)
    }

    /// A phone of this client that talks to whatever listens at a base URL, and gives a request up after so long.
    pub fn at(url: &str, client_hex: &str, patience: Duration) -> Self {
        let agent = agent(patience);
        Self { url: url.to_owned(), client: client_hex.to_owned(), token: token(client_hex), agent }
    }

    /// Sends a batch without an idempotency key.
    pub fn sync(&self, batch: &Value) -> Answer {
        self.send(Request::sync().json(batch))
    }

    /// Sends a batch with an idempotency key.
    pub fn sync_with_key(&self, batch: &Value, key: &str) -> Answer {
        self.send(Request::sync().header("X-Idempotency-Key", key).json(batch))
    }

    /// Asks for the dataset: a sync without a body.
    pub fn pull(&self) -> Answer {
        self.send(Request::sync())
    }

    /// Sends any request, which must be answered.
    pub fn send(&self, request: Request) -> Answer {
        self.try_send(request).unwrap_or_else(|error| panic!("no answer from {}: {error}", self.url))
    }

    /// Sends any request; the error is for an answer that never came, whatever its status would have been.
    pub fn try_send(&self, request: Request) -> Result<Answer, ureq::Error> {
        let request = request.build(&self.url, &self.token);
        // Given an empty Vec, the agent says `Content-Length: 0`; given `()`, it says nothing (but "chunked" for these).
        let has_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        let response = if has_length || !request.body().is_empty() {
            self.agent.run(request)?
        } else {
            self.agent.run(request.map(|_| ()))?
        };
        Answer::read(response)
    }
}

/// A request in the making; it shows the phone's token unless told otherwise.
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    shows_token: bool,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.parse().expect("a method"),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            shows_token: true,
            body: Vec::new(),
        }
    }

    /// `POST /api/sync`.
    pub fn sync() -> Self {
        Self::new("POST", "/api/sync")
    }

    /// Adds a header, also beside one of the same name; an `Authorization` takes the place of the phone's own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: http::HeaderName = name.parse().expect("a header's name");
        self.shows_token &= name != http::header::AUTHORIZATION;
        self.headers.append(name, value.parse().expect("a header's value"));
        self
    }

    /// Leaves the token out.
    pub fn without_token(mut self) -> Self {
        self.shows_token = false;
        self
    }

    /// Sets the body, byte for byte, and says nothing of its type.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sets a JSON body.
    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json").body(value.to_string())
    }

    /// Its method and its path.
    pub fn target(&self) -> (String, String) {
        (self.method.to_string(), self.path.clone())
    }

    /// The request as the HTTP library wants it.
    fn build(self, url: &str, token: &str) -> http::Request<Vec<u8>> {
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = format!("{url}{}", self.path).parse().expect("a path");
        *request.headers_mut() = self.headers;
        if self.shows_token {
            let bearer = format!("Bearer {token}").parse().expect("a header's value");
            request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
        }
        request
    }
}

/// What the server answered, byte for byte.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came, perhaps compressed.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The body of an answer that must be a 200.
    #[track_caller]
    pub fn expect_ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The body of an answer that must be this error.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{}", self.text());
        body
    }

    /// Reads the whole response.
    fn read(response: http::Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let (head, mut body) = response.into_parts();
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            bytes: body.with_config().limit(u64::MAX).read_to_vec()?,
        })
    }

    /// The body for a message.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// How long a phone waits for an answer, if nothing else is said: longer than any server takes for one.
const PATIENCE: Duration = Duration::from_secs(60);

/// An HTTP client that hides nothing: no error for a status, no redirect, no proxy from the environment.
fn agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .proxy(None)
        .max_idle_age(Duration::from_secs(1)) // well before the server closes an idle connection
        .timeout_global(Some(patience))
        .build()
        .into()
}
