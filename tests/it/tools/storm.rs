//! `viveka-sync storm`: it loads real servers, audits their books, and says so.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{Ran, order, program, run_once};
use crate::harness::{Engine, Phone, Server, Setup, TEST_SECRET, eventually, on_every_engine, token};

/// Storms with nothing but these settings.
fn storm(arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
    run_once(&mut command(arguments, settings))
}

/// Storms a server whose secret is known.
fn storm_on(server: &Server, arguments: &[&str]) -> Ran {
    storm(&[&["--url", &server.url()], arguments].concat(), &[("JWT_SECRET", TEST_SECRET)])
}

fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    program(&[&["storm"], arguments].concat(), settings)
}

/// A number of a result, which is there.
#[track_caller]
fn count(outcome: &Value, pointer: &str) -> u64 {
    outcome.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} of {outcome}"))
}

on_every_engine! {
    /// Every batch three times at once, half of the first answers lost, half of these rebatched.
    fn a_retry_storm_passes_its_audit(server: &Server) {
        let load = ["--clients", "2", "--phones-per-client", "2", "--syncs", "40", "--duration", "20s", "--seed", "5"];
        let trouble = ["--retries", "3", "--hangups", "50", "--rebatch", "50", "--json"];
        let outcome = storm_on(server, &[&load[..], &trouble[..]].concat()).json(0);
        assert_eq!((&outcome["audit"]["complete"], count(&outcome, "/audit/lookedAt/clients")), (&json!(true), 2));
        assert_eq!((count(&outcome, "/syncs/begun"), count(&outcome, "/syncs/acknowledged")), (40, 40));
        assert_eq!(count(&outcome, "/audit/lookedAt/acknowledged"), 40);
        assert_eq!(count(&outcome, "/audit/lookedAt/payments"), 40 * 3);
        let hung_up = count(&outcome, "/requests/hungUp");
        assert!((24..=96).contains(&hung_up) && hung_up.is_multiple_of(3), "{hung_up}");
        assert!(count(&outcome, "/requests/rebatched") > 0 && count(&outcome, "/requests/replayed") >= 40);
        assert_eq!(count(&outcome, "/syncs/latencyMs/count"), 40);
    }

    /// Open loop, full datasets, batches of another make.
    fn an_open_loop_passes_its_audit(server: &Server) {
        let load = ["--clients", "1", "--phones-per-client", "3", "--rate", "30", "--duration", "1s"];
        let outcome = storm_on(server, &[&load[..], &["--batch", "12:market", "--data", "full", "--json"]].concat()).json(0);
        let (begun, not_begun) = (count(&outcome, "/syncs/begun"), count(&outcome, "/syncs/dueAndNotBegun"));
        assert!((29..=31).contains(&(begun + not_begun)), "{begun} begun, {not_begun} not");
        assert_eq!(outcome["settings"]["batch"], "12:item=1,update=1,invoice=7,payment=3");
    }

    /// Small batches of many phones of one shop: each is answered with its own receipt, whatever the others commit.
    fn phones_of_one_shop_get_receipts_alone(server: &Server) {
        let load = ["--clients", "1", "--phones-per-client", "12", "--syncs", "240", "--duration", "60s"];
        let outcome = storm_on(server, &[&load[..], &["--batch", "till", "--data", "none", "--json"]].concat()).json(0);
        assert_eq!(outcome["requests"]["codes"], json!({}), "{}", outcome["requests"]);
        assert_eq!((count(&outcome, "/requests/answered"), count(&outcome, "/syncs/acknowledged")), (240, 240));
    }
}

