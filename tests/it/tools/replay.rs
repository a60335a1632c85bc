//! `viveka-sync replay`: what it sends, what it says, and what it ends with.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::{Ran, order, program, run_once};
use super::ops::seeds::seed_accounts;
use crate::harness::{Engine, Phone, Request, Server, Setup, TEST_SECRET, eventually, on_every_engine, sign};
use crate::metrics::{Exposition, Watched, metrics_url};

/// Replays with nothing but these settings.
fn replay(arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
    run_once(&mut program(&[&["replay"], arguments].concat(), settings))
}

/// Replays for a phone.
fn replay_for(phone: &Phone, arguments: &[&str]) -> Ran {
    replay(&[&["--url", &phone.url], arguments].concat(), &[("TOKEN", &phone.token)])
}

fn queue(name: &str) -> String {
    format!("{}/fixtures/queues/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A member of each payload of a pass.
fn each(pass: &Value, member: &str) -> Vec<Value> {
    pass["payloads"].as_array().unwrap().iter().map(|payload| payload[member].clone()).collect()
}

/// A folder with captures of batches, in their order.
struct Captures {
    folder: TempDir,
}

impl Captures {
    fn of(batches: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (index, body) in batches.iter().enumerate() {
            let capture = json!({
                "endpoint": "/api/sync", "method": "POST", "body": body, "requestId": format!("request-{index}"),
                "timestamp": 1_736_656_200_000_i64 + index as i64,
            });
            std::fs::write(folder.path().join(format!("{index}.json")), capture.to_string()).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"_id": 1, "name": name, "price": 10, "stock": 5}]}})
}

/// A sale of an item that is made in the same batch, without local ids: sent under another key it doubles.
fn sale(name: &str) -> Value {
    let mut batch = item(name);
    batch["invoice"] = json!({"create": [{"_id": 1, "products": [{"productId": 1, "quantity": 2}]}]});
    batch["payment"] = json!({"create": [{"invoiceId": 1, "amount": 20}]});
    batch
}

on_every_engine! {
    fn a_day_is_sent_twice_and_is_in_the_books_once(server: &Server) {
        let phone = Phone::new(server);
        let run = replay_for(&phone, &[&queue("day.json"), "--twice", "--expect", &queue("expected/day.json"), "--json"]);
        let report = run.json(0);
        assert_eq!(each(&report, "result"), ["answered", "applied", "applied", "applied", "pulled"]);
        let again = &report["again"];
        assert_eq!(each(again, "result"), ["answered", "replayed", "replayed", "replayed", "pulled"]);
        assert_eq!((&again["books"]["unchanged"], &again["books"]["revisionAfter"]), (&json!(true), &json!(3)));
        assert_eq!(report["expected"]["equal"], json!(true));
        assert_eq!(report["totals"]["applied"]["summary"]["invoicesCreated"], json!(3));
        assert_eq!(phone.pull().expect_ok()["revision"], json!(3));
    }

    fn one_batch_leaves_the_same_books(server: &Server) {
        let phone = Phone::new(server);
        let arguments = [&queue("day.json"), "--batch", "--expect", &queue("expected/day.json"), "--twice", "--json"];
        let report = replay_for(&phone, &arguments).json(0);
        assert_eq!(each(&report, "result"), ["answered", "applied"]);
        assert_eq!(each(&report, "captures"), [1, 4]);
        assert_eq!(each(&report["again"], "result"), ["answered", "replayed"]);
        assert_eq!(each(&replay_for(&phone, &arguments).json(0), "result"), ["answered", "replayed"]);
        assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
    }
}

fn phone() -> Phone {
    Phone::new(Engine::Embedded.server())
}

