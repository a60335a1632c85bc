//! What is shown while a storm goes on: a bar on a terminal, else a plain line from time to time.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::measure::{CUT_OFF, Tally};
use crate::cli::output::counted;

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
            bar.set_style(style("{elapsed} [{bar:10}] {wide_msg}"));
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
        let text = told(tally, rate);
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => eprintln!("load {} s: {text}", elapsed.as_secs()),
        }
        if since >= PLAIN || self.bar.is_none() {
            self.told = (Instant::now(), syncs);
        }
    }

    /// The load is over: leaves a last line, with what came of all that was under way.
    pub fn end_load(&self, elapsed: Duration, tally: &Tally) {
        let rate = tally.syncs.count() as f64 / elapsed.as_secs_f64().max(0.001);
        let text = format!("load {} s: {}", elapsed.as_secs(), told(tally, rate));
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Failures come early: a narrow terminal cuts the end off.
fn told(tally: &Tally, rate: f64) -> String {
    let (syncs, failures) = (tally.syncs.count(), tally.failures());
    let (p50, p99) = (tally.syncs.at(0.5), tally.syncs.at(0.99));
    let cut_off = match tally.unanswered.get(CUT_OFF) {
        Some(requests) => format!(" ({requests} cut off)"),
        None => String::new(),
    };
    let (syncs, failures) = (counted(syncs, "sync"), counted(failures, "failure"));
    format!("{syncs}, {failures}{cut_off}, {rate:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::storm::measure::{Came, Event};

    #[test]
    fn eighty_columns_hold_the_failures() {
        let mut tally = Tally::new(Duration::from_secs(1));
        let took = Duration::from_secs(40);
        for _ in 0..99_999 {
            tally.take(Event::Acknowledged { took, operations: 1 });
            tally.take(Event::Request { took, came: Came::Nothing("gone".into()) });
        }
        tally.take(Event::CutOff(16));
        let line = told(&tally, 12_345.0);
        let before = "1m [----------] ".len();
        let failures = line.find(" failures (16 cut off)").unwrap();
        assert!(line.starts_with("99999 syncs, 100015 failures") && before + failures < 80, "{line}");
        assert!(before + line.find(" ms").unwrap() < 80, "{line}");
    }
}
