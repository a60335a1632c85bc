//! What a person sees: a line for each payload while it goes, a table in the end, and how far it is if there is a terminal.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::SecondsFormat;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::courier::Courier;
use super::outcome::{Outcome, Summary, Verdict};
use super::pass::Pass;
use super::payload::{Payload, Source};
use super::report::{Comparison, Report, milliseconds, totals};
use super::twice::Again;
use crate::cli::output::counted;

/// Prints for people, or one JSON document in the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    is_json: bool,
}

impl Screen {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Sends all payloads and shows what comes of each.
    pub(super) async fn show_pass(self, courier: &Courier, payloads: &[Payload], doing: &'static str) -> Pass {
        // Hidden by itself if standard error is no terminal.
        let bar = ProgressBar::new(payloads.len() as u64).with_style(style()).with_message(doing);
        bar.suspend(|| self.line(&format!("{doing}\n{HEAD}")));
        let tell = |place: usize, outcome: &Outcome| {
            let row = row(place, &payloads[place], outcome);
            bar.suspend(|| self.line(&row));
            bar.inc(1);
        };
        let pass = courier.deliver_all(payloads, tell).await;
        bar.finish_and_clear();
        pass
    }

    /// Shows the end of it all.
    pub(super) fn show_end(self, payloads: &[Payload], report: &Report) {
        if self.is_json {
            say(&format!("{:#}", report.to_json(payloads)));
            return;
        }
        self.line(&table("", &report.first.outcomes));
        if let Some(again) = report.again.as_ref().filter(|again| !again.outcomes.is_empty()) {
            self.line(&second_time(again));
        }
        if let Some(comparison) = &report.comparison {
            comparison_lines(comparison).iter().for_each(|line| self.line(line));
        }
        if report.are_refused_for_their_order(payloads) {
            self.line("\nnote: none of the captures sees what those before it would do; --batch tries them together");
        }
        report.findings().for_each(|finding| self.line(&format!("wrong: {finding}")));
    }

    fn line(self, line: &str) {
        if !self.is_json {
            say(line);
        }
    }
}

/// Results go to standard output. Whoever has closed it does not want them; what is being sent is sent all the same.
fn say(lines: &str) {
    // Servers repeat what phones say, and a terminal obeys control characters.
    let lines = lines.replace(|letter: char| letter.is_control() && letter != '\n', "\u{fffd}");
    let _ = writeln!(std::io::stdout(), "{lines}");
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "{msg} {bar:40} {pos}/{len} in {elapsed}";
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const HEAD: &str =
    "   #  made at               request                               status        ms  what came of it";

fn row(place: usize, payload: &Payload, outcome: &Outcome) -> String {
    let at = payload.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let status = outcome.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let time = milliseconds(outcome.time);
    let mut row = format!(
        "{:4}  {at}  {:36}  {status:6}  {time:8.1}  {}",
        place + 1,
        clip(&payload.key),
        result(payload, outcome)
    );
    for problem in &outcome.told.errors {
        row.push_str(&remark(payload, &problem.path, &problem.code, &problem.message));
    }
    // What a receipt says was said the first time.
    if outcome.verdict != Verdict::Replayed {
        row.push_str(&warnings(payload, &outcome.told.warnings));
    }
    row
}

fn warnings(payload: &Payload, warnings: &[Value]) -> String {
    const MOST: usize = 10;
    let mut lines = String::new();
    for warning in warnings.iter().take(MOST) {
        let text = |name: &str| warning.get(name).and_then(Value::as_str).unwrap_or_default();
        lines.push_str(&remark(payload, text("path"), &format!("warning {}", text("code")), text("message")));
    }
    if warnings.len() > MOST {
        let _ = write!(lines, "\n      and {} warnings more: see --json", warnings.len() - MOST);
    }
    lines
}

/// A line below a payload's.
fn remark(payload: &Payload, pointer: &str, code: &str, message: &str) -> String {
    let (capture, path) = payload.origin(pointer);
    let capture = capture.map_or_else(String::new, |place| format!("{place} "));
    format!("\n      {capture}{path}: {code}: {message}")
}

/// Keys are long and differ where they begin.
fn clip(key: &str) -> String {
    const WIDTH: usize = 36;
    if key.len() <= WIDTH { key.to_owned() } else { format!("{}..", &key[..WIDTH - 2]) }
}

fn result(payload: &Payload, outcome: &Outcome) -> String {
    let told = &outcome.told;
    let mut text = outcome.verdict.to_string();
    match outcome.verdict {
        Verdict::Applied | Verdict::Replayed | Verdict::Valid => {
            let _ = write!(text, ": {}", outcome.summary());
        }
        Verdict::Refused | Verdict::Unsettled => {
            let _ = write!(text, ": {}", told.reason());
        }
        Verdict::Pulled | Verdict::Answered | Verdict::Unsent | Verdict::Skipped => {}
    }
    let mut notes: Vec<_> = told.revision.map(|revision| format!("revision {revision}")).into_iter().collect();
    let warnings = told.warnings.len() as u64;
    notes.extend((warnings > 0).then(|| counted(warnings, "warning")));
    notes.extend((outcome.attempts > 1).then(|| format!("sent {} times", outcome.attempts)));
    notes.extend(matches!(payload.source, Source::Merged(_)).then(|| counted(payload.captures() as u64, "capture")));
    if notes.is_empty() { text } else { format!("{text} ({})", notes.join(", ")) }
}

/// The totals of a pass, a line for each verdict.
fn table(title: &str, outcomes: &[Outcome]) -> String {
    let mut table = format!("\n{title:10}  payloads");
    for (_, _, name) in Summary::default().counts() {
        let _ = write!(table, "  {name:>9}");
    }
    table.push_str("  slowest ms");
    for (verdict, total) in totals(outcomes) {
        let _ = write!(table, "\n{verdict:10}  {:8}", total.payloads);
        for (count, _, name) in total.summary.counts() {
            let _ = write!(table, "  {count:width$}", width = name.len().max(9));
        }
        let _ = write!(table, "  {:10.1}", milliseconds(total.slowest));
    }
    table
}

fn second_time(again: &Again) -> String {
    let table = table("again", &again.outcomes);
    match &again.books {
        Some(books) if again.findings.is_empty() => format!(
            "{table}\n\nnothing doubled: revision {} and all {} records are as they were",
            books.after.revision,
            books.after.records()
        ),
        _ => table,
    }
}

fn comparison_lines(comparison: &Comparison) -> Vec<String> {
    match (&comparison.difference, &comparison.expected) {
        (Some(difference), _) => {
            vec!["\nthe dataset is not as expected:".to_owned(), difference.trim_end().to_owned()]
        }
        (None, Some(file)) if comparison.findings.is_empty() => {
            vec![format!("\nthe dataset is as expected in {}", file.display())]
        }
        _ => Vec::new(),
    }
}
