//! What a server answered.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::HeaderMap;

/// An answer, its body as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Whether this is the answer to an earlier request with the same key: `Idempotency-Replayed: true`.
    pub replayed: bool,
    /// How long to wait before the same request is sent again.
    pub retry_after: Option<Duration>,
    /// The name under which the server's log tells more.
    pub request_id: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    pub(super) async fn read(response: Response) -> Result<Self, reqwest::Error> {
        let head = Self::head(&response);
        Ok(Self { body: response.bytes().await?, ..head })
    }

    /// The answer without its body, which may still be on its way.
    pub(super) fn head(response: &Response) -> Self {
        let headers = response.headers();
        Self {
            status: response.status().as_u16(),
            replayed: text(headers, "idempotency-replayed") == Some("true"),
            retry_after: text(headers, "retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
            request_id: text(headers, "x-request-id").map(str::to_owned),
            body: Bytes::new(),
        }
    }

    /// Whether the request was done: any 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same request, with the same key, is to be sent again later: 409, 429 and what is the server's fault.
    pub fn asks_to_come_again(&self) -> bool {
        matches!(self.status, 409 | 429 | 500..)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
