//! Ways to do the same work: measured one by one by divan, and in turns for a table of ratios.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use divan::Bencher;

/// A piece of work: the least that it could cost, and ways that really do it.
pub struct Comparison {
    /// What is done.
    pub work: &'static str,
    /// The least that it could cost.
    pub floor: Way,
    /// What is compared with that.
    pub beside: &'static [Way],
}

/// One way to do a piece of work.
pub struct Way {
    /// How it is done.
    pub name: &'static str,
    /// Makes what it needs, which is not measured.
    pub prepare: fn() -> Option<Round>,
}

/// Does the work once. There is none if this machine lacks something, which was told then.
pub type Round = Box<dyn FnMut()>;

/// Work that can be done here.
pub fn round(work: impl FnMut() + 'static) -> Option<Round> {
    Some(Box::new(work))
}

/// A way to do a certain work, as divan shows it and is asked for it.
#[derive(Clone, Copy)]
pub struct Case {
    work: &'static str,
    way: &'static Way,
}

/// The works of which divan was asked for a part.
static MEASURED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl Comparison {
    /// All ways, the floor first.
    pub fn cases(&'static self) -> impl Iterator<Item = Case> {
        self.ways().map(|way| Case { work: self.work, way })
    }

    fn ways(&'static self) -> impl Iterator<Item = &'static Way> {
        std::iter::once(&self.floor).chain(self.beside)
    }
}

impl Case {
    /// Lets divan measure it.
    pub fn measure(self, bencher: Bencher<'_, '_>) {
        if let Some(round) = (self.way.prepare)() {
            MEASURED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.work);
            bencher.bench_local(round);
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.work, self.way.name)
    }
}

/// Prints the ratios of those that divan measured.
#[expect(clippy::print_stdout, reason = "the ratios are what a bench is for")]
pub fn print_table(comparisons: impl Iterator<Item = &'static Comparison>) {
    let measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\nMedians of rounds that were taken in turns:\n");
    println!("| work | way | median | floor | its median | ratio |");
    println!("|---|---|---:|---|---:|---:|");
    for comparison in comparisons.filter(|comparison| measured.contains(comparison.work)) {
        let medians = medians(comparison);
        for (way, median) in comparison.beside.iter().zip(&medians[1..]) {
            let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
            let (work, floor) = (comparison.work, comparison.floor.name);
            println!("| {work} | {} | {} | {floor} | {} | {ratio:.2} |", way.name, shown(*median), shown(medians[0]));
        }
    }
}

/// Of all ways, the floor first. They take turns, so that a noisy machine is noisy for all.
fn medians(comparison: &'static Comparison) -> Vec<Duration> {
    const ROUNDS: usize = 101;
    const LONGEST: Duration = Duration::from_secs(10);
    let rounds = comparison.ways().map(|way| (way.prepare)().expect("it was there for divan"));
    let mut ways: Vec<_> = rounds.map(|round| (round, Vec::with_capacity(ROUNDS))).collect();
    ways.iter_mut().for_each(|(round, _)| round());
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        for (round, times) in &mut ways {
            let started = Instant::now();
            round();
            times.push(started.elapsed());
        }
        if begin.elapsed() > LONGEST {
            break;
        }
    }
    ways.into_iter().map(|(_, times)| median(times)).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.1} µs") } else { format!("{:.2} ms", micros / 1e3) }
}
