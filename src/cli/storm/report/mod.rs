//! The result as one page that needs nothing else: no script, no font, no address.

mod chart;
mod text;

use std::collections::BTreeMap;

use super::audit::Loss;
use super::ledger::Fate;
use super::load::Ended;
use super::measure::{Point, QUANTILES, shown};
use super::outcome::{MOST_LOSSES, Outcome, Settings, Verdict};
use chart::{Chart, Line, Stroke};
use text::{escaped, grouped, many, millis, plain};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn page(outcome: &Outcome) -> String {
    let Settings { run, began_at, url, version, .. } = &outcome.settings;
    let (engine, server) = (escaped(&outcome.server.engine), escaped(&outcome.server.version));
    // What is wrong comes first, in figures; the list may be long.
    let found = section("Audit", &audit(outcome));
    let (first, later) = match outcome.verdict() {
        Verdict::Passed | Verdict::Interrupted => (String::new(), found),
        Verdict::Failed => (found, problems(outcome)),
    };
    let parts = [
        verdict(outcome),
        doubt(outcome),
        figures(outcome),
        first,
        section("Over time", &(throughput(outcome) + &latency(outcome))),
        section("Latencies", &latencies(outcome)),
        section("Answers", &answers(outcome)),
        later,
        section("Settings", &settings(outcome)),
        section("How to read this", READING),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Storm {run}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Storm {run}</h1>\n<p class=\"soft\">{began_at} on {}, viveka-sync {server}, engine {engine}; \
         made by viveka-sync {version}</p></header>\n{}</body>\n</html>\n",
        escaped(url),
        parts.concat(),
    )
}

const READING: &str = "\
<p>A <b>sync</b> is one batch of one phone until it is acknowledged, however often it is sent. Its latency counts from when it \
was due: with a rate, that is a time set beforehand, so that a server that stalls cannot hide it; without one, it is when the \
phone had the answer to the one before. Lost answers, retries and the pauses that the server asks for are in it. A \
<b>request</b> is one of the copies and retries; its latency counts from when it was sent to the last byte of the answer.</p>\n\
<p>The <b>audit</b> has pulled the books of each client through the API when all phones were done, and has looked for every \
record of every sync.</p>\n";

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

fn verdict(outcome: &Outcome) -> String {
    let (class, word) = match outcome.verdict() {
        Verdict::Passed => ("passed", "PASSED"),
        Verdict::Failed => ("failed", "FAILED"),
        Verdict::Interrupted => ("interrupted", "INTERRUPTED"),
    };
    let sentence = escaped(&outcome.audit.verdict(grouped));
    let doubts = outcome.interrupted().into_iter().chain(outcome.rate_missed(grouped));
    let doubts: String = doubts.map(|doubt| format!("<br><b>But:</b> {}.", escaped(&doubt))).collect();
    format!("<p class=\"verdict {class}\"><b>{word}</b> &nbsp; {sentence}.{doubts}</p>\n")
}

/// What to know before the figures are believed.
fn doubt(outcome: &Outcome) -> String {
    match outcome.generator.near_its_limit {
        Some(_) => format!("<p class=\"doubt\"><b>The generator:</b> {}.</p>\n", escaped(&outcome.generator.told())),
        None => String::new(),
    }
}

fn figures(outcome: &Outcome) -> String {
    let syncs = &outcome.syncs;
    let one = |value: &str, name: &str| format!("<li><b>{value}</b><small>{name}</small></li>\n");
    let rate = |value: f64| if value < 100.0 { format!("{value:.1}") } else { grouped(value.round() as u64) };
    let of_rate = match outcome.settings.rate {
        Some(due) => format!("syncs each second; {} due", plain(due)),
        None => "syncs each second".to_owned(),
    };
    let list = [
        one(&rate(syncs.per_second), &of_rate),
        one(&rate(syncs.operations_per_second), "operations each second"),
        one(&format!("{} ms", millis(syncs.latency_ms.p50)), "median latency of syncs"),
        one(&format!("{} ms", millis(syncs.latency_ms.p99)), "99th percentile"),
        one(&grouped(syncs.acknowledged), "syncs acknowledged"),
        one(&grouped(syncs.refused + syncs.open), "refused or open"),
        one(&grouped(outcome.requests.replayed), "answers replayed"),
        one(&grouped(outcome.requests.failures()), "requests that failed"),
    ];
    format!("<ul class=\"figures\">\n{}</ul>\n", list.concat())
}

