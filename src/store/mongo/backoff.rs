//! How long to wait before another try.

use std::time::Duration;

/// Waits that double up to a longest one, each shortened by chance, so that those who met once do not
/// meet again.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);
    const LONGEST_FOR_A_GAP: Duration = Duration::from_millis(50);

    /// From 5 ms to 500 ms, for those who got into each other's way.
    pub fn new() -> Self {
        Self::between(Self::FIRST, Self::LONGEST)
    }

    /// From 5 ms to 50 ms, for a batch that meets batches of its client from another server: each is done in some
    /// milliseconds, and who looks too seldom finds no gap between them.
    pub fn for_a_gap() -> Self {
        Self::between(Self::FIRST, Self::LONGEST_FOR_A_GAP)
    }

    /// From `first` to `longest`.
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    pub async fn wait(&mut self) {
        // Without chance it still is a wait.
        let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        tokio::time::sleep(self.next.mul_f64(chance)).await;
        self.next = (self.next * 2).min(self.longest);
    }
}
