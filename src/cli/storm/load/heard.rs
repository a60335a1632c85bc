//! Sends a batch and listens to the answer, of which no more is held or read than a phone of the load needs.

use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;

use crate::cli::storm::script::Order;
use crate::phone::{Arriving, Phone, Route, SendError};

/// What a phone heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The sync is in the books.
    Done(Receipt),
    /// It is not, and will not be as it is.
    Refused {
        /// The status.
        status: u16,
        /// The code.
        code: Box<str>,
        /// For people.
        message: Box<str>,
    },
    /// Nobody knows: to be sent again.
    Later {
        /// The status.
        status: u16,
        /// The code, if the answer is the server's.
        code: Box<str>,
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
}

/// What a phone reads of a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it was given before.
    pub replayed: bool,
    /// How many operations of each kind were applied.
    pub summary: Summary,
    /// Where the next delta begins; only if it was wanted.
    pub cursor: Option<Box<str>>,
}

/// The counts of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    items_created: usize,
    items_updated: usize,
    items_deleted: usize,
    invoices_created: usize,
    payments_created: usize,
    already_applied: usize,
}

/// Sends a batch and takes the whole answer in.
pub async fn exchange(phone: &Phone, body: Bytes, key: &str, wants_cursor: bool) -> Result<Heard, SendError> {
    let mut answer = phone.begin(Route::Sync, body, Some(key)).await?;
    let head = answer.head();
    let (status, replayed, retry_after) = (head.status, head.replayed, head.retry_after);
    if status == 200 {
        let mut wanted = Wanted::new(wants_cursor);
        while let Some(piece) = answer.piece().await? {
            wanted.take(&piece);
        }
        return wanted.receipt(replayed).ok_or_else(|| SendError::Lost("the answer is not one to a sync".into()));
    }
    let comes_again = answer.head().asks_to_come_again();
    let Told { code, message } = told(answer).await?;
    Ok(if comes_again { Heard::Later { status, code, retry_after } } else { Heard::Refused { status, code, message } })
}

impl Summary {
    /// Whether this is what comes of the operations: all of them now, or all that have an identity before.
    pub fn fits(&self, order: &Order) -> bool {
        let set = (self.items_updated, self.items_deleted) == (order.updates.len(), order.deletes.len());
        let created = (self.items_created, self.invoices_created, self.payments_created);
        let new_items = order.items.len() + order.new_lines().count();
        let all_now = created == (new_items, order.invoices.len(), order.payments.len()) && self.already_applied == 0;
        let all_before = created == (0, 0, 0) && self.already_applied == order.creates();
        set && (all_now || all_before)
    }
}

/// The beginning of a good answer, as far as it is wanted: what comes before `data` (API.md, the answer).
struct Wanted {
    beginning: Vec<u8>,
    summary: Option<Summary>,
    cursor: Option<Box<str>>,
    wants_cursor: bool,
    /// No cursor begins before this.
    searched: usize,
}

impl Wanted {
    /// More than a cursor takes with its name (API.md: at most 200 characters).
    const CURSOR: usize = 256;
    /// What stands before the cursor grows with the batch, but not without bound.
    const LONGEST: usize = 8 << 20;

    fn new(wants_cursor: bool) -> Self {
        Self { beginning: Vec::new(), summary: None, cursor: None, wants_cursor, searched: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        let is_done = self.summary.is_some() && (self.cursor.is_some() || !self.wants_cursor);
        if is_done || self.beginning.len() > Self::LONGEST {
            return;
        }
        self.beginning.extend_from_slice(piece);
        if self.summary.is_none() {
            let counts =
                between(&self.beginning, b"\"summary\":", b"}").and_then(|at| self.beginning.get(at.start..=at.end));
            self.summary = counts.and_then(|counts| serde_json::from_slice(counts).ok());
        }
        if self.wants_cursor {
            let rest = &self.beginning[self.searched..];
            let cursor = between(rest, b"\"cursor\":\"", b"\"").map(|at| &rest[at]);
            self.cursor = cursor.and_then(|cursor| std::str::from_utf8(cursor).ok()).map(Into::into);
            self.searched = self.beginning.len().saturating_sub(Self::CURSOR);
        }
    }

    fn receipt(self, replayed: bool) -> Option<Heard> {
        Some(Heard::Done(Receipt { replayed, summary: self.summary?, cursor: self.cursor }))
    }
}

/// Where the first text after a beginning and before an end stands.
fn between(text: &[u8], beginning: &[u8], end: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = find(text, beginning)? + beginning.len();
    Some(start..start + find(&text[start..], end)?)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// What an error says. One that is no answer of ours, such as a proxy's, has no code.
#[derive(Deserialize)]
struct Told {
    code: Box<str>,
    message: Box<str>,
}

async fn told(mut answer: Arriving) -> Result<Told, SendError> {
    const LONGEST: usize = 1 << 20;
    let mut body = Vec::new();
    while let Some(piece) = answer.piece().await? {
        if body.len() < LONGEST {
            body.extend_from_slice(&piece);
        }
    }
    let foreign = || Told { code: "no code".into(), message: "the answer is not the server's".into() };
    Ok(serde_json::from_slice(&body).unwrap_or_else(|_| foreign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"success":true,"message":"Sync completed successfully","summary":{"itemsCreated":1,"itemsUpdated":2,"itemsDeleted":3,"invoicesCreated":4,"paymentsCreated":5,"alreadyApplied":6},"synced":{},"idMap":{},"warnings":[],"revision":7,"cursor":"c1","dataMode":"full","data":{"items":[{"cursor":"c2"}]}}"#;

    #[test]
    fn a_receipt_is_read_wherever_the_answer_is_cut() {
        for cut in 0..ANSWER.len() {
            for wants_cursor in [false, true] {
                let mut wanted = Wanted::new(wants_cursor);
                wanted.take(&ANSWER.as_bytes()[..cut]);
                wanted.take(&ANSWER.as_bytes()[cut..]);
                let Some(Heard::Done(receipt)) = wanted.receipt(true) else { panic!("no receipt at {cut}") };
                assert_eq!((receipt.summary.items_created, receipt.summary.already_applied), (1, 6));
                assert_eq!(receipt.cursor.as_deref(), wants_cursor.then_some("c1"));
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_no_receipt() {
        let mut wanted = Wanted::new(false);
        wanted.take(b"<html>summary</html>");
        assert_eq!(wanted.receipt(false), None);
    }
}
