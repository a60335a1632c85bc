//! The dashboard, the alert rules and the page on metrics name what the server tells, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use viveka_sync::metrics::{Code, DECLARED, Declared, Route};

/// What PromQL has of its own, as far as `ops/` uses it.
const FUNCTIONS: &[&str] =
    &["and", "by", "count", "histogram_quantile", "increase", "label_values", "min", "rate", "sum"];
/// Labels and metrics that Prometheus adds.
const OF_PROMETHEUS: &[&str] = &["up", "job", "instance", "le"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("ops/dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, "expr", &mut expressions);
    collect(&dashboard, "definition", &mut expressions);
    let shown: BTreeSet<_> = expressions.iter().flat_map(|expression| names(expression)).collect();
    let declared: BTreeSet<_> = DECLARED.iter().map(|metric| metric.name()).collect();
    assert_eq!(shown, declared);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{}", panel["title"]);
    }
}

#[test]
fn the_alert_rules_name_what_there_is() {
    let rules = rules(&read("ops/alerts.yaml"));
    let alerts: BTreeSet<_> = rules.iter().map(|rule| rule.alert.clone()).collect();
    assert!(rules.len() == alerts.len() && rules.len() >= 10, "{alerts:?}");
    for rule in &rules {
        assert!(rule.alert.starts_with("VivekaSync"), "{}", rule.alert);
        assert!(!names(&rule.expr).is_empty() || rule.expr.starts_with("up{"), "{}: {}", rule.alert, rule.expr);
        assert!(["warning", "critical"].contains(&rule.severity.as_str()), "{}: {}", rule.alert, rule.severity);
        assert!(rule.summary.contains("{{ $labels.instance }}"), "{}: whose is it?", rule.alert);
        assert!(rule.description.ends_with('.'), "{}: what is to be done?", rule.alert);
    }
}

#[test]
fn the_page_on_metrics_has_a_row_for_each() {
    let page = read("docs/operations/metrics.md");
    let told: Vec<_> = page.lines().filter(|line| line.starts_with("| `viveka_")).collect();
    let rows: Vec<_> = DECLARED.iter().map(|metric| row(*metric)).collect();
    assert_eq!(told, rows, "the table should read\n{}\n", rows.join("\n"));
    for rule in rules(&read("ops/alerts.yaml")) {
        assert!(page.contains(&format!("`{}`", rule.alert)), "{} is not on the page", rule.alert);
    }
}

#[test]
fn every_route_and_every_code_has_a_label() {
    let source = read("src/http/mod.rs");
    let routes: BTreeSet<_> = literals(&source).into_iter().filter(|text| text.starts_with("/api/")).collect();
    let labels = Route::ALL.iter().map(|route| route.text()).filter(|text| *text != "other").map(str::to_owned);
    assert_eq!(routes, labels.collect(), "src/metrics/labels.rs has the routes of src/http/mod.rs");

    let source = read("src/http/error.rs");
    let face = source.split_once("fn face(&self)").unwrap().1.split_once("Face { status, code, message }\n").unwrap().0;
    let is_code = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let codes: BTreeSet<_> = literals(face).into_iter().filter(is_code).collect();
    let labels = Code::ALL.iter().map(|code| code.text()).filter(|text| *text != "other").map(str::to_owned);
    assert_eq!(codes, labels.collect(), "src/metrics/labels.rs has the codes of src/http/error.rs");
}

#[test]
fn what_is_wrong_with_an_expression_is_noticed() {
    for wrong in [
        "viveka_requests",
        "sum(viveka_commits_total",
        "viveka_commits_total_bucket",
        "viveka_requests_total{state=\"200\"}",
        "viveka_requests_total{status=\"299\"}",
        "viveka_rejects_total{code=~\"overloaded|overlooked\"}",
        "avg(viveka_commits_total)",
    ] {
        assert!(std::panic::catch_unwind(|| names(wrong)).is_err(), "{wrong}");
    }
    assert_eq!(
        names("rate(viveka_batch_operations_sum[5m])").into_iter().collect::<Vec<_>>(),
        ["viveka_batch_operations"]
    );
}

fn row(metric: &dyn Declared) -> String {
    let labels: Vec<_> = metric.series()[0].iter().map(|(name, _)| format!("`{name}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
    format!("| `{}` | {} | {labels} | {} |", metric.name(), metric.kind(), metric.help())
}

/// All texts under this name, however deep.
fn collect(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name).and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, name, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, name, found)),
        _ => {}
    }
}

/// The metrics of a PromQL expression, which may name nothing that is not there.
fn names(expression: &str) -> BTreeSet<&'static str> {
    for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
        assert_eq!(expression.matches(open).count(), expression.matches(close).count(), "{expression}");
    }
    let labels: BTreeSet<_> = DECLARED.iter().flat_map(|metric| metric.series().concat()).collect();
    let mut found = BTreeSet::new();
    for word in words(expression) {
        let known = FUNCTIONS.contains(&word) || OF_PROMETHEUS.contains(&word);
        let metric = DECLARED.iter().find(|metric| is_series_of(word, **metric));
        found.extend(metric.map(|metric| metric.name()));
        assert!(known || metric.is_some() || labels.iter().any(|(name, _)| *name == word), "{word} in {expression}");
    }
    for (label, value) in matchers(expression) {
        let is_known = |value: &str| labels.contains(&(label, value));
        let free = ["job", "instance"].contains(&label);
        assert!(free || value.split('|').all(is_known), "{label}={value} in {expression}");
    }
    found
}

fn is_series_of(word: &str, metric: &dyn Declared) -> bool {
    let suffixes: &[&str] = if metric.kind() == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    suffixes.iter().any(|suffix| word.strip_suffix(suffix) == Some(metric.name()))
}

/// The words of an expression outside of quotes and ranges.
fn words(expression: &str) -> Vec<&str> {
    let outside = expression.split('"').step_by(2);
    let bare = outside.flat_map(|part| part.split(['[', ']']).step_by(2));
    let words = bare.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).collect()
}

/// The labels that an expression asks for, with their values.
fn matchers(expression: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = expression.split('"').collect();
    let named = |text: &'_ str| text.trim_end_matches(['=', '~', '!', ' ']).len();
    let pairs = parts.chunks_exact(2).map(|pair| {
        let before = &pair[0][..named(pair[0])];
        let from = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        (&before[from..], pair[1])
    });
    pairs.collect()
}

/// The string literals of a source text without escapes.
fn literals(source: &str) -> Vec<String> {
    source.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// One rule.
#[derive(Default)]
struct Rule {
    alert: String,
    expr: String,
    severity: String,
    summary: String,
    description: String,
}

/// Reads the rules, which are one `name: value` a line. Nothing else of YAML is used.
fn rules(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty()) {
        let (name, value) = line.trim_start().split_once(':').unwrap_or_else(|| panic!("not name: value: {line}"));
        let value = value.trim();
        let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        assert!(!value.contains(": ") || plain != value, "YAML would read a mapping: {line}");
        if name == "- alert" {
            rules.push(Rule { alert: value.to_owned(), ..Rule::default() });
            continue;
        }
        let Some(rule) = rules.last_mut() else { continue };
        let place = match name {
            "expr" => &mut rule.expr,
            "severity" => &mut rule.severity,
            "summary" => &mut rule.summary,
            "description" => &mut rule.description,
            "for" | "labels" | "annotations" => continue,
            other => panic!("no rule has {other}"),
        };
        *place = plain.to_owned();
    }
    rules
}