#[test]
fn stale_retries_are_replayed_and_repacked_queues_known() {
    let report = replay_for(&phone(), &[&queue("evening.jsonl"), "--twice", "--json"]).json(0);
    // In the order of time: the file holds the retries of the first capture further down.
    assert_eq!(each(&report, "line"), [1, 4, 2, 3, 5, 6, 7]);
    let results = ["applied", "replayed", "applied", "applied", "replayed", "pulled", "replayed"];
    assert_eq!(each(&report, "result"), results);
    assert_eq!(report["payloads"][2]["answer"]["summary"]["alreadyApplied"], json!(2));
    assert_eq!(report["payloads"][3]["answer"]["warnings"][0]["path"], json!("/item/update/0/barcode"));

    let batch = replay_for(&phone(), &[&queue("evening.jsonl"), "--batch"]);
    assert!(batch.refusal().contains("evening.jsonl:3 (entry 3): in one batch its change of item"), "{}", batch.error);
}

#[test]
fn what_is_refused_is_told_and_the_rest_is_sent() {
    let phone = phone();
    let report = replay_for(&phone, &[&queue("counter"), "--json"]).json(1);
    assert_eq!(each(&report, "result"), ["applied", "refused", "applied", "refused", "refused"]);
    assert_eq!(each(&report, "status"), [200, 422, 200, 422, 400]);
    let codes: Vec<_> = each(&report, "answer").into_iter().map(|answer| answer["code"].clone()).collect();
    assert_eq!(
        codes[1..],
        [json!("batch_rejected"), json!(null), json!("idempotency_key_reused"), json!("malformed_json")]
    );
    let problem = &report["payloads"][1]["errors"][0];
    assert_eq!((&problem["path"], &problem["code"]), (&json!("/payment/create/0/amount"), &json!("exceeds_balance")));
    assert!(problem["capture"].as_str().unwrap().ends_with("02-overpaid.json:1 (entry 1)"), "{problem}");
    let first = "3 refused, the first of them sync_1736745000_a2: batch_rejected: Payment exceeds outstanding balance";
    assert_eq!(report["findings"], json!([first]));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(2));
}

/// What the server says of the caller it would say of each payload.
#[test]
fn a_caller_who_is_not_let_in_sends_one_payload() {
    let captures = Captures::of(&[item("Tea"), item("Bun"), item("Oil")]);
    let kept = captures.file("kept.txt");
    let server = Engine::Embedded.server();
    let arguments = ["--url", &server.url(), captures.path(), "--twice", "--save", kept.to_str().unwrap()];
    let run = replay(&[&arguments[..], &["--json"]].concat(), &[("TOKEN", "stale")]);
    let report = run.json(1);
    assert_eq!(each(&report, "result"), ["refused", "unsent", "unsent"]);
    let findings = [
        "1 refused: request-0: unauthorized: Invalid or expired token",
        "2 not sent: the server does not let this caller in",
        "not sent a second time: the server does not let this caller in",
        "the dataset is neither compared nor saved: the server does not let this caller in",
    ];
    assert_eq!(report["findings"], json!(findings));
    assert!(!kept.exists());

    let asked = replay(&[&arguments[..3], &["--dry-run", "--json"]].concat(), &[("TOKEN", "stale")]).json(1);
    assert_eq!(each(&asked, "result"), ["refused", "unsent", "unsent"]);
    // A body of another client says nothing of the next one.
    let mut foreign = item("Tea");
    foreign["clientId"] = json!("64b0000000000000000000ff");
    let captures = Captures::of(&[foreign, item("Bun")]);
    let report = replay_for(&phone(), &[captures.path(), "--json"]).json(1);
    assert_eq!(each(&report, "result"), ["refused", "applied"]);
}

