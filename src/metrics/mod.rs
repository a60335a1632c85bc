//! What a server counts: all metrics, with their names, kinds, labels and what they say, declared in one place.
//!
//! They are for Prometheus, through the crates `metrics` and `metrics-exporter-prometheus`. Without
//! [`install`] nothing is recorded. `docs/operations/metrics.md` says how to use them; a test holds that page, the
//! dashboard and the alert rules in `ops/` against this file.

mod family;
mod labels;

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use family::{Declared, Family};
pub use labels::{
    CacheName, Code, Engine, Labels, Lookup, OperationKind, Phase, Queue, Replay, Retry, Route, Status, Version,
};

/// Declares metrics: the name in the code, kind and labels, buckets, the name that is shown, and what it says.
macro_rules! declare {
    ($($metric:ident: $series:ident<$labels:ty> $([$buckets:ident])? = $name:literal, $help:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help, ".")]
            pub static $metric: Family<$series, $labels> = Family::new($name, $help, declare!(@buckets $($buckets)?));
        )+

        /// All metrics.
        pub static DECLARED: &[&dyn Declared] = &[$(&$metric),+];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

declare! {
    REQUESTS: Counter<(Route, Status)> = "viveka_requests_total",
        "Requests that were answered, by route and status";
    REQUEST_TIME: Histogram<Route> [SECONDS] = "viveka_request_duration_seconds",
        "Time from a request's head to the beginning of its answer, less that of reading its body";
    REJECTS: Counter<Code> = "viveka_rejects_total",
        "Requests that were answered with an error, by its code";
    HANGUPS: Counter<Route> = "viveka_hangups_total",
        "Requests whose phone hung up before the answer, by route";
    PHASES: Histogram<Phase> [SECONDS] = "viveka_phase_duration_seconds",
        "Time that requests spent in each part of the work";
    BATCH_OPERATIONS: Histogram<()> [OPERATIONS] = "viveka_batch_operations",
        "Operations of well-formed batches, as they were sent; pulls are none";
    COMMITS: Counter<()> = "viveka_commits_total",
        "Batches that were committed; replays are none";
    OPERATIONS_DONE: Counter<OperationKind> = "viveka_operations_total",
        "Operations of batches that were committed, by what they do";
    REPLAYS: Counter<Replay> = "viveka_replays_total",
        "Batches that had been committed before and were not applied again, by who knew";
    RETRIES: Counter<Retry> = "viveka_transaction_retries_total",
        "MongoDB transactions, or their commits, that were run again, by reason";
    LOOKUPS: Counter<(CacheName, Lookup)> = "viveka_cache_lookups_total",
        "Datasets and finished answers that were looked for in memory";
    CACHE_BYTES: Gauge<CacheName> = "viveka_cache_bytes",
        "Bytes that are kept in memory to be shown again";
    IN_FLIGHT: Gauge<()> = "viveka_requests_in_flight",
        "Requests that have a place: they are handled, wait, or their answers are being sent";
    MOST_IN_FLIGHT: Gauge<()> = "viveka_requests_limit",
        "Places for requests (MAX_REQUESTS)";
    WAITING: Gauge<Queue> = "viveka_queue_depth",
        "Requests that wait, by what for";
    MEMORY_USED: Gauge<()> = "viveka_memory_used_bytes",
        "Bytes of the memory budget that requests and their answers hold";
    MEMORY_BUDGET: Gauge<()> = "viveka_memory_budget_bytes",
        "The memory budget in bytes (MEMORY_BUDGET_BYTES)";
    STORE_UP: Gauge<()> = "viveka_store_up",
        "Whether the store can take batches: 1 or 0";
    BUILD: Gauge<(Version, Engine)> = "viveka_build_info",
        "Always 1; its labels say which version runs on which engine";
}

/// From a tenth of a millisecond, a small batch on the embedded engine, to as long as phones wait.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Up to the most that is allowed by default.
const OPERATIONS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// Why metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("cannot record metrics: {0}")]
pub struct InstallError(String);

/// All metrics as Prometheus reads them.
#[derive(Debug, Clone)]
pub struct Exposition(PrometheusHandle);

/// Records from now on, in this process. What was counted before is lost, so it is called first of all.
///
/// # Errors
/// [`InstallError`] if something else records already.
pub fn install() -> Result<Exposition, InstallError> {
    static INSTALLED: OnceLock<Exposition> = OnceLock::new();
    if let Some(installed) = INSTALLED.get() {
        return Ok(installed.clone());
    }
    let failed = |error: &dyn std::fmt::Display| InstallError(error.to_string());
    let mut builder = PrometheusBuilder::new();
    for metric in DECLARED.iter().filter(|metric| !metric.buckets().is_empty()) {
        let name = Matcher::Full(metric.name().to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets()).map_err(|e| failed(&e))?;
    }
    let recorder = builder.build_recorder();
    let exposition = Exposition(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(|e| failed(&e))?;
    DECLARED.iter().for_each(|metric| metric.begin());
    Ok(INSTALLED.get_or_init(|| exposition).clone())
}

impl Exposition {
    /// The media type of [`Exposition::text`].
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// All series now, in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.0.render()
    }

    /// Adds up what histograms were told since the last time. Without it, and without anybody who asks for the text,
    /// that would be kept for ever.
    pub fn add_up(&self) {
        self.0.run_upkeep();
    }
}