/// What somebody else does to the books while it storms is found: the audit looks at the server's books, not at its own.
#[test]
fn books_that_were_changed_by_another_are_found() {
    let server = Engine::Embedded.server();
    let phone = Phone::new(server);
    let settings = [("TOKEN", phone.token.as_str())];
    let url = server.url();
    let arguments = ["--url", &url, "--duration", "60s", "--batch", "till", "--json", "--phones-per-client", "1"];
    let storm = start(&arguments, &settings);
    has_begun(&phone);
    // Pays on an invoice of the storm's, as no phone of it does.
    eventually("an invoice of the storm that can be paid", Duration::from_secs(30), || {
        let data = phone.pull().json();
        let open = data["data"]["invoices"].as_array()?.iter().find(|invoice| invoice["isFinalized"] == false)?.clone();
        let payment = json!({"invoiceId": open["_id"], "amount": 0.5, "note": "not the storm's"});
        (phone.sync(&json!({"payment": {"create": [payment]}})).status == 200).then_some(())
    });
    order(&storm, "INT");
    let outcome = Ran::from(storm.wait_with_output().unwrap()).json(1);
    assert_eq!(outcome["ended"], "interrupted");
    let problems = outcome["audit"]["problems"].to_string();
    assert!(problems.contains("paidAmount is") || problems.contains("its payments bring it to"), "{problems}");
    assert_eq!(count(&outcome, "/audit/lookedAt/ofOthers"), 1);
}

/// Its tokens say what the server asks for, if the environment says it.
#[test]
fn tokens_name_issuer_and_audience() {
    let rules = [("JWT_ISSUER", "https://id.example/"), ("JWT_AUDIENCE", "sync")];
    let server = Server::start(&rules.iter().fold(Setup::embedded(), |setup, (name, value)| setup.env(name, *value)));
    let url = server.url();
    let load =
        ["--url", &url, "--clients", "1", "--phones-per-client", "1", "--syncs", "2", "--duration", "20s", "--json"];
    let secret = ("JWT_SECRET", TEST_SECRET);
    let outcome = storm(&load, &[secret, rules[0], rules[1]]).json(0);
    assert_eq!(count(&outcome, "/syncs/acknowledged"), 2);
}

/// A server that sheds load is asked again, with the same key, until it has taken all.
#[test]
fn an_overloaded_server_is_asked_again() {
    let server = Server::start(&Setup::embedded().env("MAX_REQUESTS", "4"));
    let load = [
        "--clients",
        "1",
        "--phones-per-client",
        "8",
        "--retries",
        "3",
        "--syncs",
        "24",
        "--duration",
        "60s",
        "--json",
    ];
    let outcome = storm_on(&server, &load).json(0);
    assert!(count(&outcome, "/requests/statuses/503") > 0 && count(&outcome, "/requests/codes/overloaded") > 0);
    assert_eq!(count(&outcome, "/syncs/acknowledged"), 24);
}

/// What was under way stays open; and books that cannot be had are no success.
#[test]
fn a_server_that_dies_is_told() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let url = server.url();
    let arguments = ["--url", &url, "--duration", "60s", "--batch", "till", "--patience", "1s", "--json"];
    let storm = start(&arguments, &[("TOKEN", phone.token.as_str())]);
    has_begun(&phone);
    server.kill();
    order(&storm, "INT");
    let outcome = Ran::from(storm.wait_with_output().unwrap()).json(1);
    assert_eq!((&outcome["audit"]["complete"], count(&outcome, "/audit/lookedAt/clients")), (&json!(false), 0));
    assert!(outcome["audit"]["problems"].to_string().contains("its books cannot be had"), "{outcome}");
    assert!(count(&outcome, "/syncs/acknowledged") > 0 && count(&outcome, "/syncs/open") > 0, "{outcome}");
}

/// Requests that are sent and never answered are failures like others, under a name of their own.
#[test]
fn requests_that_patience_cuts_off_are_counted() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let url = server.url();
    let arguments =
        ["--url", &url, "--duration", "60s", "--retries", "2", "--patience", "1s", "--timeout", "5s", "--json"];
    let storm = start(&arguments, &[("TOKEN", phone.token.as_str())]);
    has_begun(&phone);
    server.pause();
    order(&storm, "INT");
    let ran = Ran::from(storm.wait_with_output().unwrap());
    let outcome: Value = serde_json::from_str(&ran.output).unwrap();
    let cut_off = count(&outcome, "/requests/unanswered/still under way when --patience ended");
    // 4 phones, with 2 copies each, one of which may have its answer.
    assert!((4..=8).contains(&cut_off) && cut_off >= count(&outcome, "/syncs/open"), "{outcome}");
    assert!(ran.error.contains(&format!(" failures ({cut_off} cut off), ")), "{}", ran.error);
}

