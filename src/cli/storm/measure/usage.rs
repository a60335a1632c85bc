//! What the load costs the machine that makes it. A generator at its limit measures itself.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::Latency;

/// What this process used while the load ran.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Seconds of processor time, of the program and the system for it; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// How many processors it may use.
    pub cores: usize,
    /// The share of these that it used, 0 to 1.
    pub cpu_share: Option<f64>,
    /// How late its own timers rang, in milliseconds: 99 of 100 no later. It is in every latency that is measured.
    pub lag_p99_ms: f64,
    /// Why the figures may show the generator in place of the server, if they may.
    pub near_its_limit: Option<Limit>,
}

/// What keeps a generator from measuring well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// It uses most of the processors itself.
    Busy,
    /// It waits for a processor that others use: a server on the same machine, for one.
    Starved,
}

/// Watches this process.
pub struct Watch {
    started: Instant,
    cpu: Option<Duration>,
}

/// A generator that uses more than this share of all processors leaves little for others.
const BUSY: f64 = 0.7;
/// Timers are good for a millisecond; later than this, the process waits for a processor.
const LATE_MS: f64 = 20.0;
/// How often a timer is set to see how late it rings.
const PROBE: Duration = Duration::from_millis(10);

impl Watch {
    /// From now on.
    pub fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu_time() }
    }

    /// Up to now, with what [`lags`] has measured.
    pub fn end(self, lags: &Latency) -> Usage {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let cpu = self.cpu.zip(cpu_time()).map(|(before, now)| now.saturating_sub(before));
        let possible = self.started.elapsed().as_secs_f64() * cores as f64;
        let share = cpu.map(|cpu| rounded(cpu.as_secs_f64() / possible.max(f64::EPSILON)));
        let lag = lags.at(0.99);
        Usage {
            cpu_seconds: cpu.map(|cpu| rounded(cpu.as_secs_f64())),
            cores,
            cpu_share: share,
            lag_p99_ms: lag,
            near_its_limit: match share {
                Some(share) if share > BUSY => Some(Limit::Busy),
                _ => (lag > LATE_MS).then_some(Limit::Starved),
            },
        }
    }
}

/// Measures how late timers ring, until it is dropped.
pub async fn lags(into: &mut Latency) {
    loop {
        let set = Instant::now();
        sleep(PROBE).await;
        into.record(set.elapsed().saturating_sub(PROBE));
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(target_os = "linux")]
fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Option<Duration> {
    None
}
