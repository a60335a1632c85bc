//! Runs a story step by step; after every step the server must say what the books say.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::books::{Books, Outcome, list};
use super::check::{IdsFrom, NoIds, Tally, Times, check_answer, check_dataset};
use super::device::{Device, Neighbour, Sent};
use super::story::{Fate, Step, Story};
use crate::harness::{Phone, Server};

/// Runs the story with a client of its own; the error says which step went wrong, and how.
pub fn run(story: &Story, server: &Server, neighbour: &Neighbour, tally: &Tally) -> Result<(), String> {
    let mut shop = Shop::new(story.phones, server, neighbour, tally);
    for (number, step) in story.steps.iter().enumerate() {
        shop.take(step, number).map_err(|problem| format!("step {}: {problem}", number + 1))?;
    }
    Ok(())
}

/// A client: its phones, and its books as they must be.
struct Shop<'a> {
    client: String,
    phones: Vec<Device>,
    /// A phone that only looks.
    auditor: Device,
    neighbour: &'a Neighbour,
    tally: &'a Tally,
    books: Books,
    times: Times,
    /// What was sent under a key, oldest first, and by which phone.
    sent: Vec<(usize, Sent)>,
}

impl<'a> Shop<'a> {
    fn new(phones: usize, server: &Server, neighbour: &'a Neighbour, tally: &'a Tally) -> Self {
        let client = Phone::new(server).client;
        Self {
            phones: (0..phones).map(|_| Device::new(server, &client)).collect(),
            auditor: Device::new(server, &client),
            books: Books::new(&client),
            times: Times::default(),
            sent: vec![],
            neighbour,
            tally,
            client,
        }
    }

    fn take(&mut self, step: &Step, number: usize) -> Result<(), String> {
        match step {
            Step::Send { phone, keyed, batch, fate } => {
                let key = keyed.then(|| format!("key-{number}"));
                let body = self.written(*phone, batch)?;
                self.deliver(*phone, Sent { key, body }, *fate)
            }
            Step::Again { phone, which, respelled, fate } => {
                let Some(mut sent) = self.earlier(*which) else { return Ok(()) };
                if *respelled {
                    sent.body = respell(&sent.body);
                    sent.body["clientId"] = self.client.to_uppercase().into();
                }
                self.deliver(*phone, sent, *fate)
            }
            Step::UnderOldKey { phone, which, batch } => {
                let Some(Sent { key, .. }) = self.earlier(*which) else { return Ok(()) };
                let body = self.written(*phone, batch)?;
                self.deliver(*phone, Sent { key, body }, Fate::Heard)
            }
            Step::Repack { phone, more, altered, fate } => {
                let more = self.written(*phone, more)?;
                let last = self.sent.iter().rev().find(|(sender, _)| sender == phone);
                let mut body = last.map_or(more.clone(), |(_, last)| merge(&last.body, &more));
                if *altered {
                    alter(&mut body);
                }
                self.deliver(*phone, Sent { key: Some(format!("key-{number}")), body }, *fate)
            }
            Step::Pull { phone } => {
                let answer = self.phones[*phone].pull()?;
                self.phones[*phone].learn(&answer["data"]);
                self.check(&answer)
            }
            Step::WrongShop { phone, batch } => {
                let mut body = self.written(*phone, batch)?;
                body["clientId"] = "64b0000000000000000000ff".into();
                self.deliver(*phone, Sent { key: Some(format!("key-{number}")), body }, Fate::Heard)
            }
        }
    }

    /// The batch as this phone writes it; one that knows nothing asks first.
    fn written(&mut self, phone: usize, batch: &Value) -> Result<Value, String> {
        if !self.phones[phone].knows_something() {
            let answer = self.phones[phone].pull()?;
            self.phones[phone].learn(&answer["data"]);
        }
        Ok(self.phones[phone].fill_in(batch, self.neighbour))
    }

    /// What was sent under a key, so many before the last.
    fn earlier(&self, which: usize) -> Option<Sent> {
        self.sent.iter().rev().nth(which).map(|(_, sent)| sent.clone())
    }

