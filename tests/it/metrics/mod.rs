//! Metrics as Prometheus would read them, while requests come.

mod exposition;
mod hangups;
mod ops;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use viveka_sync::metrics::DECLARED;

use crate::harness::{
    Connection, Engine, Mongod, Phone, Request, Server, Setup, Topology, eventually, on_every_engine, random_hex,
};
pub use exposition::Exposition;

/// How long a gauge may take to show what is going on.
pub const SOON: Duration = Duration::from_secs(20);

/// A server that tells its metrics.
pub struct Watched {
    pub server: Server,
    scraper: Phone,
}

impl Watched {
    /// Starts one and waits for its store.
    pub fn start(setup: &Setup) -> Self {
        let server = Server::start_ready(&setup.clone().env("METRICS_PORT", "0"));
        let scraper = Phone::at(&metrics_url(&server), &random_hex(12), SOON);
        Self { server, scraper }
    }

    fn on(engine: Engine) -> Self {
        Self::start(&Setup::on(engine))
    }

    /// What it tells now.
    pub fn scrape(&self) -> Exposition {
        let answer = self.scraper.send(Request::new("GET", "/metrics").without_token());
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("Content-Type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
        Exposition::read(std::str::from_utf8(&answer.bytes).unwrap())
    }

    fn restart(&mut self) {
        self.server.restart_ready();
        self.scraper = Phone::at(&metrics_url(&self.server), &random_hex(12), SOON);
    }
}

/// Where a server tells its metrics.
pub fn metrics_url(server: &Server) -> String {
    let line = server.wait_for_log(|line| line.contains("metrics can be read"));
    let line: Value = serde_json::from_str(&line).unwrap();
    format!("http://{}", line["fields"]["address"].as_str().unwrap())
}

/// Six operations, at least one of each kind.
fn day() -> Value {
    json!({
        "item": {
            "create": [{"_id": 1, "name": "Tea", "price": 10}, {"name": "Coffee", "price": 20}],
            "update": [{"_id": 1, "price": 11}],
            "delete": [1],
        },
        "invoice": {"create": [{"_id": 1, "products": [{"itemName": "Cake", "costPerUnit": 2, "quantity": 1}]}]},
        "payment": {"create": [{"invoiceId": 1, "amount": 2}]},
    })
}

on_every_engine! {
    fn counts_go_up_exactly_as_traffic_did(engine: Engine) {
        let mut watched = Watched::on(engine);
        let phone = Phone::new(&watched.server);
        let before = watched.scrape();
        phone.sync_with_key(&day(), "monday").expect_ok();
        phone.sync_with_key(&day(), "monday").expect_ok();
        phone.sync(&json!({"item": {"delete": ["nothing"]}})).expect_error(422, "batch_rejected");
        phone.send(Request::sync().body("{")).expect_error(400, "malformed_json");
        phone.send(Request::sync().without_token()).expect_error(401, "unauthorized");
        phone.send(Request::new("DELETE", "/api/sync")).expect_error(405, "method_not_allowed");
        phone.send(Request::new("GET", "/api/nowhere")).expect_error(404, "not_found");
        phone.pull().expect_ok();
        phone.send(Request::new("GET", "/api/sync/data")).expect_ok();
        phone.send(Request::new("POST", "/api/readytosync")).expect_ok();
        phone.send(Request::new("POST", "/api/sync/validate").json(&day())).expect_ok();
        phone.send(Request::new("POST", "/api/sync/reconcile").json(&json!({"keys": ["monday"]}))).expect_ok();
        let after = watched.scrape();

        let mut expected: BTreeMap<String, i64> = EXPECTED.iter().map(|(s, count)| ((*s).to_owned(), *count)).collect();
        if engine != Engine::LoneMongod {
            expected.insert("viveka_cache_lookups_total{cache=dataset,result=miss}".into(), 1);
            expected.insert("viveka_cache_lookups_total{cache=dataset,result=hit}".into(), 2);
        }
        let mut counted = after.since(&before);
        // How often these happen is the server's own affair.
        for phase in ["plan", "wait"] {
            let own = counted.remove(&format!("viveka_phase_duration_seconds_count{{phase={phase}}}"));
            assert!(own.is_some_and(|times| times >= 2), "{phase}: {own:?}");
        }
        counted.retain(|series, _| !series.starts_with("viveka_transaction_retries_total"));
        assert_eq!(counted, expected);
        let operations = |scrape: &Exposition| scrape.value("viveka_batch_operations_sum", &[]);
        assert_eq!(operations(&after) - operations(&before), 13.0);

        watched.restart();
        let phone = Phone::of(&watched.server, &phone.client);
        phone.sync_with_key(&day(), "monday").expect_ok();
        let scrape = watched.scrape();
        let of = |name: &str, labels: &[(&str, &str)]| scrape.value(name, labels);
        assert_eq!(of("viveka_replays_total", &[("how", "receipt")]), 1.0);
        assert_eq!(of("viveka_commits_total", &[]), 0.0);
        assert_eq!(of("viveka_operations_total", &[("kind", "item_create")]), 0.0);
    }

    fn a_storm_counts_one_commit_and_its_replays(engine: Engine) {
        let watched = Watched::on(engine);
        let phone = Phone::new(&watched.server);
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| phone.sync_with_key(&day(), "storm").expect_ok());
            }
            // A scrape in the middle of it reads well too.
            watched.scrape();
        });
        let scrape = watched.scrape();
        assert_eq!(scrape.value("viveka_commits_total", &[]), 1.0);
        assert_eq!(scrape.value("viveka_operations_total", &[("kind", "invoice_create")]), 1.0);
        let replays = |how| scrape.value("viveka_replays_total", &[("how", how)]);
        assert_eq!(replays("cache") + replays("coalesced"), 9.0);
        let kept = scrape.value("viveka_cache_bytes", &[("cache", "replay")]);
        assert!((500.0..1e6).contains(&kept), "{kept}");
        assert_eq!(scrape.value("viveka_store_up", &[]), 1.0);
    }
}

