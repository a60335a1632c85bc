//! What is shown while a storm goes on: a bar on a terminal, else a plain line from time to time.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::measure::Tally;

/// The live view, on the standard error stream.
#[derive(Debug)]
pub struct Live {
    bar: Option<ProgressBar>,
    /// When the last plain line was printed, and how many syncs there were then.
    told: (Instant, u64),
    duration: Duration,
}

/// How often a plain line is printed.
const PLAIN: Duration = Duration::from_secs(5);

impl Live {
    /// Of a load of this duration.
    pub fn new(duration: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
        Self { bar, told: (Instant::now(), 0), duration }
    }

    /// Begins a step of so many parts.
    pub fn begin(&mut self, what: &str, parts: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(style("{prefix} [{wide_bar}] {pos} of {len}"));
                bar.set_prefix(what.to_owned());
                bar.reset();
                bar.set_length(parts);
            }
            None => eprintln!("{what}: {parts}"),
        }
    }

    /// A part of the step is done.
    pub fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// The load begins.
    pub fn begin_load(&mut self) {
        self.told = (Instant::now(), 0);
        if let Some(bar) = &self.bar {
            bar.set_style(style("load {elapsed} [{bar:20}] {wide_msg}"));
            bar.reset();
            bar.set_length(millis(self.duration));
        }
    }

    /// Shows how the load goes.
    pub fn load(&mut self, elapsed: Duration, tally: &Tally) {
        let syncs = tally.syncs.count();
        if let Some(bar) = &self.bar {
            bar.set_position(millis(elapsed.min(self.duration)));
        } else if self.told.0.elapsed() < PLAIN {
            return;
        }
        let since = self.told.0.elapsed();
        let rate = (syncs - self.told.1) as f64 / since.as_secs_f64().max(0.001);
        let (p50, p99) = (tally.syncs.at(0.5), tally.syncs.at(0.99));
        let failures = tally.failures();
        let text = format!("{syncs} syncs, {rate:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms, {failures} failures");
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => eprintln!("load {} s: {text}", elapsed.as_secs()),
        }
        if since >= PLAIN || self.bar.is_none() {
            self.told = (Instant::now(), syncs);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