    fn deliver(&mut self, phone: usize, sent: Sent, fate: Fate) -> Result<(), String> {
        if sent.key.is_some() {
            self.sent.push((phone, sent.clone()));
        }
        match fate {
            Fate::Heard | Fate::Unheard => self.exchange(phone, &sent, fate == Fate::Heard)?,
            Fate::HungUp => self.hang_up(phone, &sent)?,
            Fate::CutOff(percentage) => {
                self.tally.count("cut off");
                let length = sent.body.to_string().len();
                self.phones[phone].send_and_leave(&sent, length * percentage / 100)?;
            }
        }
        self.check(&self.auditor.pull()?)
    }

    /// Sends, and compares the answer; the phone itself may not live to hear it.
    fn exchange(&mut self, phone: usize, sent: &Sent, heard: bool) -> Result<(), String> {
        let answer = self.phones[phone].send(sent)?;
        let body = answer.json();
        let mut ids = IdsFrom::new(&body["data"], &self.books);
        let outcome = self.books.submit(sent.key.as_deref(), &sent.body, &mut ids);
        self.tally.outcome(&outcome);
        check_answer(&outcome, &self.books, &self.client, &answer)?;
        if answer.status == 200 {
            check_dataset(&self.books, &self.client, &body["data"])?;
            if heard {
                self.phones[phone].learn(&body["data"]);
            }
        }
        Ok(())
    }

    /// Sends and does not listen. What can be applied is applied all the same.
    fn hang_up(&mut self, phone: usize, sent: &Sent) -> Result<(), String> {
        let foreseen = self.books.clone().submit(sent.key.as_deref(), &sent.body, &mut NoIds);
        match foreseen {
            Outcome::Committed(receipt) if receipt.revision == self.books.revision => {
                // Nobody could see when the key is used up, if the answer is not waited for.
                self.exchange(phone, sent, false)
            }
            Outcome::Committed(receipt) => {
                self.tally.count("committed though the phone hung up");
                self.phones[phone].send_and_leave(sent, usize::MAX)?;
                let data = self.wait_for_revision(receipt.revision)?;
                let mut ids = IdsFrom::new(&data, &self.books);
                self.books.submit(sent.key.as_deref(), &sent.body, &mut ids);
                Ok(())
            }
            _ => self.phones[phone].send_and_leave(sent, usize::MAX),
        }
    }

    /// The dataset once the batch that was left behind is committed.
    fn wait_for_revision(&self, revision: u64) -> Result<Value, String> {
        let deadline = Instant::now() + COMMIT_DEADLINE;
        loop {
            let answer = self.auditor.pull()?;
            if answer["revision"] == revision {
                return Ok(answer["data"].clone());
            }
            if Instant::now() > deadline {
                return Err("a batch that was sent whole is not applied, for the phone hung up".into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The answer to a pull is what the books say.
    fn check(&mut self, pull: &Value) -> Result<(), String> {
        if pull["revision"] != self.books.revision {
            return Err(format!("expected revision {}, a pull says {}", self.books.revision, pull["revision"]));
        }
        check_dataset(&self.books, &self.client, &pull["data"])?;
        self.times.check(&self.books, &pull["data"])
    }
}

/// The same payload, with the numbers spelled otherwise.
fn respell(body: &Value) -> Value {
    match body {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), respell(value))).collect(),
        Value::Array(values) => values.iter().map(respell).collect(),
        Value::Number(number) => number.as_f64().into(),
        other => other.clone(),
    }
}

/// Says something else of the first record of each kind, which keeps its names.
fn alter(body: &mut Value) {
    for (path, field, value) in [
        ("/item/create/0", "price", json!(77)),
        ("/invoice/create/0", "clientCustomerName", json!("Somebody else")),
        ("/payment/create/0", "method", json!("card")),
    ] {
        if let Some(first) = body.pointer_mut(path) {
            first[field] = value;
        }
    }
}

/// The operations of both, those of the first first.
fn merge(first: &Value, second: &Value) -> Value {
    let mut merged = Map::new();
    for section in ["item", "invoice", "payment"] {
        let mut lists = Map::new();
        for name in ["create", "update", "delete"] {
            let both = [list(&first[section][name]), list(&second[section][name])].concat();
            if !both.is_empty() {
                lists.insert(name.to_owned(), both.into());
            }
        }
        merged.insert(section.to_owned(), lists.into());
    }
    merged.into()
}

/// How long a server may take to apply a batch that was sent to it.
const COMMIT_DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two looks at it.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
