//! Who waits in a store, for the metrics.

use crate::metrics::{Queue, WAITING};

/// One that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting(());

impl Waiting {
    /// Begins to wait.
    pub fn begin() -> Self {
        WAITING.of(Queue::Store).increment(1);
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.of(Queue::Store).decrement(1);
    }
}
