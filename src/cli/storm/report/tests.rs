//! The page of a made-up result.

use std::time::Duration;

use super::*;
use crate::cli::storm::audit::{Findings, LookedAt};
use crate::cli::storm::ledger::Ledger;
use crate::cli::storm::load::Done;
use crate::cli::storm::measure::{Came, Event, Limit, Tally, Usage};
use crate::cli::storm::outcome::ServerFacts;

fn outcome(problem: Option<&str>) -> Outcome {
    outcome_of(Ended::Duration, 1, problem)
}

/// Of so many syncs that were begun and acknowledged.
fn outcome_of(ended: Ended, syncs: u32, problem: Option<&str>) -> Outcome {
    let mut tally = Tally::new(Duration::from_secs(2));
    let took = Duration::from_millis(12);
    tally.take(Event::Request { took, came: Came::Answer { status: 200, replayed: true, code: None } });
    let code = Some("<overloaded>".into());
    tally.take(Event::Request { took, came: Came::Answer { status: 503, replayed: false, code } });
    tally.take(Event::Request { took, came: Came::Nothing("lost & <b>gone</b>".into()) });
    tally.take(Event::Acknowledged { took, operations: 20 });
    tally.take(Event::CutOff(2));
    let mut ledger = Ledger::default();
    for _ in 0..syncs {
        let sync = ledger.begin();
        ledger.note(sync, Fate::Acknowledged);
    }
    let usage =
        Usage { cpu_seconds: Some(1.0), cores: 2, cpu_share: Some(0.25), lag_p99_ms: 1.0, near_its_limit: None };
    let (lasted, took) = (Duration::from_secs(2), Duration::from_millis(2_100));
    let done = Done { tally, ledgers: vec![vec![ledger]], not_begun: 3, lasted, took, ended, usage };
    let mut findings =
        Findings { looked_at: LookedAt { clients: 1, acknowledged: 1, ..LookedAt::default() }, ..Findings::default() };
    if let Some(problem) = problem {
        findings.problems.push(problem.to_owned());
        findings.looked_at.acknowledged_missing = 1;
        findings.losses.push(Loss { client: "c1".into(), acknowledged: 1, in_part: 0, missing: 1 });
    }
    let settings = Settings {
        run: "0000abcd".into(),
        began_at: "2026-01-01T00:00:00.000Z".into(),
        version: "0",
        url: "http://127.0.0.1:1/\"><script>".into(),
        clients: 1,
        phones_per_client: 1,
        rate: Some(10.0),
        duration: 60.0,
        batch: "20:item=20".into(),
        batch_size: 20,
        data: "none".into(),
        retries: 1,
        hangups: 0.0,
        rebatch: 0.0,
        seed: 7,
    };
    Outcome::new(settings, ServerFacts::default(), done, findings)
}

