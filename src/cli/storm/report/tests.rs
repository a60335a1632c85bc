//! The page of a made-up result.

use std::time::Duration;

use super::*;
use crate::cli::storm::audit::{Findings, LookedAt};
use crate::cli::storm::ledger::Ledger;
use crate::cli::storm::load::Done;
use crate::cli::storm::measure::{Came, Event, Tally, Usage};
use crate::cli::storm::outcome::ServerFacts;

fn outcome(problem: Option<&str>) -> Outcome {
    let mut tally = Tally::new(Duration::from_secs(2));
    let took = Duration::from_millis(12);
    tally.take(Event::Request { took, came: Came::Answer { status: 200, replayed: true, code: None } });
    let code = Some("<overloaded>".into());
    tally.take(Event::Request { took, came: Came::Answer { status: 503, replayed: false, code } });
    tally.take(Event::Request { took, came: Came::Nothing("lost & <b>gone</b>".into()) });
    tally.take(Event::Acknowledged { took, operations: 20 });
    let mut ledger = Ledger::default();
    let sync = ledger.begin();
    ledger.note(sync, Fate::Acknowledged);
    let usage =
        Usage { cpu_seconds: Some(1.0), cores: 2, cpu_share: Some(0.25), lag_p99_ms: 1.0, near_its_limit: None };
    let (lasted, took) = (Duration::from_secs(2), Duration::from_millis(2_100));
    let done = Done { tally, ledgers: vec![vec![ledger]], not_begun: 0, lasted, took, ended: Ended::Duration, usage };
    let mut findings =
        Findings { looked_at: LookedAt { clients: 1, acknowledged: 1, ..LookedAt::default() }, ..Findings::default() };
    problem.into_iter().for_each(|problem| findings.problems.push(problem.to_owned()));
    let settings = Settings {
        run: "0000abcd".into(),
        began_at: "2026-01-01T00:00:00.000Z".into(),
        version: "0",
        url: "http://127.0.0.1:1/\"><script>".into(),
        clients: 1,
        phones_per_client: 1,
        rate: Some(10.0),
        duration: 2.0,
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
    assert!(page(&outcome(None)).contains("<b>PASSED</b>"));
    assert!(page(&outcome(Some("x"))).contains("<b>FAILED</b>"));
}

#[test]
fn elements_are_closed_in_order() {
    let page = page(&outcome(Some("x")));
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') || ["!doctype", "meta"].contains(&name) => {}
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
