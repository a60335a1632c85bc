//! A phone of the shop: what it knows, what it sends, and how it loses the connection.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::books::list;
use super::numbers::{json_number, ten_thousandths};
use crate::harness::{Answer, Phone, Request, Server};

/// A request as it went out. A retry is the same request once more.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The idempotency key, if the phone gave one.
    pub key: Option<String>,
    /// The batch.
    pub body: Value,
}

/// A shop that is none of ours: its records must stay as they are, whatever our phones say of them.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// One of its items.
    pub item: String,
    /// One of its invoices, which is not paid.
    pub invoice: String,
}

/// One phone.
pub struct Device {
    phone: Phone,
    /// The dataset of the last answer that it has heard.
    known: Value,
}

impl Device {
    /// A phone that knows nothing yet.
    pub fn new(server: &Server, client: &str) -> Self {
        Self { phone: Phone::of(server, client), known: json!({}) }
    }

    /// The phone rebuilds itself from an answer.
    pub fn learn(&mut self, data: &Value) {
        self.known = data.clone();
    }

    /// The batch with what the phone knows in place of the texts that begin with `@`.
    pub fn fill_in(&self, batch: &Value, neighbour: &Neighbour) -> Value {
        match batch {
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), self.fill_in(value, neighbour))).collect()
            }
            Value::Array(values) => values.iter().map(|value| self.fill_in(value, neighbour)).collect(),
            Value::String(text) => match text.strip_prefix('@').and_then(|text| text.split_once('/')) {
                Some(("foreign", "item")) => json!(neighbour.item),
                Some(("foreign", _)) => json!(neighbour.invoice),
                Some((what, number)) => self.known_value(what, number.parse().expect("a number")),
                None => batch.clone(),
            },
            other => other.clone(),
        }
    }

    /// The id of a known record, or what is owed on a known invoice, or a little more.
    fn known_value(&self, what: &str, number: usize) -> Value {
        let (records, mark) = match what {
            "item" => (list(&self.known["items"]), "description"),
            _ => (list(&self.known["invoices"]), "notes"),
        };
        let mut records: Vec<_> = records.iter().collect();
        // By their marks, for the order of ids need not be the same when the history is run again.
        records.sort_by_key(|record| (record[mark].as_str(), record["_id"].as_str()));
        let Some(record) = (!records.is_empty()).then(|| records[number % records.len()]) else {
            return json!("nothing known");
        };
        let amount = |field: &str| ten_thousandths(&record[field]).unwrap_or(0);
        match what {
            "due" => json_number(amount("totalAmount") - amount("paidAmount")),
            "over" => json_number(amount("totalAmount") - amount("paidAmount") + 1),
            _ => record["_id"].clone(),
        }
    }

    /// Sends a request until it is answered: a server that is overloaded is asked again, with the same key.
    pub fn send(&self, sent: &Sent) -> Result<Answer, String> {
        self.ask(|| {
            let request = Request::sync().json(&sent.body);
            match &sent.key {
                Some(key) => request.header("X-Idempotency-Key", key),
                None => request,
            }
        })
    }

    /// Asks for the data: an empty batch.
    pub fn pull(&self) -> Result<Value, String> {
        let answer = self.ask(Request::sync)?;
        if answer.status == 200 {
            Ok(answer.json())
        } else {
            Err(format!("a pull was answered with {}", text(&answer)))
        }
    }

    fn ask(&self, request: impl Fn() -> Request) -> Result<Answer, String> {
        let deadline = Instant::now() + BUSY_DEADLINE;
        loop {
            let answer = self.phone.try_send(request()).map_err(|error| format!("no answer: {error}"))?;
            if answer.status != 503 || Instant::now() > deadline {
                return Ok(answer);
            }
            std::thread::sleep(BUSY_PAUSE);
        }
    }

    /// Sends the request up to this many bytes of its body and closes the connection without a look at the answer.
    pub fn send_and_leave(&self, sent: &Sent, most: usize) -> Result<(), String> {
        let body = sent.body.to_string();
        let address = self.phone.url.trim_start_matches("http://");
        let key = sent.key.as_ref().map(|key| format!("X-Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /api/sync HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n{key}Content-Length: {}\r\n\r\n",
            self.phone.token,
            body.len()
        );
        let bytes = [head.as_bytes(), &body.as_bytes()[..body.len().min(most)]].concat();
        let sent = TcpStream::connect(address).and_then(|mut connection| connection.write_all(&bytes));
        sent.map_err(|error| format!("the request cannot be sent: {error}"))
    }
}

/// An answer for a message.
pub fn text(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.bytes))
}

/// How long a server may say that it is overloaded.
const BUSY_DEADLINE: Duration = Duration::from_secs(60);

/// The phone's pause before it asks an overloaded server again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
