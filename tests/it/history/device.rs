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

    /// Whether it has heard of any record.
    pub fn knows_something(&self) -> bool {
        !list(&self.known["items"]).is_empty()
    }

    /// The batch with what the phone knows in place of the texts that begin with `@`, and without the elements of lists
    /// for which it knows nothing.
    pub fn fill_in(&self, batch: &Value, neighbour: &Neighbour) -> Value {
        self.filled(batch, neighbour).expect("a batch is not an element of a list")
    }

    fn filled(&self, value: &Value, neighbour: &Neighbour) -> Option<Value> {
        Some(match value {
            Value::Object(members) => {
                let filled = |(name, value): (&String, &Value)| {
                    let filled = self.filled(value, neighbour)?;
                    let lost_all = name == "products" && list(&filled).is_empty() && !list(value).is_empty();
                    (!lost_all).then(|| (name.clone(), filled))
                };
                members.iter().map(filled).collect::<Option<_>>()?
            }
            Value::Array(values) => values.iter().filter_map(|value| self.filled(value, neighbour)).collect(),
            Value::String(text) => match text.strip_prefix('@').and_then(|text| text.split_once('/')) {
                Some(("foreign", "item")) => json!(neighbour.item),
                Some(("foreign", _)) => json!(neighbour.invoice),
                Some((what, number)) => self.known_value(what, number.parse().expect("a number"))?,
                None => value.clone(),
            },
            other => other.clone(),
        })
    }

    /// The id of a known record, or what is owed on a known invoice, or a little more.
    fn known_value(&self, what: &str, number: usize) -> Option<Value> {
        let (name, mark) = if what == "item" { ("items", "description") } else { ("invoices", "notes") };
        let mut records: Vec<_> = list(&self.known[name]).iter().collect();
        // By their marks, for the order of ids need not be the same when the history is run again.
        records.sort_by_key(|record| (record[mark].as_str(), record["_id"].as_str()));
        let record = records.get(number % records.len().max(1))?;
        let amount = |field: &str| ten_thousandths(&record[field]).unwrap_or(0);
        let due = amount("totalAmount") - amount("paidAmount");
        match what {
            "due" => (due > 0).then(|| json_number(due)),
            "over" => Some(json_number(due + 1)),
            _ => Some(record["_id"].clone()),
        }
    }

    /// Sends a request until it is answered: a server that is overloaded is asked again, with the same key.
    pub fn send(&self, sent: &Sent) -> Result<Answer, String> {
        ask(&self.phone, || {
            let request = Request::sync().json(&sent.body);
            match &sent.key {
                Some(key) => request.header("X-Idempotency-Key", key),
                None => request,
            }
        })
    }

    /// Asks for the data: an empty batch.
    pub fn pull(&self) -> Result<Value, String> {
        let answer = ask(&self.phone, Request::sync)?;
        if answer.status == 200 {
            Ok(answer.json())
        } else {
            Err(format!("a pull was answered with {}", text(&answer)))
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

/// Asks until there is an answer: a server that is overloaded is asked again.
pub fn ask(phone: &Phone, request: impl Fn() -> Request) -> Result<Answer, String> {
    let deadline = Instant::now() + BUSY_DEADLINE;
    loop {
        let answer = phone.try_send(request()).map_err(|error| format!("no answer: {error}"))?;
        if answer.status != 503 || Instant::now() > deadline {
            return Ok(answer);
        }
        std::thread::sleep(BUSY_PAUSE);
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