fn figure(caption: &str, chart: &Chart<'_>) -> String {
    format!("<figure>\n<figcaption>{}</figcaption>\n{}\n</figure>\n", escaped(caption), chart.svg())
}

fn line<'a>(outcome: &Outcome, name: &'a str, stroke: Stroke, of: impl Fn(&Point) -> Option<f64>) -> Line<'a> {
    Line { name, stroke, points: outcome.series.iter().map(|point| (point.second, of(point))).collect() }
}

/// Where no more syncs were begun, if others were still under way for a while.
fn end_of_load(outcome: &Outcome) -> Option<(f64, &'static str)> {
    let was_long = outcome.seconds_until_all_were_done > outcome.seconds + 1.0;
    was_long.then_some((outcome.seconds, "the load ends"))
}

/// What was asked for, until the load ended.
fn target(outcome: &Outcome) -> Option<Line<'static>> {
    let rate = outcome.settings.rate?;
    let until = outcome.seconds;
    let points = outcome.series.iter().map(|point| (point.second, (point.second <= until).then_some(rate)));
    Some(Line { name: "due", stroke: Stroke::Thin, points: [(0.0, Some(rate))].into_iter().chain(points).collect() })
}

fn throughput(outcome: &Outcome) -> String {
    let mut lines = vec![
        line(outcome, "syncs acknowledged", Stroke::Solid, |point| Some(point.syncs_per_second)),
        line(outcome, "answers", Stroke::Dashed, |point| Some(point.answers_per_second)),
        line(outcome, "failures", Stroke::Dotted, |point| Some(point.failures_per_second)),
    ];
    lines.extend(target(outcome));
    let chart = Chart {
        title: "Throughput over time",
        across: "seconds from the start",
        up: "each second",
        logarithmic: false,
        names: Vec::new(),
        mark: end_of_load(outcome),
        lines,
    };
    figure("Throughput", &chart)
}

fn latency(outcome: &Outcome) -> String {
    let chart = Chart {
        title: "Latency of syncs over time",
        across: "seconds from the start",
        up: "milliseconds (logarithmic)",
        logarithmic: true,
        names: Vec::new(),
        mark: end_of_load(outcome),
        lines: vec![
            line(outcome, "median", Stroke::Solid, |point| point.p50),
            line(outcome, "99th percentile", Stroke::Dashed, |point| point.p99),
            line(outcome, "largest", Stroke::Dotted, |point| point.max),
        ],
    };
    figure("Latency of syncs", &chart)
}

fn latencies(outcome: &Outcome) -> String {
    let (syncs, requests) = (&outcome.syncs, &outcome.requests);
    let row = |name: &str, sync: f64, request: f64| {
        let (sync, request) = (millis(sync), millis(request));
        format!("<tr><td>{name}</td><td class=\"number\">{sync}</td><td class=\"number\">{request}</td></tr>\n")
    };
    let (of_syncs, of_requests) = (&syncs.latency_ms, &requests.latency_ms);
    let mut rows = row("least", of_syncs.min, of_requests.min) + &row("mean", of_syncs.mean, of_requests.mean);
    for ((name, sync), (_, request)) in syncs.quantiles_ms.iter().zip(&requests.quantiles_ms) {
        rows += &row(&shown(name), *sync, *request);
    }
    rows += &row("largest", of_syncs.max, of_requests.max);
    let curve = |name, stroke, quantiles: &BTreeMap<&str, f64>| Line {
        name,
        stroke,
        points: (0..).zip(quantiles).map(|(nth, (_, value))| (f64::from(nth), Some(*value))).collect(),
    };
    let chart = Chart {
        title: "Latency by percentile",
        across: "percentile",
        up: "milliseconds (logarithmic)",
        logarithmic: true,
        names: (0..).zip(QUANTILES).map(|(nth, (name, _))| (f64::from(nth), shown(name))).collect(),
        mark: None,
        lines: vec![
            curve("syncs", Stroke::Solid, &syncs.quantiles_ms),
            curve("requests", Stroke::Dashed, &requests.quantiles_ms),
        ],
    };
    format!(
        "<table>\n<tr><th>milliseconds</th><th class=\"number\">{}</th><th class=\"number\">{}</th></tr>\n{rows}</table>\n{}",
        many(of_syncs.count, "sync"),
        many(of_requests.count, "request"),
        figure("Latency by percentile", &chart),
    )
}

