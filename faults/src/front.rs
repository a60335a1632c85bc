//! Where phones send to, and how the fault driver follows what they achieve.

use std::sync::{Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

/// The addresses of the servers, as the phones know them. They change while phones are at work.
#[derive(Debug, Default)]
pub struct Front(RwLock<Vec<String>>);

impl Front {
    /// Sends phones to these base URLs from now on.
    pub fn set(&self, urls: Vec<String>) {
        *self.0.write().expect("no holder of this lock panics") = urls;
    }

    /// Where a phone's `attempt` goes; empty if there is no server.
    pub fn url(&self, attempt: usize) -> String {
        let urls = self.0.read().expect("no holder of this lock panics");
        if urls.is_empty() { String::new() } else { urls[attempt % urls.len()].clone() }
    }
}

/// How far the phones are.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// For each shop, when its batches were acknowledged.
    acknowledged: Vec<Vec<Instant>>,
    /// For each shop, how many of its phones still have something to send.
    working: Vec<usize>,
}

impl Progress {
    /// Of this many shops with so many phones each.
    pub fn new(shops: usize, phones: usize) -> Self {
        let state = State { acknowledged: vec![Vec::new(); shops], working: vec![phones; shops] };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Notes that a batch of a shop was acknowledged.
    pub fn acknowledged(&self, shop: usize) {
        self.lock().acknowledged[shop].push(Instant::now());
        self.changed.notify_all();
    }

    /// Notes that a phone of a shop has nothing left to send.
    pub fn finished(&self, shop: usize) {
        self.lock().working[shop] -= 1;
        self.changed.notify_all();
    }

    /// Waits until this many batches are acknowledged; false if the phones will not get that far.
    pub fn reach(&self, batches: usize) -> bool {
        let enough = |state: &State| state.acknowledged.iter().map(Vec::len).sum::<usize>() >= batches;
        self.wait(LONGEST, |state| (enough(state) || state.is_over()).then(|| !state.is_over())).unwrap_or(false)
    }

    /// Whether all phones are done.
    pub fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// How long after `repaired` it took until every shop that still had something to send got an answer.
    /// The error is for one that got none within `limit`.
    pub fn recovery(&self, repaired: Instant, limit: Duration) -> Result<Duration, String> {
        let all = |state: &State| {
            let shops = state.acknowledged.iter().zip(&state.working);
            let served = shops.map(|(acknowledged, working)| {
                let first = acknowledged.iter().find(|at| **at > repaired);
                first.map(|at| *at - repaired).or((*working == 0).then_some(Duration::ZERO))
            });
            served.collect::<Option<Vec<_>>>().map(|all| all.into_iter().max().unwrap_or_default())
        };
        let took = self.wait(LONGEST, all).ok_or(format!("a shop got no answer within {LONGEST:?}"))?;
        if took <= limit {
            Ok(took)
        } else {
            Err(format!("a shop got its answer after {took:?}, not within {limit:?}"))
        }
    }

    fn wait<T>(&self, within: Duration, probe: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(value) = probe(&state) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).expect("no holder of this lock panics").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.working.iter().all(|phones| *phones == 0)
    }
}

/// Longer than anything takes that still works.
const LONGEST: Duration = Duration::from_secs(90);