/// An account that is closed, and a session that is ended: the first request hears of it, and is the only one. Nothing of
/// the queue is lost by that.
#[test]
fn a_caller_who_may_not_sync_any_more_sends_one_payload() {
    let phone = LoggedIn::new(Engine::ReplicaSet);
    phone.becomes(false, true);
    let watched = Watched::start(&phone.setup);
    let captures = Captures::of(&[item("Tea"), item("Bun"), item("Oil")]);
    let url = watched.server.url();
    let replay = |more: &str| {
        let arguments = ["--url", &url, captures.path(), "--json"].into_iter().chain(more.split_whitespace());
        replay(&arguments.collect::<Vec<_>>(), &[("TOKEN", &phone.token)])
    };
    let is_refused = |status: u16, reason: &str| {
        for (more, route, unsent) in
            [("--twice", "/api/sync", 2), ("--dry-run", "/api/sync/validate", 2), ("--batch", "/api/sync/reconcile", 0)]
        {
            let before = watched.scrape();
            let report = replay(more).json(1);
            let one = (format!("viveka_requests_total{{route={route},status={status}}}"), 1);
            assert_eq!(requests_since(&watched, &before), [one], "{more}");
            assert_eq!(each(&report, "result"), [&["refused"][..], &vec!["unsent"; unsent]].concat(), "{more}");
            let findings = report["findings"].as_array().unwrap();
            assert!(findings[0].as_str().unwrap().ends_with(reason), "{report}");
            let not_sent = json!(format!("{unsent} not sent: the server does not let this caller in"));
            assert_eq!(findings.contains(&not_sent), unsent > 0, "{report}");
        }
    };
    is_refused(403, ": account_inactive: Account is inactive");
    phone.becomes(true, false);
    eventually("the server knows that the session has ended", Duration::from_secs(30), || {
        (each(&replay("--dry-run").json(1), "status")[0] == 401).then_some(())
    });
    is_refused(401, ": session_expired: Session expired or logged out. Please log in again.");
    phone.becomes(true, true);
    let run = eventually("the server lets the phone in", Duration::from_secs(30), || {
        Some(replay("")).filter(|run| run.code == 0)
    });
    assert_eq!(each(&run.json(0), "result"), ["applied"; 3]);
}

/// A phone with an account and a session, on a server that asks the database for both.
struct LoggedIn {
    setup: Setup,
    engine: Engine,
    client: ObjectId,
    session: ObjectId,
    token: String,
}

impl LoggedIn {
    fn new(engine: Engine) -> Self {
        let setup = Setup::on(engine).env("SESSION_CHECK", "true").env("SESSION_CACHE_SECONDS", "1");
        let [client, session] = [(); 2].map(|()| ObjectId::new());
        let claims =
            json!({"clientId": client.to_hex(), "deviceSessionId": session.to_hex(), "exp": 4_102_444_800_u64});
        let token = sign(claims, TEST_SECRET.as_bytes(), json!({"alg": "HS256", "typ": "JWT"}));
        Self { setup, engine, client, session, token }
    }

    /// As the login service leaves them.
    fn becomes(&self, has_account: bool, has_session: bool) {
        let account = doc! { "_id": self.client, "isActive": has_account };
        let session = doc! { "_id": self.session, "clientId": self.client, "isActive": has_session };
        seed_accounts(self.engine, &self.setup, &[account], &[session]);
    }
}

/// Which requests came to a server, and how many of each.
fn requests_since(watched: &Watched, earlier: &Exposition) -> Vec<(String, i64)> {
    let counts = watched.scrape().since(earlier).into_iter();
    counts.filter(|(series, _)| series.starts_with("viveka_requests_total{")).collect()
}

#[test]
fn a_signal_ends_it_after_the_payload_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("queue.json");
    let capture = |number| json!({"endpoint": "/api/sync", "method": "POST", "body": item("Tea"), "requestId": number, "timestamp": number});
    std::fs::write(&queue, Value::from_iter((0..2000).map(capture)).to_string()).unwrap();
    for signal in ["INT", "TERM"] {
        let phone = phone();
        let revision = || phone.pull().expect_ok()["revision"].as_u64().unwrap();
        let run = start(&["--url", &phone.url, queue.to_str().unwrap(), "--twice", "--json"], &phone.token);
        eventually("it sends", Duration::from_secs(30), || (revision() > 0).then_some(()));
        order(&run, signal);
        let report = Ran::from(run.wait_with_output().unwrap()).json(1);
        let applied = report["totals"]["applied"]["payloads"].as_u64().unwrap();
        assert_eq!(report["totals"]["unsent"]["payloads"], json!(2000 - applied));
        assert_eq!(applied, revision());
        let unsent = format!("{} not sent: the replay was interrupted", 2000 - applied);
        assert_eq!(report["findings"], json!([unsent, "not sent a second time: the replay was interrupted"]));
    }
}