/// What was begun is finished, audited and told; and the result says that the load is not the one that was asked for.
#[test]
fn a_signal_ends_the_load_and_not_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("storm.html");
    for signal in ["TERM", "INT"] {
        let phone = Phone::new(Engine::Embedded.server());
        let load = ["--url", &phone.url, "--duration", "60s", "--batch", "till", "--json"];
        let report = ["--report", page.to_str().unwrap()];
        let storm = start(&[&load[..], &report].concat(), &[("TOKEN", phone.token.as_str())]);
        has_begun(&phone);
        order(&storm, signal);
        let outcome = Ran::from(storm.wait_with_output().unwrap()).json(2);
        assert_eq!(outcome["ended"], "interrupted");
        let acknowledged = count(&outcome, "/syncs/acknowledged");
        assert!(acknowledged > 0 && acknowledged == count(&outcome, "/syncs/begun"), "{outcome}");
        assert_eq!((&outcome["audit"]["complete"], &outcome["audit"]["problems"]), (&json!(true), &json!([])));
        assert_eq!(count(&outcome, "/audit/lookedAt/acknowledgedWhole"), acknowledged);
        let page = std::fs::read_to_string(&page).unwrap();
        for told in ["<b>INTERRUPTED</b>", "the load was interrupted after ", " s of 60 s."] {
            assert!(page.contains(told), "{told} is not in\n{page}");
        }
    }
}

/// Nothing was sent, so that there is nothing to tell, and no empty report is left.
#[test]
fn a_signal_before_the_load_ends_it_without_a_result() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("storm.html");
    let arguments = ["--url", &url, "--report", page.to_str().unwrap()];
    let storm = start(&arguments, &[("JWT_SECRET", TEST_SECRET)]);
    let _held = silent.accept().unwrap();
    order(&storm, "TERM");
    let run = Ran::from(storm.wait_with_output().unwrap());
    assert_eq!(run.refusal(), "error: interrupted before the load began");
    assert!(!page.exists());
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let arguments = ["--url", &phone.url, "--duration", "60s", "--patience", "60s", "--timeout", "60s"];
    let mut storm = start(&arguments, &[("TOKEN", phone.token.as_str())]);
    has_begun(&phone);
    server.pause();
    eventually("it ends", Duration::from_secs(30), || {
        // Two that come at once may be one.
        order(&storm, "INT");
        storm.try_wait().unwrap()
    });
    let run = Ran::from(storm.wait_with_output().unwrap());
    assert!(run.refusal().starts_with("error: interrupted again before the audit was done"), "{}", run.error);
}

/// The opening is sent in as many batches as the server's limit asks for.
#[test]
fn a_server_of_small_batches_is_stormed_with_small_batches() {
    let server = Server::start(&Setup::embedded().env("MAX_OPERATIONS", "5"));
    let load = ["--clients", "1", "--phones-per-client", "2", "--syncs", "6", "--duration", "20s", "--json"];
    let outcome = storm_on(&server, &[&load[..], &["--batch", "till"]].concat()).json(0);
    assert_eq!(count(&outcome, "/audit/lookedAt/acknowledgedWhole"), 6);
    let refused = storm_on(&server, &load);
    assert!(refused.refusal().contains("20 operations are more than the 5"), "{}", refused.error);
}

#[test]
fn the_report_is_written_and_holds_the_figures() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("storm.html");
    let load = ["--clients", "1", "--syncs", "10", "--report", page.to_str().unwrap()];
    let run = storm_on(Engine::Embedded.server(), &load);
    assert_eq!(run.code, 0, "{}{}", run.output, run.error);
    assert!(
        run.output.contains("Audit      passed: each of 10 acknowledged syncs of 1 client is in the books once"),
        "{}",
        run.output
    );
    assert!(run.output.contains("Generator  ") && run.output.contains("processor time"), "{}", run.output);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<b>PASSED</b>") && page.contains("<svg") && !page.contains("<script"), "{page}");
}