#[test]
fn a_page_needs_nothing_else_and_nothing_becomes_markup() {
    let page = page(&outcome(Some("sync <1> & \"more\"")));
    for foreign in ["<script", "<link", "<img", "src=", "href=", "url(", "@import", "<b>gone"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for shown in
        ["sync &lt;1&gt; &amp; &quot;more&quot;", "code &lt;overloaded&gt;", "lost &amp; &lt;b&gt;gone", "--rate 10"]
    {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
}

#[test]
fn a_page_says_in_words_whether_all_is_well() {
    let passed = page(&outcome(None));
    assert!(passed.contains("<b>PASSED</b>") && passed.contains("No problem was found"));
    assert!(passed.contains("1 of 4 due syncs begun: the server did not keep up with 10/s"), "{passed}");
    assert!(passed.contains("syncs each second; 10 due") && passed.contains("line thin"), "{passed}");
    assert!(page(&outcome(Some("x"))).contains("<b>FAILED</b>"));
    let text = outcome(None).to_string();
    assert!(text.contains("\n  1 client with 1 phone each, "), "{text}");
    assert!(
        text.contains("passed: each of 1 acknowledged sync of 1 client is in the books once, with 0 items, "),
        "{text}"
    );
}

/// A load that was broken off is no success, and what was found wrong until then is found all the same.
#[test]
fn an_interrupted_load_is_told_as_such() {
    let told = "the load was interrupted after 2.0 s of 60 s";
    for (problem, word, line) in [
        (None, "INTERRUPTED", "Audit      interrupted: each of 1 acknowledged sync of 1 client is in"),
        (Some("x"), "FAILED", "Audit      1 problem "),
    ] {
        let outcome = outcome_of(Ended::Interrupted, 1, problem);
        let page = page(&outcome);
        assert!(!outcome.passed && page.contains(&format!("<b>{word}</b>")), "{page}");
        assert!(page.contains(&format!("<b>But:</b> {told}.")), "{page}");
        let text = outcome.to_string();
        assert!(text.contains(&format!("\n           {told}\n")) && text.contains(line), "{text}");
    }
    assert_eq!(outcome(None).interrupted(), None);
    // One that came before the first sync has nothing to audit, and that is nobody's fault.
    assert_eq!(outcome_of(Ended::Interrupted, 0, None).verdict(), Verdict::Interrupted);
    assert_eq!(outcome_of(Ended::Duration, 0, None).verdict(), Verdict::Failed);
}

/// What is lost is told in figures, and the list, which may be long, stands behind all of them.
#[test]
fn a_page_says_how_many_syncs_are_lost() {
    let page = page(&outcome(Some("x")));
    assert!(page.contains("of 1 acknowledged sync 1 missing altogether, 0 in part"), "{page}");
    assert!(page.contains("missing altogether</td><td class=\"number\">1</td>"), "{page}");
    assert!(page.contains("<td>c1</td>") && !page.contains("each there once"), "{page}");
    let place = |what: &str| page.find(what).unwrap();
    assert!(place("<ol class=\"problems\">") > place("<h2>Answers</h2>"));
}

#[test]
fn clients_that_lost_syncs_are_told_one_by_one_and_of_very_many_the_first() {
    let mut outcome = outcome(Some("x"));
    let loss = |number| Loss { client: format!("c{number}"), acknowledged: 9, in_part: 1, missing: 2 };
    outcome.audit.losses = (1..=22).map(loss).collect();
    let (text, page) = (outcome.to_string(), page(&outcome));
    for number in 1..=20 {
        let line = format!("\n           client c{number}: of 9 acknowledged syncs 2 missing altogether, 1 in part\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
        let cells = [9, 1, 2].map(|count| format!("<td class=\"number\">{count}</td>")).concat();
        assert!(page.contains(&format!("<tr><td>c{number}</td>{cells}</tr>")), "{page}");
    }
    assert!(!text.contains("c21") && text.contains("\n           and 2 clients more\n"), "{text}");
    assert!(!page.contains("c21") && page.contains("<p>and 2 clients more.</p>"), "{page}");
    assert_eq!(serde_json::to_value(&outcome).unwrap()["audit"]["losses"].as_array().map(Vec::len), Some(22));
}

/// A phone that is busy as the load ends is no miss; and a generator at its limit may be to blame.
#[test]
fn a_rate_is_missed_by_more_than_one_of_a_hundred() {
    let mut outcome = outcome(None);
    let missed = |outcome: &Outcome| outcome.rate_missed(|count| count.to_string());
    (outcome.syncs.begun, outcome.syncs.due_and_not_begun) = (99, 1);
    assert_eq!(missed(&outcome), None);
    (outcome.syncs.begun, outcome.syncs.due_and_not_begun) = (98, 2);
    let told = "98 of 100 due syncs begun: the server did not keep up with 10/s";
    assert_eq!(missed(&outcome).as_deref(), Some(told));
    assert!(outcome.to_string().contains(&format!("\n           {told}\n")), "{outcome}");
    outcome.generator.near_its_limit = Some(Limit::Busy);
    assert!(missed(&outcome).unwrap().contains("begun: the server, or this generator, did not keep up"));
    outcome.settings.rate = None;
    assert_eq!(missed(&outcome), None);
}

#[test]
fn what_was_cut_off_is_counted() {
    let outcome = outcome(None);
    assert_eq!(outcome.requests.unanswered["still under way when --patience ended"], 2);
    assert_eq!(outcome.requests.failures(), 4);
    assert_eq!(outcome.series[0].failures_per_second, 4.0);
    assert!(outcome.to_string().contains("no answer, still under way when --patience ended: 2"), "{outcome}");
    assert!(page(&outcome).contains("still under way when --patience ended</td><td class=\"number\">2</td>"));
}

/// One style of names, wherever they are.
#[test]
fn names_for_machines_are_in_camel_case() {
    fn names(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    // These are the server's and the network's words, not names.
                    if !["codes", "unanswered", "statuses"].contains(&name.as_str()) {
                        names(value, into);
                    }
                    into.push(name.clone());
                }
            }
            serde_json::Value::Array(all) => all.iter().for_each(|value| names(value, into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    names(&serde_json::to_value(outcome(Some("x"))).unwrap(), &mut all);
    let is_camel = |name: &&String| name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_lowercase);
    assert_eq!(all.iter().filter(|name| !is_camel(name)).collect::<Vec<_>>(), [""; 0]);
    assert!(all.iter().filter(|name| *name == "p999").count() == 4, "{all:?}");
}

#[test]
fn elements_are_closed_in_order() {
    let page = page(&outcome(Some("x")));
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') || ["!doctype", "meta", "br"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn machines_are_told_the_same() {
    let json = serde_json::to_value(outcome(Some("x"))).unwrap();
    assert_eq!((&json["passed"], &json["audit"]["problems"][0]), (&false.into(), &"x".into()));
    assert_eq!((&json["syncs"]["acknowledged"], &json["requests"]["statuses"]["503"]), (&1.into(), &1.into()));
    assert_eq!(json["series"].as_array().map(Vec::len), Some(2));
    assert_eq!(serde_json::to_value(outcome(None)).unwrap()["passed"], true);
}