/// What the traffic above comes to.
const EXPECTED: &[(&str, i64)] = &[
    ("viveka_requests_total{route=/api/sync,status=200}", 3),
    ("viveka_requests_total{route=/api/sync,status=400}", 1),
    ("viveka_requests_total{route=/api/sync,status=401}", 1),
    ("viveka_requests_total{route=/api/sync,status=405}", 1),
    ("viveka_requests_total{route=/api/sync,status=422}", 1),
    ("viveka_requests_total{route=/api/sync/data,status=200}", 1),
    ("viveka_requests_total{route=/api/readytosync,status=200}", 1),
    ("viveka_requests_total{route=/api/sync/validate,status=200}", 1),
    ("viveka_requests_total{route=/api/sync/reconcile,status=200}", 1),
    ("viveka_requests_total{route=other,status=404}", 1),
    ("viveka_request_duration_seconds_count{route=/api/sync}", 7),
    ("viveka_request_duration_seconds_count{route=/api/sync/data}", 1),
    ("viveka_request_duration_seconds_count{route=/api/readytosync}", 1),
    ("viveka_request_duration_seconds_count{route=/api/sync/validate}", 1),
    ("viveka_request_duration_seconds_count{route=/api/sync/reconcile}", 1),
    ("viveka_request_duration_seconds_count{route=other}", 1),
    ("viveka_rejects_total{code=batch_rejected}", 1),
    ("viveka_rejects_total{code=malformed_json}", 1),
    ("viveka_rejects_total{code=unauthorized}", 1),
    ("viveka_rejects_total{code=method_not_allowed}", 1),
    ("viveka_rejects_total{code=not_found}", 1),
    ("viveka_commits_total{}", 1),
    ("viveka_replays_total{how=cache}", 1),
    ("viveka_operations_total{kind=item_create}", 2),
    ("viveka_operations_total{kind=item_update}", 1),
    ("viveka_operations_total{kind=item_delete}", 1),
    ("viveka_operations_total{kind=invoice_create}", 1),
    ("viveka_operations_total{kind=payment_create}", 1),
    ("viveka_batch_operations_count{}", 3),
    ("viveka_cache_lookups_total{cache=replay,result=miss}", 1),
    ("viveka_cache_lookups_total{cache=replay,result=hit}", 1),
    ("viveka_phase_duration_seconds_count{phase=read}", 8),
    ("viveka_phase_duration_seconds_count{phase=parse}", 8),
    ("viveka_phase_duration_seconds_count{phase=execute}", 2),
    ("viveka_phase_duration_seconds_count{phase=dataset}", 3),
];