/// A table of names and what they are; the names and values are texts, not markup.
fn table(head: (&str, &str), rows: impl IntoIterator<Item = (String, String)>, value_class: &str) -> String {
    let row = |(name, value): (String, String)| {
        format!("<tr><td>{}</td><td{value_class}>{}</td></tr>\n", escaped(&name), escaped(&value))
    };
    let rows: String = rows.into_iter().map(row).collect();
    format!("<table>\n<tr><th>{}</th><th{value_class}>{}</th></tr>\n{rows}</table>\n", head.0, head.1)
}

const NUMBER: &str = " class=\"number\"";
const TEXT: &str = " class=\"text\"";

fn answers(outcome: &Outcome) -> String {
    let requests = &outcome.requests;
    let statuses = requests.statuses.iter().map(|(status, count)| (format!("status {status}"), grouped(*count)));
    let codes = requests.codes.iter().map(|(code, count)| (format!("code {code}"), grouped(*count)));
    let unanswered = requests.unanswered.iter().map(|(why, count)| (format!("no answer: {why}"), grouped(*count)));
    let answers = table(("what came", "requests"), statuses.chain(codes).chain(unanswered), NUMBER);
    let trouble =
        [("answered as an earlier copy (replayed)", requests.replayed), ("hung up on by the phone", requests.hung_up)];
    let of_syncs = [
        ("begun", outcome.syncs.begun),
        (fate(Fate::Acknowledged), outcome.syncs.acknowledged),
        (fate(Fate::Refused), outcome.syncs.refused),
        (fate(Fate::Open), outcome.syncs.open),
        ("went on in a new batch", requests.rebatched),
        ("due, and not begun", outcome.syncs.due_and_not_begun),
    ];
    let trouble = table(("counted besides", "requests"), trouble.map(counted), NUMBER);
    let syncs = table(("what became of syncs", "syncs"), of_syncs.map(counted), NUMBER);
    format!("<div class=\"columns\">\n<div>{answers}{trouble}</div>\n<div>{syncs}</div>\n</div>\n")
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Acknowledged => "acknowledged",
        Fate::Refused => "refused",
        Fate::Open => "open: nothing was heard of them",
    }
}