/// While it waits to come again, nothing is in flight.
#[test]
fn a_signal_ends_a_pause() {
    let away = Setup::embedded().env("MONGO_URL", "mongodb://127.0.0.1:1").env("METRICS_PORT", "0");
    let server = Server::start(&away);
    let captures = Captures::of(&[item("Tea"), item("Bun")]);
    let metrics = Phone::at(&metrics_url(&server), "64b0000000000000000000c1", Duration::from_secs(20));
    let phone = Phone::new(&server);
    let mut run = start(&["--url", &phone.url, captures.path(), "--retries", "30", "--json"], &phone.token);
    eventually("the server has asked it to come again", Duration::from_secs(30), || {
        let told = metrics.send(Request::new("GET", "/metrics").without_token());
        let told = Exposition::read(std::str::from_utf8(&told.bytes).unwrap());
        let refused = told.value("viveka_requests_total", &[("route", "/api/sync"), ("status", "503")]);
        (refused > 0.0).then_some(())
    });
    order(&run, "TERM");
    eventually("it ends", Duration::from_secs(30), || run.try_wait().unwrap());
    let report = Ran::from(run.wait_with_output().unwrap()).json(1);
    assert_eq!(each(&report, "result"), ["unsettled", "unsent"]);
}

#[test]
fn a_second_signal_does_not_wait_for_the_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let captures = Captures::of(&[item("Tea"), item("Bun")]);
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut run = start(&["--url", &url, captures.path()], "any");
    let _held = silent.accept().unwrap();
    eventually("it ends", Duration::from_secs(30), || {
        // Two that come at once may be one.
        order(&run, "INT");
        run.try_wait().unwrap()
    });
    let ran = Ran::from(run.wait_with_output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.error);
    for told in ["unsettled: the connection was lost: the replay was interrupted", "\nwrong: 1 not sent: "] {
        assert!(ran.output.contains(told), "{told:?} is not in\n{}", ran.output);
    }
}

