//! What happened in each second, for the curves.

use std::time::Duration;

use serde::Serialize;

use super::Latency;

/// One point of the curves. Latencies are in milliseconds, those of syncs from when they were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When it ends, in seconds from the start of the load.
    pub second: f64,
    /// Syncs that were acknowledged, each second.
    pub syncs_per_second: f64,
    /// Answers of any kind, each second.
    pub answers_per_second: f64,
    /// Requests that were answered with anything but 200 or not at all, each second.
    pub failures_per_second: f64,
    /// The median; none if nothing was acknowledged.
    pub p50: Option<f64>,
    /// 99 of 100 are no larger.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// The points, of one second each. In a long run they are longer, so that there are not too many.
#[derive(Debug)]
pub struct Series {
    width: Duration,
    points: Vec<Point>,
    begun: Duration,
    latency: Latency,
    answers: u64,
    failures: u64,
}

impl Series {
    const MOST: u32 = 600;

    /// An empty one for a load of this duration.
    pub fn new(duration: Duration) -> Self {
        Self {
            width: Duration::from_secs(duration.as_secs().div_ceil(Self::MOST.into()).max(1)),
            points: Vec::new(),
            begun: Duration::ZERO,
            latency: Latency::new(),
            answers: 0,
            failures: 0,
        }
    }

    /// Ends the points that are over by now.
    pub fn advance(&mut self, now: Duration) {
        while now >= self.begun + self.width {
            self.end(self.width);
        }
    }

    /// Takes in an acknowledged sync.
    pub fn acknowledged(&mut self, took: Duration) {
        self.latency.record(took);
    }

    /// Takes in what came of a request.
    pub fn answered(&mut self, is_answer: bool, is_failure: bool) {
        self.answers += u64::from(is_answer);
        self.failures += u64::from(is_failure);
    }

    /// All points up to now.
    pub fn finish(mut self, now: Duration) -> Vec<Point> {
        self.advance(now);
        let rest = now.saturating_sub(self.begun);
        // What is left of a point says little of a rate, unless there is nothing else.
        if self.points.is_empty() || rest * 2 > self.width {
            self.end(rest.max(Duration::from_millis(1)));
        }
        self.points
    }

    fn end(&mut self, width: Duration) {
        self.begun += width;
        let each_second = |count: u64| (count as f64 / width.as_secs_f64() * 10.0).round() / 10.0;
        let some = self.latency.count() > 0;
        self.points.push(Point {
            second: self.begun.as_secs_f64(),
            syncs_per_second: each_second(self.latency.count()),
            answers_per_second: each_second(self.answers),
            failures_per_second: each_second(self.failures),
            p50: some.then(|| self.latency.at(0.5)),
            p99: some.then(|| self.latency.at(0.99)),
            max: some.then(|| self.latency.max()),
        });
        self.latency.clear();
        (self.answers, self.failures) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_has_its_point_and_an_idle_one_has_no_latency() {
        let mut series = Series::new(Duration::from_secs(4));
        series.acknowledged(Duration::from_millis(3));
        series.answered(true, false);
        series.answered(false, true);
        series.advance(Duration::from_millis(2_200));
        series.acknowledged(Duration::from_millis(5));
        let points = series.finish(Duration::from_millis(2_800));
        assert_eq!(points.iter().map(|point| point.second).collect::<Vec<_>>(), [1.0, 2.0, 2.8]);
        assert_eq!(
            (points[0].syncs_per_second, points[0].answers_per_second, points[0].failures_per_second),
            (1.0, 1.0, 1.0)
        );
        assert_eq!((points[0].p50.map(f64::round), points[1].p99), (Some(3.0), None));
        assert_eq!(points[2].syncs_per_second, 1.3);
    }

    #[test]
    fn a_long_run_has_no_more_points_than_a_page_can_show() {
        let day = Duration::from_secs(86_400);
        let mut series = Series::new(day);
        series.advance(day);
        assert_eq!(series.finish(day).len(), 600);
    }
}