fn audit(outcome: &Outcome) -> String {
    let looked_at = &outcome.audit.looked_at;
    let open =
        looked_at.open_and_applied + looked_at.open_in_part + looked_at.open_and_absent + looked_at.open_and_untold;
    let acknowledged = [
        ("acknowledged", looked_at.acknowledged),
        ("\u{2013} whole: with all their records", looked_at.acknowledged_whole),
        ("\u{2013} in part: some records missing", looked_at.acknowledged_in_part),
        ("\u{2013} missing altogether", looked_at.acknowledged_missing),
        ("\u{2013} that make no records", looked_at.acknowledged_untold),
    ];
    let never_answered = [
        ("open: never answered", open),
        ("\u{2013} applied altogether", looked_at.open_and_applied),
        ("\u{2013} applied in part", looked_at.open_in_part),
        ("\u{2013} not applied, or not to be told", looked_at.open_and_absent + looked_at.open_and_untold),
    ];
    let never_answered = never_answered.into_iter().filter(|_| open > 0);
    let refused = [("refused", looked_at.refused)].into_iter().filter(|(_, count)| *count > 0);
    let syncs = acknowledged.into_iter().chain(never_answered).chain(refused).map(counted);
    let records = [
        ("clients", looked_at.clients),
        ("items", looked_at.items),
        ("invoices", looked_at.invoices),
        ("payments", looked_at.payments),
        ("purchase histories", looked_at.purchases),
    ];
    let syncs = table(("syncs looked for", "syncs"), syncs, NUMBER);
    let records = table(("looked at", "how many"), records.map(counted), NUMBER);
    let found = match outcome.audit.found() {
        0 => "<p>No problem was found.</p>\n".to_owned(),
        1 => "<p>1 problem was found; it is told under Problems below.</p>\n".to_owned(),
        found => format!("<p>{} were found; they are listed under Problems below.</p>\n", many(found, "problem")),
    };
    format!("{found}<div class=\"columns\">\n<div>{syncs}</div>\n<div>{records}</div>\n</div>\n{}", losses(outcome))
}

/// Which clients lost what; nothing if none did.
fn losses(outcome: &Outcome) -> String {
    let losses = &outcome.audit.losses;
    if losses.is_empty() {
        return String::new();
    }
    let row = |loss: &Loss| {
        let numbers = [loss.acknowledged, loss.in_part, loss.missing].map(grouped);
        let cells = numbers.map(|number| format!("<td{NUMBER}>{number}</td>"));
        format!("<tr><td>{}</td>{}</tr>\n", escaped(&loss.client), cells.concat())
    };
    let rows: String = losses.iter().take(MOST_LOSSES).map(row).collect();
    let heads = ["syncs", "in part", "missing"].map(|head| format!("<th{NUMBER}>{head}</th>"));
    let more = match losses.len().saturating_sub(MOST_LOSSES) {
        0 => String::new(),
        more => format!("<p>and {} more.</p>\n", many(more as u64, "client")),
    };
    format!(
        "<table class=\"losses\">\n<tr><th>client that lost syncs</th>{}</tr>\n{rows}</table>\n{more}",
        heads.concat()
    )
}

/// Everything that is wrong: behind the figures, as it may be long.
fn problems(outcome: &Outcome) -> String {
    let audit = &outcome.audit;
    let list: String = audit.problems.iter().map(|problem| format!("<li>{}</li>\n", escaped(problem))).collect();
    let more = match audit.more_problems {
        0 => String::new(),
        more => format!("<p>and {} more.</p>\n", grouped(more)),
    };
    section("Problems", &format!("<ol class=\"problems\">\n{list}</ol>\n{more}"))
}

fn counted((name, count): (&str, u64)) -> (String, String) {
    (name.to_owned(), grouped(count))
}

fn settings(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    let rate = settings
        .rate
        .map_or("closed loop: as fast as the answers came".to_owned(), |rate| format!("{rate} syncs each second"));
    let ended = match outcome.ended {
        Ended::Duration => "its duration was over",
        Ended::Syncs => "no more syncs were to be begun",
        Ended::Interrupted => "it was interrupted",
    };
    let rows = [
        ("clients, phones of each", format!("{}, {}", settings.clients, settings.phones_per_client)),
        ("pace", rate),
        ("duration", format!("{} s; syncs were begun for {:.1} s: {ended}", settings.duration, outcome.seconds)),
        ("batch", settings.batch.clone()),
        ("dataset asked for", settings.data.clone()),
        ("copies of each batch at once", settings.retries.to_string()),
        ("hang-ups", format!("{} % of syncs, {} % of these rebatched", settings.hangups, settings.rebatch)),
        ("seed", settings.seed.to_string()),
        ("generator", outcome.generator.told()),
    ];
    let rows = rows.map(|(name, value)| (name.to_owned(), value));
    let command = format!("<p>To run it again: <code>{}</code></p>\n", escaped(&settings.command()));
    table(("setting", "value"), rows, TEXT) + &command
}

#[cfg(test)]
mod tests;
