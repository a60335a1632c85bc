//! All that a replay found out, as JSON for machines.

use std::path::PathBuf;
use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::outcome::{Outcome, Problem, Summary, Verdict};
use super::pass::Pass;
use super::payload::{Payload, Source};
use super::twice::Again;
use crate::phone::Address;

/// All that a replay found out.
#[derive(Debug)]
pub(super) struct Report {
    address: String,
    is_dry: bool,
    /// The first time.
    pub first: Pass,
    /// What should not have come of it.
    refusals: Vec<String>,
    /// What came of `--twice`.
    pub again: Option<Again>,
    /// What came of `--expect` and `--save`.
    pub comparison: Option<Comparison>,
}

/// The dataset in the end, beside the one that is expected.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The file of the dataset that is expected.
    pub expected: Option<PathBuf>,
    /// How the dataset differs.
    pub difference: Option<String>,
    /// That it differs, or what kept it from being pulled or saved.
    pub findings: Vec<String>,
}

/// What the payloads of one verdict came to together.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub payloads: usize,
    pub summary: Summary,
    pub slowest: Duration,
}

impl Report {
    pub(super) fn new(address: &Address, is_dry: bool, payloads: &[Payload], first: Pass) -> Self {
        let refusals = first.findings(payloads);
        Self { address: address.to_string(), is_dry, first, refusals, again: None, comparison: None }
    }

    /// Whether the exit code is 0.
    pub(super) fn is_good(&self) -> bool {
        self.findings().next().is_none()
    }

    /// Whether captures were tried one by one, and some refused perhaps for what those before them would have done.
    pub(super) fn are_refused_for_their_order(&self, payloads: &[Payload]) -> bool {
        let is_alone = |payload: &Payload| matches!(payload.source, Source::Capture(_));
        let is_refused = |outcome: &Outcome| outcome.verdict == Verdict::Refused;
        self.is_dry && payloads.len() > 1 && payloads.iter().all(is_alone) && self.first.outcomes.iter().any(is_refused)
    }

    /// What should not be, each in a line: all that keeps the replay from being good.
    pub(super) fn findings(&self) -> impl Iterator<Item = &str> {
        let again = self.again.iter().flat_map(|again| &again.findings);
        let comparison = self.comparison.iter().flat_map(|comparison| &comparison.findings);
        self.refusals.iter().chain(again).chain(comparison).map(String::as_str)
    }

    /// The whole as one document.
    pub(super) fn to_json(&self, payloads: &[Payload]) -> Value {
        json!({
            "ok": self.is_good(),
            "server": self.address,
            "dryRun": self.is_dry,
            "payloads": list(payloads, &self.first.outcomes),
            "totals": totals_to_json(&self.first.outcomes),
            "again": self.again.as_ref().map(|again| again_to_json(payloads, again)),
            "expected": self.comparison.as_ref().and_then(Comparison::to_json),
            "findings": self.findings().collect::<Vec<_>>(),
        })
    }
}

impl Comparison {
    fn to_json(&self) -> Option<Value> {
        let file = self.expected.as_ref()?;
        Some(
            json!({"file": file.display().to_string(), "equal": self.findings.is_empty(), "difference": self.difference}),
        )
    }
}

/// The totals of a pass, by verdict; those of which there are none are left out.
pub(super) fn totals(outcomes: &[Outcome]) -> impl Iterator<Item = (Verdict, Total)> {
    Verdict::ALL.into_iter().filter_map(|verdict| {
        let mut total = Total::default();
        for outcome in outcomes.iter().filter(|outcome| outcome.verdict == verdict) {
            total.payloads += 1;
            total.summary = total.summary.plus(outcome.summary());
            total.slowest = total.slowest.max(outcome.time);
        }
        (total.payloads > 0).then_some((verdict, total))
    })
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    // To a hundredth, which is more than a network tells.
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn list(payloads: &[Payload], outcomes: &[Outcome]) -> Vec<Value> {
    payloads.iter().zip(outcomes).map(|(payload, outcome)| payload_to_json(payload, outcome)).collect()
}

fn payload_to_json(payload: &Payload, outcome: &Outcome) -> Value {
    let place = match &payload.source {
        Source::Capture(place) => Some(place),
        Source::Merged(_) => None,
    };
    json!({
        "file": place.map(|place| place.file.display().to_string()),
        "line": place.map(|place| place.line),
        "entry": place.map(|place| place.entry),
        "captures": payload.captures(),
        "endpoint": payload.route.path(),
        "timestamp": payload.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "key": payload.key,
        "result": outcome.verdict,
        "status": outcome.status,
        "answer": outcome.told,
        "errors": outcome.told.errors.iter().map(|problem| problem_to_json(payload, problem)).collect::<Vec<_>>(),
        "attempts": outcome.attempts,
        "milliseconds": milliseconds(outcome.time),
    })
}

fn problem_to_json(payload: &Payload, problem: &Problem) -> Value {
    let (place, path) = payload.origin(&problem.path);
    json!({
        "capture": place.map(ToString::to_string),
        "path": path,
        "code": problem.code,
        "message": problem.message,
    })
}

fn totals_to_json(outcomes: &[Outcome]) -> Value {
    let total = |(verdict, total): (Verdict, Total)| {
        let value = json!({
            "payloads": total.payloads,
            "summary": total.summary,
            "slowestMilliseconds": milliseconds(total.slowest),
        });
        (verdict.to_string(), value)
    };
    Value::Object(totals(outcomes).map(total).collect())
}

fn again_to_json(payloads: &[Payload], again: &Again) -> Value {
    let books = again.books.as_ref().map(|books| {
        json!({
            "unchanged": books.are_equal(),
            "revisionBefore": books.before.revision,
            "revisionAfter": books.after.revision,
            "recordsBefore": books.before.records(),
            "recordsAfter": books.after.records(),
        })
    });
    json!({
        "payloads": list(payloads, &again.outcomes),
        "totals": totals_to_json(&again.outcomes),
        "books": books,
    })
}
