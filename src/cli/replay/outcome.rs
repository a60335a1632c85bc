//! What came of a payload.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::phone::{Answer, Route, SendError};

/// What came of a payload, in the end.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub verdict: Verdict,
    /// The status of the last answer, if there was one.
    pub status: Option<u16>,
    /// What the last answer said.
    pub told: Told,
    /// How many times it was sent.
    pub attempts: u32,
    /// How long the last of them took.
    pub time: Duration,
}

/// What came of a payload, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It was committed.
    Applied,
    /// It had been committed before, and was answered from its receipt.
    Replayed,
    /// It held no operation: a pull.
    Pulled,
    /// It was a question, and is answered.
    Answered,
    /// A sync would commit it.
    Valid,
    /// The server will not have it, now or later.
    Refused,
    /// Nobody knows whether it was applied: it was not answered, or only told to come again.
    Unsettled,
    /// It was not sent, as one before it is unsettled.
    Unsent,
    /// It was not sent, as only batches can be tried.
    Skipped,
}

/// What an answer says, whatever it is the answer to. The dataset is not kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing)]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Value>,
    #[serde(skip_serializing)]
    pub errors: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Counts of operations (API.md, the answer).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Summary {
    pub items_created: u64,
    pub items_updated: u64,
    pub items_deleted: u64,
    pub invoices_created: u64,
    pub payments_created: u64,
    pub already_applied: u64,
}

/// One problem of a refused batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    pub path: String,
    pub code: String,
    pub message: String,
}

impl Outcome {
    /// What the last of so many attempts to send something came to.
    pub(super) fn of(route: Route, last: Result<Answer, SendError>, attempts: u32, time: Duration) -> Self {
        match last {
            Ok(answer) => {
                let (verdict, told) = judge(route, &answer);
                Self { verdict, status: Some(answer.status), told, attempts, time }
            }
            Err(error) => {
                let told = Told { message: Some(error.to_string()), ..Told::default() };
                Self { verdict: Verdict::Unsettled, status: None, told, attempts, time }
            }
        }
    }

    /// What was not sent.
    pub(super) fn not_sent(verdict: Verdict) -> Self {
        Self { verdict, status: None, told: Told::default(), attempts: 0, time: Duration::ZERO }
    }

    /// The counts of operations; all zero if there are none.
    pub(super) fn summary(&self) -> Summary {
        self.told.summary.unwrap_or_default()
    }
}

/// What an answer means, and what it says.
fn judge(route: Route, answer: &Answer) -> (Verdict, Told) {
    let Ok(mut told) = serde_json::from_slice::<Told>(&answer.body) else {
        let message = "the answer is not of this API: its body is not the JSON that it should be".to_owned();
        let told = Told { message: Some(message), request_id: answer.request_id.clone(), ..Told::default() };
        let verdict = if answer.is_ok() || answer.asks_to_come_again() { Verdict::Unsettled } else { Verdict::Refused };
        return (verdict, told);
    };
    told.request_id = answer.request_id.clone();
    let verdict = match route {
        _ if answer.asks_to_come_again() => Verdict::Unsettled,
        _ if !answer.is_ok() => Verdict::Refused,
        Route::Validate if told.valid == Some(false) => Verdict::Refused,
        Route::Validate => Verdict::Valid,
        Route::Sync if answer.replayed => Verdict::Replayed,
        Route::Sync if told.summary.is_none_or(|summary| summary == Summary::default()) => Verdict::Pulled,
        Route::Sync => Verdict::Applied,
        Route::Ready | Route::Reconcile => Verdict::Answered,
    };
    // A question that was found wanting has its reason among the problems only.
    if let (Verdict::Refused, Some(first), None) = (verdict, told.errors.first(), &told.code) {
        (told.code, told.message) = (Some(first.code.clone()), Some(first.message.clone()));
    }
    (verdict, told)
}

impl Verdict {
    /// All, in the order of tables.
    pub(super) const ALL: [Self; 9] = [
        Self::Applied,
        Self::Replayed,
        Self::Pulled,
        Self::Answered,
        Self::Valid,
        Self::Refused,
        Self::Unsettled,
        Self::Unsent,
        Self::Skipped,
    ];

    /// Whether it is what was hoped for.
    pub(super) fn is_good(self) -> bool {
        !matches!(self, Self::Refused | Self::Unsettled | Self::Unsent)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Applied => "applied",
            Self::Replayed => "replayed",
            Self::Pulled => "pulled",
            Self::Answered => "answered",
            Self::Valid => "valid",
            Self::Refused => "refused",
            Self::Unsettled => "unsettled",
            Self::Unsent => "unsent",
            Self::Skipped => "skipped",
        })
    }
}

impl Summary {
    /// The counts with the names of one and of many, in the order in which operations are applied.
    pub(super) fn counts(self) -> [(u64, &'static str, &'static str); 6] {
        [
            (self.items_created, "new item", "new items"),
            (self.items_updated, "change", "changes"),
            (self.items_deleted, "deletion", "deletions"),
            (self.invoices_created, "invoice", "invoices"),
            (self.payments_created, "payment", "payments"),
            (self.already_applied, "known before", "known before"),
        ]
    }

    /// The sum, count by count.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            items_created: self.items_created + other.items_created,
            items_updated: self.items_updated + other.items_updated,
            items_deleted: self.items_deleted + other.items_deleted,
            invoices_created: self.invoices_created + other.invoices_created,
            payments_created: self.payments_created + other.payments_created,
            already_applied: self.already_applied + other.already_applied,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.counts().into_iter().filter(|(count, ..)| *count > 0);
        let told: Vec<_> =
            some.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many })).collect();
        f.write_str(&if told.is_empty() { "nothing".to_owned() } else { told.join(", ") })
    }
}