#[test]
fn every_metric_is_told_as_it_is_declared() {
    let watched = Watched::on(Engine::Embedded);
    let phone = Phone::new(&watched.server);
    phone.sync_with_key(&day(), "key").expect_ok();
    let scrape = watched.scrape();
    let declared: BTreeSet<_> = DECLARED.iter().map(|metric| metric.name().to_owned()).collect();
    assert_eq!(scrape.metrics.keys().cloned().collect::<BTreeSet<_>>(), declared);
    for metric in DECLARED {
        let told = &scrape.metrics[metric.name()];
        assert_eq!((told.kind.as_str(), told.help.as_str()), (metric.kind(), metric.help()), "{}", metric.name());
    }
    assert_only_declared_series(&scrape);
}

#[test]
fn no_stranger_adds_a_series() {
    let watched = Watched::on(Engine::Embedded);
    let phone = Phone::new(&watched.server);
    let strange = |round: usize| {
        for number in 0..40 {
            let path = format!("/api/sync/{round}/{number}?x={number}");
            phone.send(Request::new("GET", &path));
            phone
                .send(Request::new("GET", &format!("/{{route}}\"/{round}%0a{number}").replace(['"', '{', '}'], "%22")));
            phone.send(
                Request::new(&format!("ODD{number}"), "/api/sync").header("X-Request-Id", &path.replace('/', ".")),
            );
            let other = Phone::of(&watched.server, &random_hex(12));
            other.sync_with_key(
                &json!({"item": {"delete": [format!("item-{number}")]}}),
                &format!("key-{round}-{number}"),
            );
        }
    };
    strange(0);
    let before = watched.scrape();
    strange(1);
    let after = watched.scrape();
    assert_eq!(before.series(), after.series());
    assert_only_declared_series(&after);
    // Escapes in a path are the same path.
    phone.send(Request::new("GET", "/api/%73ync/data")).expect_ok();
    let data = [("route", "/api/sync/data"), ("status", "200")];
    assert_eq!(watched.scrape().value("viveka_requests_total", &data), 1.0);
}

fn assert_only_declared_series(scrape: &Exposition) {
    for metric in DECLARED {
        let series = |pairs: Vec<(&str, &str)>| pairs.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let allowed: Vec<BTreeMap<String, String>> = metric.series().into_iter().map(series).collect();
        for sample in &scrape.metrics[metric.name()].samples {
            let labels = sample.clone().without("le").labels;
            assert!(allowed.contains(&labels), "{} is not declared", sample.series());
        }
    }
}

#[test]
fn what_is_in_use_shows_while_it_is() {
    let watched = Watched::start(&Setup::on(Engine::Embedded).env("MAX_REQUESTS", "50"));
    let phone = Phone::new(&watched.server);
    let gauge = |name: &str| watched.scrape().value(name, &[]);
    assert_eq!((gauge("viveka_requests_in_flight"), gauge("viveka_memory_used_bytes")), (0.0, 0.0));
    assert_eq!((gauge("viveka_requests_limit"), gauge("viveka_memory_budget_bytes")), (50.0, f64::from(512 << 20)));

    let mut slow = Connection::open(&phone);
    slow.begin_sync(&phone, "slow", 100_000);
    assert_eq!((gauge("viveka_requests_in_flight"), gauge("viveka_memory_used_bytes")), (1.0, 100_000.0));
    drop(slow);
    eventually("the place is free again", SOON, || (gauge("viveka_requests_in_flight") == 0.0).then_some(()));
}

