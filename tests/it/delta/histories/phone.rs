//! A phone of the shop: its copy of the books, the copies that it made backups of, and how it asks.

use serde_json::{Value, json};

use crate::delta::copy::{Copy, mode};
use crate::harness::{Answer, Phone, Request, Server};
use crate::history::device;

/// One phone.
pub struct Replica {
    /// What it holds.
    pub state: State,
    backups: Vec<State>,
    /// The last answer that it heard by GET: with which cursor it asked, the ETag, and the world's state then.
    pub tag: Option<(Option<String>, String, Moment)>,
}

/// What a phone holds, and of when.
#[derive(Clone, Debug)]
pub struct State {
    /// The records and the cursor.
    pub copy: Copy,
    /// The moment that the cursor is of.
    pub seen: Moment,
    /// How many foreign writes there had been when the phone took everything in.
    pub foreign: usize,
}

/// A state of a shop, as the history counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// How many batches were committed.
    pub revision: u64,
    /// How many foreign writes there were.
    pub foreign: usize,
}

/// What data a phone asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Everything.
    Full,
    /// What changed since its cursor, if it has one.
    Delta,
    /// The receipt alone, whether it sends a cursor or not.
    Nothing { since: bool },
    /// With a text that is no cursor.
    Nonsense,
}

impl Replica {
    /// A phone that was never synced.
    pub fn new() -> Self {
        let state = State { copy: Copy::new(), seen: Moment::default(), foreign: 0 };
        Self { state, backups: vec![], tag: None }
    }

    /// The phone's `since` of such a question.
    pub fn cursor(&self, ask: Ask) -> Option<String> {
        match ask {
            Ask::Delta | Ask::Nothing { since: true } => self.state.copy.cursor.clone(),
            Ask::Nonsense => Some("nonsense".to_owned()),
            Ask::Full | Ask::Nothing { since: false } => None,
        }
    }

    /// The batch with the question.
    pub fn body(&self, batch: &Value, ask: Ask) -> Value {
        let mut body = batch.clone();
        if let Some(cursor) = self.cursor(ask) {
            body["since"] = cursor.into();
        }
        if let Ask::Nothing { .. } = ask {
            body["data"] = json!("none");
        }
        body
    }

    /// What the answer must say of its data.
    pub fn expected_mode(&self, ask: Ask) -> &'static str {
        match ask {
            Ask::Delta if self.state.copy.cursor.is_some() => "delta",
            Ask::Full | Ask::Delta => "full: no_cursor",
            Ask::Nonsense => "full: cursor_unknown",
            Ask::Nothing { .. } => "none",
        }
    }

    /// Takes in an answer of this moment.
    pub fn take_in(&mut self, answer: &Value, now: Moment) -> Result<(), String> {
        self.state = self.state.after(answer, now)?;
        Ok(())
    }

    /// Keeps a backup of what it holds.
    pub fn back_up(&mut self) {
        self.backups.push(self.state.clone());
    }

    /// Goes back to the backup of this number, round and round, or to nothing.
    pub fn go_back(&mut self, number: usize) {
        match self.backups.len() {
            0 => *self = Self::new(),
            count => self.state = self.backups[number % count].clone(),
        }
    }
}

impl State {
    /// What the phone would hold if it took in an answer of this moment.
    pub fn after(&self, answer: &Value, now: Moment) -> Result<Self, String> {
        let (mode, mut after) = (mode(answer)?, self.clone());
        after.copy.take_in(answer)?;
        if mode != "none" {
            after.seen = now;
        }
        if mode.starts_with("full") {
            after.foreign = now.foreign;
        }
        Ok(after)
    }
}

/// Asks as this client until there is an answer.
pub fn ask(server: &Server, client: &str, request: impl Fn() -> Request) -> Result<Answer, String> {
    device::ask(&Phone::of(server, client), request)
}