#[test]
fn one_token_is_one_client_whose_other_records_are_left_alone() {
    let server = Engine::Embedded.server();
    let phone = Phone::new(server);
    let item = json!({"item": {"create": [{"name": "Tea", "price": 12.5}]}});
    assert_eq!(phone.sync(&item).status, 200);
    let url = server.url();
    let arguments = ["--url", &url, "--syncs", "5", "--json"];
    let settings = [("TOKEN", phone.token.as_str())];
    let outcome = storm(&arguments, &settings).json(0);
    assert_eq!((count(&outcome, "/settings/clients"), count(&outcome, "/audit/lookedAt/ofOthers")), (1, 1));
    let refused = storm(&[&arguments[..], &["--clients", "2"]].concat(), &settings);
    assert!(refused.refusal().contains("--clients must be 1 with --token"), "{}", refused.error);
}

#[test]
fn no_report_is_left_of_no_storm() {
    let directory = tempfile::tempdir().unwrap();
    let (new, old) = (directory.path().join("new.html"), directory.path().join("old.html"));
    std::fs::write(&old, "the last storm's").unwrap();
    for page in [&new, &old] {
        let away = ["--url", "http://127.0.0.1:1", "--report", page.to_str().unwrap()];
        storm(&away, &[("JWT_SECRET", TEST_SECRET)]).refusal();
    }
    assert!(!new.exists() && std::fs::read(&old).unwrap() == b"the last storm's");
}

/// Arguments, settings, and a word of what is said.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn what_is_no_storm_is_refused_in_one_line() {
    let url = Engine::Embedded.server().url();
    let secret = [("JWT_SECRET", TEST_SECRET)];
    let wrong = token("64b0000000000000000000c1");
    let cases: &[Case<'_>] = &[
        (&["--url", "http://example.com"], &secret, "--i-own-this-server"),
        (&["--url", "http://127.0.0.1:1", "--patience", "1ms"], &secret, "cannot connect"),
        (&["--url", &url], &[("DATA_DIR", "/nonexistent")], "holds no secret"),
        (&["--url", &url], &[("JWT_SECRET", "another-secret-of-enough-bytes-0123456789")], "401"),
        (&["--url", &url, "--token", &wrong[1..]], &[], "401"),
        (&["--url", &url, "--batch", "20:items=1"], &secret, "neither day, till"),
        (&["--url", &url, "--rate", "0"], &secret, "0.01 to 1000000"),
        (&["--url", &url, "--hangups", "101"], &secret, "0 to 100"),
        (&["--url", &url, "--rebatch", "50"], &secret, "--rebatch does nothing without --hangups"),
        (&["--url", &url, "--clients", "0"], &secret, "1..=10000"),
        (&["--url", &url, "--report", "/nonexistent/report.html"], &secret, "cannot write /nonexistent/report.html"),
    ];
    for (arguments, settings, told) in cases {
        let run = storm(arguments, settings);
        assert!(run.refusal().contains(told), "{arguments:?}: {}", run.error);
    }
}

#[test]
fn the_help_is_enough() {
    let help = storm(&["--help"], &[]);
    assert_eq!(help.code, 0);
    for told in [
        "Examples:",
        "--retries",
        "--hangups",
        "--rebatch",
        "20:item=5,update=5,delete=2,invoice=5,payment=3",
        "Exit code",
    ] {
        assert!(help.output.contains(told), "{told}");
    }
}

fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Child {
    command(arguments, settings).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the phone's storm has written something.
fn has_begun(phone: &Phone) {
    eventually("the storm has begun", Duration::from_secs(30), || {
        let revision = phone.pull().json()["revision"].as_u64()?;
        (revision > 10).then_some(())
    });
}
