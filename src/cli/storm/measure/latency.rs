//! Latencies, each kept with 3 digits, however many there are.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution of latencies, in microseconds within.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// The quantiles that are told, each with its name for machines.
pub const QUANTILES: [(&str, f64); 7] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

/// Some figures of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 of 100 are no larger.
    pub p90: f64,
    /// 99 of 100 are no larger.
    pub p99: f64,
    /// 999 of 1,000 are no larger.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// The name of a quantile for people: `p999` is p99.9.
pub fn shown(name: &str) -> String {
    match name.split_at_checked("p99".len()) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{whole}.{fraction}"),
        _ => name.to_owned(),
    }
}

impl Latency {
    /// Longer ones count as an hour.
    const LONGEST: u64 = 3_600_000_000;
    const DIGITS: u8 = 3;

    /// An empty one.
    pub fn new() -> Self {
        let empty = Histogram::new_with_bounds(1, Self::LONGEST, Self::DIGITS);
        Self(empty.expect("these bounds and digits are allowed"))
    }

    /// Takes one in.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(Self::LONGEST);
        self.0.saturating_record(micros.max(1));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of all does not exceed, in milliseconds.
    pub fn at(&self, share: f64) -> f64 {
        millis(self.0.value_at_quantile(share))
    }

    /// The largest, in milliseconds.
    pub fn max(&self) -> f64 {
        millis(self.0.max())
    }

    /// The figures that are told.
    pub fn quantiles(&self) -> Quantiles {
        if self.count() == 0 {
            return Quantiles::default();
        }
        Quantiles {
            count: self.count(),
            min: millis(self.0.min()),
            mean: self.0.mean().round() / 1000.0,
            p50: self.at(0.5),
            p90: self.at(0.9),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.max(),
        }
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_shares() {
        for (name, share) in QUANTILES {
            let percent: f64 = shown(name).trim_start_matches('p').parse().unwrap();
            assert!((percent - share * 100.0).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn an_empty_one_is_all_zero() {
        assert_eq!(Latency::new().quantiles(), Quantiles::default());
    }

    #[test]
    fn what_is_too_long_or_too_short_counts_as_the_bound() {
        let mut latency = Latency::new();
        latency.record(Duration::ZERO);
        latency.record(Duration::MAX);
        let told = latency.quantiles();
        assert_eq!((told.count, told.min), (2, 0.001));
        assert!((told.max - 3_600_000.0).abs() < 3_600.0, "{told:?}");
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_3_digits(mut micros in prop::collection::vec(1_u64..60_000_000, 1..300)) {
            let mut latency = Latency::new();
            micros.iter().for_each(|micros| latency.record(Duration::from_micros(*micros)));
            micros.sort_unstable();
            for (_, share) in QUANTILES {
                let rank = ((micros.len() as f64 * share).ceil() as usize).max(1);
                let exact = micros[rank - 1] as f64 / 1000.0;
                prop_assert!((latency.at(share) - exact).abs() <= exact / 1000.0 + 0.001, "{share}: {} {exact}", latency.at(share));
            }
        }
    }
}