fn start(arguments: &[&str], token: &str) -> Child {
    let mut program = program(&[&["replay"], arguments].concat(), &[("TOKEN", token)]);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn people_read_a_line_for_each_payload_and_a_table() {
    let run = replay_for(&phone(), &[&queue("counter"), "--twice"]);
    assert_eq!((run.code, run.error.as_str()), (1, ""));
    for told in [
        "sync_1736744400_a1                    200",
        "applied: 1 new item, 1 invoice (revision 1)",
        "refused: batch_rejected: Payment exceeds outstanding balance",
        "02-overpaid.json:1 (entry 1) /payment/create/0/amount: exceeds_balance: Payment exceeds outstanding balance",
        "replayed: 1 payment (revision 2)",
        "\nrefused            3",
        "nothing doubled: revision 2 and all 3 records are as they were",
    ] {
        assert!(run.output.contains(told), "{told:?} is not in\n{}", run.output);
    }
    assert!(!run.output.contains('\u{1b}'), "{}", run.output);

    let warned = replay_for(&phone(), &[&queue("evening.jsonl"), "--twice"]);
    let line =
        "evening.jsonl:3 (entry 3) /item/update/0/barcode: warning unknown_field: Unknown field ignored: barcode";
    assert_eq!((warned.code, warned.output.matches(line).count()), (0, 1), "{}", warned.output);
}

#[test]
fn a_merged_batch_keeps_aliases_apart_and_says_whose_problem_it_is() {
    let phone = phone();
    let captures = Captures::of(&[sale("Tea"), sale("Bun")]);
    replay_for(&phone, &[captures.path(), "--batch", "--json"]).json(0);
    let data = &phone.pull().expect_ok()["data"];
    let sold = |at: usize| &data["invoices"][at]["products"][0]["itemName"];
    assert_eq!((sold(0), sold(1)), (&json!("Tea"), &json!("Bun")));
    assert_eq!(data["payments"][1]["invoiceId"], data["invoices"][1]["_id"]);

    let mut overpaid = sale("Oil");
    overpaid["payment"]["create"][0]["amount"] = json!(21);
    let captures = Captures::of(&[item("Salt"), overpaid]);
    let report = replay_for(&self::phone(), &[captures.path(), "--batch", "--json"]).json(1);
    let problem = &report["payloads"][0]["errors"][0];
    assert!(problem["capture"].as_str().unwrap().ends_with("1.json:1 (entry 1)"), "{problem}");
    assert_eq!(problem["path"], json!("/payment/create/0/amount"));
}

#[test]
fn what_was_applied_one_by_one_is_not_applied_again_in_a_batch() {
    let phone = phone();
    let captures = Captures::of(&[sale("Tea"), sale("Bun")]);
    replay_for(&phone, &[captures.file("1.json").to_str().unwrap(), "--json"]).json(0);
    let report = replay_for(&phone, &[captures.path(), "--batch", "--json"]).json(1);
    assert_eq!(report["payloads"][0]["answer"]["code"], json!("applied_one_by_one"));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
}

#[test]
fn a_dry_run_applies_nothing() {
    let phone = phone();
    let run = replay_for(&phone, &[&queue("day.json"), "--dry-run"]);
    assert!(run.code == 1 && run.output.contains("--batch tries them together"), "{}", run.output);
    let report = replay_for(&phone, &[&queue("day.json"), "--dry-run", "--batch", "--json"]).json(0);
    assert_eq!(each(&report, "result"), ["skipped", "valid"]);
    assert_eq!(report["payloads"][1]["answer"]["summary"]["invoicesCreated"], json!(3));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(0));
    for other in ["--twice", "--save=file", "--expect=file"] {
        assert_eq!(replay_for(&phone, &[&queue("day.json"), "--dry-run", other]).code, 2);
    }
}

/// A script may act on the code, whether it asks first or not.
#[test]
fn a_dry_run_says_the_codes_of_a_sync() {
    let phone = phone();
    replay_for(&phone, &[&queue("counter"), "--json"]).json(1);
    let unreadable = json!({"item": {"create": [{"_id": 1, "name": 7, "price": 10}]}});
    let unknown = json!({"item": {"delete": ["64b0000000000000000000aa"]}});
    let both =
        json!({"item": {"create": [{"_id": 1, "name": 7, "price": 10}], "delete": ["64b0000000000000000000aa"]}});
    let captures = Captures::of(&[unreadable, unknown, both]);
    let told = |pass: &Value| {
        let answers =
            each(pass, "answer").into_iter().map(|answer| (answer["code"].clone(), answer["message"].clone()));
        answers.collect::<Vec<_>>()
    };
    for (path, codes) in [
        (captures.path(), &["invalid_batch", "batch_rejected", "invalid_batch"][..]),
        (&queue("counter/02-overpaid.json"), &["batch_rejected"]),
        (&queue("counter/04-key-reused.json"), &["idempotency_key_reused"]),
        (&queue("counter/05-cut-off.json"), &["malformed_json"]),
    ] {
        let asked = told(&replay_for(&phone, &[path, "--dry-run", "--json"]).json(1));
        assert_eq!(asked, told(&replay_for(&phone, &[path, "--json"]).json(1)));
        assert_eq!(asked.iter().map(|(code, _)| code.as_str().unwrap()).collect::<Vec<_>>(), codes);
    }
}