#[test]
fn those_who_wait_show() {
    let watched = Watched::start(&Setup::on(Engine::Embedded).env("MAX_CONCURRENT_BATCHES", "1"));
    let items: Vec<_> = (0..500).map(|number| json!({"name": format!("item {number}"), "price": 1})).collect();
    let batch = json!({"item": {"create": items}});
    let waiting = |queue: &str| watched.scrape().value("viveka_queue_depth", &[("queue", queue)]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| Phone::new(&watched.server).sync(&batch).expect_ok());
        }
        for queue in ["execute", "store"] {
            eventually(queue, SOON, || (waiting(queue) >= 1.0).then_some(()));
        }
    });
    for queue in ["execute", "answer", "compute", "store"] {
        assert_eq!(waiting(queue), 0.0, "{queue}");
    }
}

#[test]
fn transactions_that_run_again_are_counted() {
    let setup = Setup::on(Engine::ReplicaSet);
    let watched = [Watched::start(&setup), Watched::start(&setup)];
    let client = random_hex(12);
    let retries = || -> f64 {
        let of =
            |watched: &Watched| watched.scrape().value("viveka_transaction_retries_total", &[("reason", "conflict")]);
        watched.iter().map(of).sum()
    };
    // Two servers know nothing of each other's queues, so their batches meet in the database.
    eventually("two transactions meet", SOON, || {
        thread::scope(|scope| {
            for Watched { server, .. } in &watched {
                scope.spawn(|| Phone::of(server, &client).sync(&day()).expect_ok());
            }
        });
        (retries() >= 1.0).then_some(())
    });
}

#[test]
fn a_store_that_is_away_is_told() {
    let mut mongod = Mongod::start(Topology::ReplicaSet);
    let watched = Watched::start(&Setup::at(&mongod));
    let up = |value: f64| (watched.scrape().value("viveka_store_up", &[]) == value).then_some(());
    eventually("it is there", SOON, || up(1.0));
    mongod.kill();
    eventually("it is away", SOON, || up(0.0));
    let refused = [("code", "store_unavailable")];
    Phone::new(&watched.server).pull().expect_error(503, "store_unavailable");
    assert_eq!(watched.scrape().value("viveka_rejects_total", &refused), 1.0);
    mongod.restart();
    eventually("it is back", SOON, || up(1.0));
}

#[test]
fn metrics_are_on_their_own_port_or_nowhere() {
    let watched = Watched::on(Engine::Embedded);
    let get = |phone: &Phone, path: &str| phone.send(Request::new("GET", path).without_token());
    get(&Phone::new(&watched.server), "/metrics").expect_error(404, "not_found");
    for path in ["/", "/api/health", "/api/sync", "/metrics/x"] {
        assert_eq!(get(&watched.scraper, path).status, 404, "{path}");
    }
    let silent = Server::start_ready(&Setup::embedded());
    get(&Phone::new(&silent), "/metrics").expect_error(404, "not_found");
    assert!(!silent.log().iter().any(|line| line.contains("metrics")), "{:#?}", silent.log());
}

#[test]
fn a_port_for_metrics_that_cannot_be_had_stops_the_start() {
    let watched = Watched::on(Engine::Embedded);
    let port = watched.scraper.url.rsplit(':').next().unwrap().to_owned();
    let refusal = Server::refused(&Setup::embedded().env("METRICS_PORT", &port));
    assert!(refusal.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{refusal}");
    let refusal = Server::refused(&Setup::embedded().env("METRICS_PORT", "much"));
    assert!(refusal.contains("metrics-port") && refusal.lines().count() == 1, "{refusal}");
}

#[test]
fn a_stop_ends_the_metrics_too() {
    let mut watched = Watched::on(Engine::Embedded);
    assert_eq!(watched.server.terminate(), 0);
    watched.scraper.try_send(Request::new("GET", "/metrics")).expect_err("nobody listens");
}
