//! How long to wait before another try.

use std::time::Duration;

/// Waits that double from 5 ms to 500 ms, each shortened by chance, so that those who met once do not
/// meet again.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);

    pub fn new() -> Self {
        Self(Self::FIRST)
    }

    pub async fn wait(&mut self) {
        // Without chance it still is a wait.
        let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        tokio::time::sleep(self.0.mul_f64(chance)).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