#[test]
fn another_dataset_than_expected_is_shown_as_a_difference() {
    let captures = Captures::of(&[sale("Tea")]);
    let saved = captures.file("saved.txt");
    replay_for(&phone(), &[captures.path(), "--save", saved.to_str().unwrap(), "--json"]).json(0);
    let expecting = [captures.path(), "--expect", saved.to_str().unwrap()];
    let same = replay_for(&phone(), &expecting);
    assert!(same.code == 0 && same.output.contains("the dataset is as expected in "), "{}", same.output);

    let other = phone();
    other.sync(&item("Bun")).expect_ok();
    let different = replay_for(&other, &expecting);
    assert_eq!(different.code, 1);
    assert!(different.output.contains("\n+      \"name\": \"Bun\","), "{}", different.output);
    let missing = different.output.lines().find(|line| line.starts_with('-') && !line.starts_with("---"));
    assert_eq!(missing, None, "{}", different.output);
    let told = replay_for(&other, &[&expecting[..], &["--json"]].concat()).json(1);
    assert_eq!(told["findings"], json!([format!("the dataset is not as in {}", saved.display())]));

    // A whole answer will do as well.
    std::fs::write(&saved, other.pull().bytes).unwrap();
    let folder = captures.path();
    replay_for(&other, &[folder, "--expect", saved.to_str().unwrap(), "--json"]).json(0);
}

#[test]
fn wrong_input_is_named_and_nothing_is_sent() {
    let phone = phone();
    let captures = Captures::of(&[item("Tea"), item("Bun")]);
    let second = captures.file("1.json");
    let text = std::fs::read_to_string(&second).unwrap();
    for (damaged, told) in [
        (text.replace("/api/sync", "/api/orders"), "1.json:1 (entry 1): endpoint must be one of "),
        (text.replace("POST", "PATCH"), "1.json:1 (entry 1): method must be POST, not \"PATCH\""),
        (text.replace("\"requestId\"", "\"id\""), "1.json:1 (entry 1): requestId is missing"),
        (text.replace("\"body\"", "\"bod\""), "1.json:1 (entry 1): body is missing"),
        (format!("[{text},\n{{"), "1.json:2 (entry 2): not JSON: EOF while parsing an object in column"),
    ] {
        std::fs::write(&second, damaged).unwrap();
        let run = replay_for(&phone, &[captures.path()]);
        assert!(run.refusal().contains(told), "{} is not {told}", run.error);
    }
    std::fs::write(&second, format!("{}\n{text}\n{{}}", text.replace("POST", "PUT"))).unwrap();
    let run = replay_for(&phone, &[captures.path()]);
    assert!(run.error.starts_with("error: 2 entries cannot be sent, so nothing is sent:\n"), "{}", run.error);
    for told in ["1.json:1 (entry 1): method must be POST", "1.json:3 (entry 3): endpoint is missing"] {
        assert!(run.error.contains(told), "{}", run.error);
    }
    std::fs::write(&second, text).unwrap();
    for (arguments, told) in [
        (&["nowhere"][..], "cannot read nowhere"),
        (&[captures.path(), "--expect", "nowhere"], "cannot read nowhere"),
        (&[captures.path(), "--expect", captures.file("0.json").to_str().unwrap()], "it has no list items"),
        (&[captures.path(), "--save", "/nowhere/kept.json"], "--save: cannot write /nowhere/kept.json: "),
        (&[captures.path(), "--url", "localhost:10000"], "--url"),
        (&[captures.path(), "--timeout", "0"], "--timeout"),
        (&[], "required"),
    ] {
        let run = replay(&[&["--token", &phone.token], arguments].concat(), &[]);
        assert!(run.refusal().contains(told), "{} is not {told}", run.error);
    }
    assert_eq!(phone.pull().expect_ok()["revision"], json!(0));
}

