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
    /// It was not sent, as the pass had ended.
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
    success: Option<bool>,
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

    /// Whether the server will have nothing from this caller, whatever it is (API.md, what a phone does about errors).
    pub(super) fn refuses_the_caller(&self) -> bool {
        match self.status {
            Some(401) => true,
            Some(403) => self.told.code.as_deref() == Some("account_inactive"),
            _ => false,
        }
    }

    /// The counts of operations; all zero if there are none.
    pub(super) fn summary(&self) -> Summary {
        self.told.summary.unwrap_or_default()
    }
}

/// What an answer means, and what it says.
fn judge(route: Route, answer: &Answer) -> (Verdict, Told) {
    let Some(mut told) = Told::read(route, answer) else {
        let message = "the answer is not one of this API; is --url that of its server?".to_owned();
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
        Route::Sync if told.summary == Some(Summary::default()) => Verdict::Pulled,
        Route::Sync => Verdict::Applied,
        Route::Ready | Route::Reconcile => Verdict::Answered,
    };
    // A question that was found wanting has its reason among the problems only. A sync has it beside them.
    if let (Verdict::Refused, Some(first), None) = (verdict, told.errors.first(), &told.code) {
        (told.code, told.message) = (Some(code_of_sync(first).to_owned()), Some(first.message.clone()));
    }
    (verdict, told)
}

/// The code with which a sync refuses a batch of which a validate tells this problem first: those of shape come before
/// those of the records (API.md, status table).
fn code_of_sync(first: &Problem) -> &'static str {
    match first.code.as_str() {
        "idempotency_key_reused" => "idempotency_key_reused",
        "not_found" | "exceeds_balance" | "local_id_taken" | "unreadable_record" | "refused_by_database" => {
            "batch_rejected"
        }
        _ => "invalid_batch",
    }
}

impl Told {
    /// Why something was not done, for people.
    pub(super) fn reason(&self) -> String {
        let message = self.message.as_deref().unwrap_or("the server does not say why");
        self.code.as_ref().map_or_else(|| message.to_owned(), |code| format!("{code}: {message}"))
    }

    /// What an answer of this API says; `None` if it is not one.
    fn read(route: Route, answer: &Answer) -> Option<Self> {
        let told: Self = serde_json::from_slice(&answer.body).ok()?;
        let tells_all = !answer.is_ok()
            || match route {
                Route::Sync => told.summary.is_some(),
                Route::Validate => told.valid.is_some(),
                Route::Ready | Route::Reconcile => true,
            };
        (told.success == Some(answer.is_ok()) && tells_all).then_some(told)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(route: Route, status: u16, replayed: bool, body: &str) -> Verdict {
        let body = body.to_owned().into();
        let answer = Answer { status, replayed, retry_after: None, request_id: None, body };
        Outcome::of(route, Ok(answer), 1, Duration::ZERO).verdict
    }

    #[test]
    fn an_answer_is_judged_by_what_it_says() {
        let one = r#"{"success": true, "summary": {"itemsCreated": 1}, "data": {}}"#;
        let none = r#"{"success": true, "summary": {"itemsCreated": 0}}"#;
        let error = r#"{"success": false, "code": "batch_rejected", "errors": []}"#;
        assert_eq!(verdict(Route::Sync, 200, false, one), Verdict::Applied);
        assert_eq!(verdict(Route::Sync, 200, true, one), Verdict::Replayed);
        assert_eq!(verdict(Route::Sync, 200, false, none), Verdict::Pulled);
        assert_eq!(verdict(Route::Sync, 422, false, error), Verdict::Refused);
        assert_eq!(verdict(Route::Sync, 503, false, error), Verdict::Unsettled);
        assert_eq!(verdict(Route::Ready, 200, false, r#"{"success": true}"#), Verdict::Answered);
        assert_eq!(verdict(Route::Validate, 200, false, r#"{"success": true, "valid": true}"#), Verdict::Valid);
        assert_eq!(verdict(Route::Validate, 200, false, r#"{"success": true, "valid": false}"#), Verdict::Refused);
    }

    #[test]
    fn an_answer_of_something_else_settles_nothing() {
        for body in ["", "<html>", "{}", r#"{"success": true}"#, r#"{"success": false, "summary": {}}"#] {
            assert_eq!(verdict(Route::Sync, 200, false, body), Verdict::Unsettled, "{body}");
        }
        assert_eq!(verdict(Route::Sync, 404, false, "<html>"), Verdict::Refused);
        assert_eq!(verdict(Route::Sync, 502, false, "<html>"), Verdict::Unsettled);
    }
}
