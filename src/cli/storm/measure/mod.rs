//! What is measured while the load runs. Phones tell what happens to one task, which alone keeps the figures: no phone
//! ever waits for another one to write them down.

mod latency;
mod series;
mod tally;
mod usage;

use std::time::Duration;

pub use latency::{Latency, QUANTILES, Quantiles, shown};
pub use series::Point;
pub use tally::{CUT_OFF, InTime, Tally};
pub use usage::{Limit, Usage, Watch, lags};

/// What a phone tells.
#[derive(Debug)]
pub enum Event {
    /// A request was answered, or failed.
    Request {
        /// From when it was sent to the last byte of its answer.
        took: Duration,
        /// What came.
        came: Came,
    },
    /// So many requests had no answer when the load's patience ended, and were given up.
    CutOff(u32),
    /// The phone hung up on so many requests.
    HungUp(u32),
    /// It put the operations into a new batch.
    Rebatched,
    /// A sync was acknowledged.
    Acknowledged {
        /// From when it was due to the first acknowledgement.
        took: Duration,
        /// How many operations it had.
        operations: u32,
    },
    /// Something is wrong.
    Problem(String),
}

/// What came of a request.
#[derive(Debug)]
pub enum Came {
    /// An answer.
    Answer {
        /// Its status.
        status: u16,
        /// `Idempotency-Replayed`.
        replayed: bool,
        /// The code of an error.
        code: Option<Box<str>>,
    },
    /// None, and why.
    Nothing(Box<str>),
}