#[test]
fn a_client_of_the_local_server_needs_no_token() {
    let setup = Setup::embedded().without("JWT_SECRET");
    let server = Server::start(&setup);
    let captures = Captures::of(&[item("Tea")]);
    let data = setup.directory().to_str().unwrap();
    let client = ["--client", "64b0000000000000000000c1", "--url", &server.url(), captures.path()];
    assert_eq!(replay(&client, &[("DATA_DIR", data)]).code, 0);

    let nowhere = captures.file("none");
    let run = replay(&client, &[("DATA_DIR", nowhere.to_str().unwrap())]);
    assert!(run.refusal().contains("DATA_DIR holds no secret"), "{}", run.error);
    assert!(!nowhere.exists(), "a tool that only reads made a data directory");

    let shared = ["--url", &Engine::Embedded.server().url(), captures.path()];
    let secret = [("JWT_SECRET", TEST_SECRET), ("TOKEN", "stale")];
    assert_eq!(replay(&[&["--client", "64b0000000000000000000c2"], &shared[..]].concat(), &secret).code, 0);
    assert!(replay(&[&["--client", "somebody"], &shared[..]].concat(), &secret).refusal().contains("24 hex digits"));
    assert!(replay(&shared, &[]).refusal().contains("say who is calling"));
    assert_eq!(replay(&shared, &[("TOKEN", "stale")]).code, 1);
}

#[test]
fn what_a_phone_said_does_not_command_the_terminal() {
    let captures = Captures::of(&[json!({"item": {"delete": ["\u{1b}[2Jgone"]}})]);
    let run = replay_for(&phone(), &[captures.path()]);
    assert!(run.code == 1 && run.output.contains("Item not found for delete: \u{fffd}[2Jgone"), "{}", run.output);
}

#[test]
fn help_shows_no_secret_and_has_examples() {
    let run = replay(&["--help"], &[("TOKEN", "keep-this-secret"), ("JWT_SECRET", "keep-this-secret")]);
    assert!(run.code == 0 && run.output.contains("Examples:") && run.output.contains("requestId"), "{}", run.output);
    assert!(!run.output.contains("keep-this-secret"), "{}", run.output);
}

#[test]
fn a_store_that_is_away_is_asked_again_and_what_follows_does_not_overtake() {
    let server = Server::start(&Setup::embedded().env("MONGO_URL", "mongodb://127.0.0.1:1"));
    let captures = Captures::of(&[item("Tea"), item("Bun")]);
    let report = replay_for(&Phone::new(&server), &[captures.path(), "--retries", "1", "--twice", "--json"]).json(1);
    assert_eq!(each(&report, "result"), ["unsettled", "unsent"]);
    assert_eq!(
        (each(&report, "status"), each(&report, "attempts")),
        (vec![json!(503), json!(null)], vec![json!(2), json!(0)])
    );
    assert_eq!(report["payloads"][0]["answer"]["code"], json!("store_unavailable"));
    assert_eq!(report["again"]["payloads"], json!([]));
}

#[test]
fn a_server_that_is_not_there_leaves_the_queue_unsettled() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let captures = Captures::of(&[item("Tea")]);
    let url = format!("http://127.0.0.1:{port}");
    let report = replay(&["--url", &url, captures.path(), "--retries", "0", "--json"], &[("TOKEN", "any")]).json(1);
    assert_eq!(each(&report, "result"), ["unsettled"]);
    assert!(report["payloads"][0]["answer"]["message"].as_str().unwrap().starts_with("cannot connect: "), "{report}");

    let captures = Captures::of(&["Tea", "Bun", "Oil", "Salt"].map(item));
    let people = replay(&["--url", &url, captures.path(), "--retries", "0"], &[("TOKEN", "any")]);
    assert_eq!((people.code, people.output.matches("request-").count()), (1, 2), "{}", people.output);
    assert!(people.output.contains("\nwrong: 3 not sent: what came of the last one"), "{}", people.output);
}

