//! A strict reader of Prometheus' text format, version 0.0.4: what it does not know, it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// All that one scrape has told.
pub struct Exposition {
    /// The metrics by their names.
    pub metrics: BTreeMap<String, Metric>,
}

/// One metric, as the scrape shows it.
#[derive(Default)]
pub struct Metric {
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// One line.
#[derive(Clone)]
pub struct Sample {
    /// With the `_bucket`, `_sum` or `_count` of a histogram.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Exposition {
    /// Reads a scrape, which must be right in every line.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut metrics = BTreeMap::<String, Metric>::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(about) = line.strip_prefix("# HELP ") {
                let (name, help) = about.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                current = name.to_owned();
                let new = Metric { help: help.to_owned(), ..Metric::default() };
                assert!(metrics.insert(current.clone(), new).is_none(), "told twice: {line}");
            } else if let Some(about) = line.strip_prefix("# TYPE ") {
                let (name, kind) = about.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert_eq!(name, current, "the help stands before the type: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                metrics.get_mut(name).unwrap().kind = kind.to_owned();
            } else {
                let sample = Sample::read(line);
                let metric = metrics.get_mut(&current).unwrap_or_else(|| panic!("nobody's: {line}"));
                let suffixes: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| sample.name == format!("{current}{suffix}")), "{line}");
                metric.samples.push(sample);
            }
        }
        let read = Self { metrics };
        read.check();
        read
    }

    /// The value of a series; 0 if it is not there.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let all = self.metrics.values().flat_map(|metric| &metric.samples);
        all.filter(|sample| sample.name == name && sample.labels == labels).map(|sample| sample.value).sum()
    }

    /// Everything that counts: counters, and how often histograms were told something.
    pub fn counts(&self) -> BTreeMap<String, i64> {
        let of = |metric: &Metric, sample: &Sample| metric.kind == "counter" || sample.name.ends_with("_count");
        let all = self.metrics.values().flat_map(|metric| metric.samples.iter().filter(|sample| of(metric, sample)));
        all.map(|sample| (sample.series(), sample.value as i64)).collect()
    }

    /// What was counted since an earlier scrape.
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, i64> {
        let before = earlier.counts();
        let change = |(series, now): (String, i64)| (before.get(&series).map_or(now, |before| now - before), series);
        self.counts().into_iter().map(change).filter(|(by, _)| *by != 0).map(|(by, series)| (series, by)).collect()
    }

    /// All series, without their values.
    pub fn series(&self) -> BTreeSet<String> {
        self.metrics.values().flat_map(|metric| metric.samples.iter().map(Sample::series)).collect()
    }

    fn check(&self) {
        let samples: usize = self.metrics.values().map(|metric| metric.samples.len()).sum();
        assert_eq!(self.series().len(), samples, "a series is told twice");
        for (name, metric) in &self.metrics {
            assert!(!metric.kind.is_empty() && !metric.help.is_empty(), "{name} has no type or no help");
            if metric.kind == "histogram" {
                metric.check_histogram(name);
            }
        }
    }
}

impl Metric {
    /// The buckets of each series grow to its count, and the last has no bound.
    fn check_histogram(&self, name: &str) {
        let without_bound = |sample: &Sample| Sample { name: String::new(), ..sample.clone() }.without("le").series();
        let ends =
            |suffix: &'static str| self.samples.iter().filter(move |sample| sample.name == format!("{name}{suffix}"));
        for count in ends("_count") {
            let own: Vec<_> =
                ends("_bucket").filter(|bucket| without_bound(bucket) == without_bound(count)).cloned().collect();
            let bounds: Vec<f64> = own.iter().map(|bucket| bucket.labels["le"].parse().unwrap()).collect();
            assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY), "{name}: {bounds:?}");
            let values: Vec<f64> = own.iter().map(|bucket| bucket.value).collect();
            assert!(values.is_sorted() && values.last() == Some(&count.value), "{name}: {values:?}");
        }
        assert_eq!(ends("_count").count(), ends("_sum").count(), "{name}");
        assert!(ends("_sum").all(|sum| sum.value >= 0.0), "{name}");
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("not closed: {line}"))),
            None => (series, ""),
        };
        let is_name = |text: &str| {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
        };
        assert!(is_name(name), "{line}");
        let mut pairs = BTreeMap::new();
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.unwrap_or_else(|| panic!("not quoted: {line}"));
            assert!(is_name(label) && !value.contains(['"', '\\']), "{line}");
            assert!(pairs.insert(label.to_owned(), value.to_owned()).is_none(), "{line}");
        }
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        Self { name: name.to_owned(), labels: pairs, value }
    }

    /// Its name and labels as text.
    pub fn series(&self) -> String {
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}{{{}}}", self.name, labels.join(","))
    }

    /// The same with one label less.
    pub fn without(mut self, label: &str) -> Self {
        self.labels.remove(label);
        self
    }
}
