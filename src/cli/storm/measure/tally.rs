//! All figures of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use super::series::Series;
use super::{Came, Event, Latency};
use crate::cli::storm::audit::Problems;

/// What was counted and measured.
#[derive(Debug)]
pub struct Tally {
    /// From when a sync was due to its acknowledgement.
    pub syncs: Latency,
    /// From when a request was sent to the end of its answer.
    pub requests: Latency,
    /// What there was until the load ended, without what was still under way then.
    pub in_time: InTime,
    /// Whether the load has ended.
    pub is_over: bool,
    /// Operations of acknowledged syncs.
    pub operations: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the code of the error.
    pub codes: BTreeMap<Box<str>, u64>,
    /// Requests without an answer, by why there is none.
    pub unanswered: BTreeMap<Box<str>, u64>,
    /// Answers that were given before.
    pub replayed: u64,
    /// Requests on which phones hung up.
    pub hung_up: u64,
    /// Syncs that went on in a new batch.
    pub rebatched: u64,
    /// What phones found wrong.
    pub problems: Problems,
    /// What happened in each second.
    pub series: Series,
}

/// What rates are made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct InTime {
    /// Acknowledged syncs.
    pub syncs: u64,
    /// Operations of these.
    pub operations: u64,
    /// Answers of any kind.
    pub answers: u64,
}

/// Why there is no answer to a request that was under way when the load's patience ended.
pub const CUT_OFF: &str = "still under way when --patience ended";
/// More reasons for a failure than this are counted as others.
const MOST_REASONS: usize = 20;

impl Tally {
    /// Nothing yet, of a load of this duration.
    pub fn new(duration: Duration) -> Self {
        Self {
            syncs: Latency::new(),
            requests: Latency::new(),
            in_time: InTime::default(),
            is_over: false,
            operations: 0,
            statuses: BTreeMap::new(),
            codes: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            replayed: 0,
            hung_up: 0,
            rebatched: 0,
            problems: Problems::default(),
            series: Series::new(duration),
        }
    }

    /// Takes in what a phone tells.
    pub fn take(&mut self, event: Event) {
        self.take_in(event);
        if !self.is_over {
            self.in_time =
                InTime { syncs: self.syncs.count(), operations: self.operations, answers: self.requests.count() };
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Request { took, came } => self.request(took, came),
            Event::CutOff(requests) => self.cut_off(requests),
            Event::HungUp(requests) => self.hung_up += u64::from(requests),
            Event::Rebatched => self.rebatched += 1,
            Event::Acknowledged { took, operations } => {
                self.syncs.record(took);
                self.series.acknowledged(took);
                self.operations += u64::from(operations);
            }
            Event::Problem(problem) => self.problems.push(problem),
        }
    }

    /// Answers of any kind.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Answers other than 200, and requests without one.
    pub fn failures(&self) -> u64 {
        self.answers() - self.statuses.get(&200).unwrap_or(&0) + self.unanswered.values().sum::<u64>()
    }

    fn cut_off(&mut self, requests: u32) {
        if requests == 0 {
            return;
        }
        (0..requests).for_each(|_| self.series.answered(false, true));
        // It has its name however many others there are.
        *self.unanswered.entry(CUT_OFF.into()).or_default() += u64::from(requests);
    }

    fn request(&mut self, took: Duration, came: Came) {
        match came {
            Came::Answer { status, replayed, code } => {
                self.requests.record(took);
                self.series.answered(true, status != 200);
                *self.statuses.entry(status).or_default() += 1;
                self.replayed += u64::from(replayed);
                if let Some(code) = code {
                    count(&mut self.codes, code);
                }
            }
            Came::Nothing(why) => {
                self.series.answered(false, true);
                count(&mut self.unanswered, why);
            }
        }
    }
}

fn count(reasons: &mut BTreeMap<Box<str>, u64>, reason: Box<str>) {
    let reason = if reasons.len() < MOST_REASONS || reasons.contains_key(&reason) { reason } else { "others".into() };
    *reasons.entry(reason).or_default() += 1;
}