#[test]
fn a_way_that_loses_keys_is_caught_by_sending_twice() {
    let phone = phone();
    let url = line_that_loses_keys(&phone.url);
    let captures = Captures::of(&[sale("Tea"), sale("Bun")]);
    let run = ["--url", &url, captures.path(), "--twice", "--json"];
    let report = replay(&run, &[("TOKEN", &phone.token)]).json(1);
    assert_eq!(each(&report, "result"), ["applied", "applied"]);
    let books = &report["again"]["books"];
    assert_eq!(
        (&books["unchanged"], &books["recordsBefore"], &books["recordsAfter"]),
        (&json!(false), &json!(6), &json!(12))
    );
    let findings: Vec<_> = report["findings"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(findings[0], "request-0 was applied first, and then not replayed but applied");
    assert_eq!(findings[2], "the books changed the second time: revision 2 became 4, 6 records became 12");
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let phone = phone();
    let url = line_that_spoils_the_first_answer(&phone.url, |answers, answered| {
        // It comes this far, and no further.
        answers.read_exact(&mut [0]).unwrap();
        answered.shutdown(Shutdown::Both).unwrap();
    });
    let captures = Captures::of(&[sale("Tea")]);
    let report = replay(&["--url", &url, captures.path(), "--json"], &[("TOKEN", &phone.token)]).json(0);
    assert_eq!((each(&report, "result"), each(&report, "attempts")), (vec![json!("replayed")], vec![json!(2)]));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(1));
}

/// It may have been applied: the same key settles that, as after a lost connection.
#[test]
fn an_answer_that_comes_too_late_is_asked_for_again_with_the_same_key() {
    let phone = phone();
    let url = line_that_spoils_the_first_answer(&phone.url, |answers, answered| {
        // It comes when nobody listens any more.
        answers.read_exact(&mut [0]).unwrap();
        let _ = answered.read(&mut [0]);
    });
    let captures = Captures::of(&[sale("Tea")]);
    let run = ["--url", &url, captures.path(), "--timeout", "1", "--json"];
    let report = replay(&run, &[("TOKEN", &phone.token)]).json(0);
    assert_eq!((each(&report, "result"), each(&report, "attempts")), (vec![json!("replayed")], vec![json!(2)]));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(1));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let run = ["--url", &url, captures.path(), "--timeout", "1", "--retries", "0", "--json"];
    let report = replay(&run, &[("TOKEN", &phone.token)]).json(1);
    assert_eq!(report["findings"], json!(["1 unsettled: request-0: no answer within 1 s"]));
}

/// The URL of a line to a server on which something happens to the first answer, from the server to the phone.
fn line_that_spoils_the_first_answer(server: &str, spoil: fn(&mut TcpStream, &mut TcpStream)) -> String {
    line(server, move |number, phone, server| {
        let mut sent = (phone.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut sent.0, &mut sent.1));
        let (mut answers, mut answered) = (server, phone);
        if number == 0 {
            spoil(&mut answers, &mut answered);
        } else {
            let _ = std::io::copy(&mut answers, &mut answered);
        }
    })
}

/// The URL of a line to a server that takes the idempotency key out of each request, as a careless proxy does.
fn line_that_loses_keys(server: &str) -> String {
    line(server, |_, phone, server| {
        let (mut answers, mut answered) = (server.try_clone().unwrap(), phone.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut answered));
        forward(phone, server);
    })
}

/// The URL of a line to a server: what happens on its connections is told by their number, and their two ends.
fn line(server: &str, carry: impl Fn(usize, TcpStream, TcpStream) + Copy + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for (number, phone) in listener.incoming().map_while(Result::ok).enumerate() {
            let server = TcpStream::connect(&server).unwrap();
            std::thread::spawn(move || carry(number, phone, server));
        }
    });
    url
}

/// Passes on what a phone sends. The name of the header is replaced by one of the same length.
fn forward(mut phone: TcpStream, mut server: TcpStream) {
    const KEY: &[u8] = b"x-idempotency-key";
    const OTHER: &[u8] = b"x-idempotency-nil";
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = phone.read(&mut buffer) {
        let sent = &mut buffer[..length];
        if let Some(at) = sent.windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY)) {
            sent[at..at + KEY.len()].copy_from_slice(OTHER);
        }
        server.write_all(sent).unwrap();
    }
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn the_readme_of_the_queues_names_each_of_them() {
    let folder = queue("");
    let readme = std::fs::read_to_string(Path::new(&folder).join("README.md")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || readme.contains(&name), "{name} is not in the README");
    }
}
