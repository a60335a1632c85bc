//! A metric: what it is called and measures, and its series, one for each value of its labels.
//!
//! A series is looked up once and kept, so that counting costs an atomic addition, and next to nothing where no
//! recorder is installed.

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use super::labels::Labels;

/// A metric of one kind with a series for each value of its labels.
pub struct Family<I, L> {
    name: &'static str,
    help: &'static str,
    buckets: &'static [f64],
    series: OnceLock<Box<[OnceLock<I>]>>,
    labels: PhantomData<fn(L)>,
}

/// What is known of a metric without touching it.
pub trait Declared: Sync {
    /// Its name, as Prometheus shows it.
    fn name(&self) -> &'static str;

    /// What it says, in one sentence.
    fn help(&self) -> &'static str;

    /// `counter`, `gauge` or `histogram`.
    fn kind(&self) -> &'static str;

    /// The labels of all series that it can ever have, each with its name and value.
    fn series(&self) -> Vec<Vec<(&'static str, &'static str)>>;

    /// The upper bounds of a histogram's buckets; none for other kinds.
    fn buckets(&self) -> &'static [f64];

    /// Tells the recorder of it, and begins the series that are there from the start, at zero: a rate cannot be told
    /// from a series that begins with its first event.
    fn begin(&self);
}

/// A kind of series.
pub trait Series: Sized + Send + Sync + 'static {
    /// Its name in the exposition format.
    const KIND: &'static str;

    /// Asks the recorder for one.
    fn register(name: &'static str, labels: Vec<Label>) -> Self;

    /// Tells the recorder what a metric of this kind is for.
    fn describe(name: &'static str, help: &'static str);
}

impl<I: Series, L: Labels> Family<I, L> {
    /// Declares a metric; a histogram has the upper bounds of its buckets.
    pub(super) const fn new(name: &'static str, help: &'static str, buckets: &'static [f64]) -> Self {
        Self { name, help, buckets, series: OnceLock::new(), labels: PhantomData }
    }

    /// The series of this value of the labels.
    pub fn of(&self, labels: L) -> &I {
        let series = self.series.get_or_init(|| (0..L::COUNT).map(|_| OnceLock::new()).collect());
        series[labels.index()].get_or_init(|| {
            let pairs = labels.pairs().into_iter();
            I::register(self.name, pairs.map(|(name, value)| Label::from_static_parts(name, value)).collect())
        })
    }
}

impl<L: Labels> Family<Counter, L> {
    /// Counts one.
    pub fn count(&self, labels: L) {
        self.of(labels).increment(1);
    }
}

impl<L: Labels> Family<Gauge, L> {
    /// Says how much it is now.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people, and 2^53 of anything is enough")]
    pub fn set(&self, labels: L, value: u64) {
        self.of(labels).set(value as f64);
    }
}

impl<L: Labels> Family<Histogram, L> {
    /// Takes note of how long something took.
    pub fn took(&self, labels: L, time: Duration) {
        self.of(labels).record(time);
    }
}

impl<I: Series, L: Labels> Declared for Family<I, L> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn kind(&self) -> &'static str {
        I::KIND
    }

    fn series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        L::all().into_iter().map(Labels::pairs).collect()
    }

    fn buckets(&self) -> &'static [f64] {
        self.buckets
    }

    fn begin(&self) {
        I::describe(self.name, self.help);
        if L::FROM_THE_START {
            for labels in L::all() {
                self.of(labels);
            }
        }
    }
}

impl Series for Counter {
    const KIND: &'static str = "counter";

    fn register(name: &'static str, labels: Vec<Label>) -> Self {
        metrics::counter!(name, labels)
    }

    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_counter!(name, help);
    }
}

impl Series for Gauge {
    const KIND: &'static str = "gauge";

    fn register(name: &'static str, labels: Vec<Label>) -> Self {
        metrics::gauge!(name, labels)
    }

    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_gauge!(name, help);
    }
}

impl Series for Histogram {
    const KIND: &'static str = "histogram";

    fn register(name: &'static str, labels: Vec<Label>) -> Self {
        metrics::histogram!(name, labels)
    }

    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_histogram!(name, help);
    }
}
