//! How much of the server each client may use at once.
//!
//! A request that has shown its token takes a place before its body is read, and memory before it is
//! allocated; both are shares of a bounded supply (`shares`), and what cannot be had is refused at once,
//! when nothing has been applied. Work then waits for its client's turn (`turns`). Whoever waits holds no
//! turn that another's answer depends on: a batch ends its execution before its answer is made, and a
//! request that shares another's execution has no turn at all.

mod body;
mod shares;
mod turns;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::error::ApiError;
use super::trace::Trace;
use crate::metrics::{self, Phase, Queue};
use crate::model::ClientId;
pub use body::HeldBody;
use shares::Shares;
use turns::{Turn, Turns};

/// The bounds of everything at once.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Requests that are handled or wait.
    pub requests: usize,
    /// Batches that are executed.
    pub batches: usize,
    /// Bytes that bodies, what is made of them, datasets and answers take in memory.
    pub memory: usize,
}

/// Lets requests in.
#[derive(Debug)]
pub struct Admission {
    shares: Mutex<Supplies>,
    batches: Turns,
    answers: Turns,
    computations: Turns,
    answer_sizes: Cache<ClientId, usize>,
    in_flight: TaskTracker,
}

#[derive(Debug)]
struct Supplies {
    requests: Shares<ClientId>,
    memory: Shares<ClientId>,
}

/// A request that was let in, with its place and its memory, until the last clone is dropped. Work that
/// may outlive the request's handler holds a clone.
#[derive(Debug, Clone)]
pub struct Admitted(Arc<Place>);

#[derive(Debug)]
struct Place {
    client: ClientId,
    memory: AtomicUsize,
    admission: Arc<Admission>,
    trace: Arc<Trace>,
    _in_flight: TaskTrackerToken,
}

/// How long anything may wait for its turn. From then on a phone does better to come back.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(20);

impl Admission {
    /// Datasets that are read and encoded at once: as many as keep a database busy.
    const ANSWERS: usize = 8;
    /// What an answer is believed to take in memory while nobody knows.
    const UNKNOWN_ANSWER: usize = 64 << 10;
    const KNOWN_ANSWERS: u64 = 100_000;

    /// Nobody is in yet. Whoever is counts in `in_flight`.
    pub fn new(capacity: Capacity, in_flight: TaskTracker) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let supplies = Supplies { requests: Shares::new(capacity.requests), memory: Shares::new(capacity.memory) };
        Self {
            shares: Mutex::new(supplies),
            // Those of one client wait for each other in the store, where the others' would wait for them.
            batches: Turns::new(capacity.batches, 4),
            answers: Turns::new(Self::ANSWERS.max(2 * cores), 2),
            // More at once would only share the cores and hold more in memory.
            computations: Turns::new(2 * cores, 2),
            answer_sizes: Cache::new(Self::KNOWN_ANSWERS),
            in_flight,
        }
    }

    /// Gives a request of this client a place.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] at once if the client has its share of places already.
    pub fn enter(self: &Arc<Self>, client: ClientId, trace: Arc<Trace>) -> Result<Admitted, ApiError> {
        let entered = self.supplies().requests.take(client, 1);
        let place = || Place {
            client,
            memory: AtomicUsize::new(0),
            admission: Arc::clone(self),
            trace,
            _in_flight: self.in_flight.token(),
        };
        entered.then(|| Admitted(Arc::new(place()))).ok_or(ApiError::Overloaded)
    }

    /// Says how much is taken and who waits.
    pub fn measure(&self) {
        let supplies = self.supplies();
        let [(in_flight, places), (used, budget)] = [&supplies.requests, &supplies.memory].map(Shares::taken);
        drop(supplies);
        metrics::IN_FLIGHT.set((), in_flight as u64);
        metrics::MOST_IN_FLIGHT.set((), places as u64);
        metrics::MEMORY_USED.set((), used as u64);
        metrics::MEMORY_BUDGET.set((), budget as u64);
        metrics::WAITING.set(Queue::Execute, self.batches.waiting() as u64);
        metrics::WAITING.set(Queue::Answer, self.answers.waiting() as u64);
        metrics::WAITING.set(Queue::Compute, self.computations.waiting() as u64);
    }

    fn supplies(&self) -> MutexGuard<'_, Supplies> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Whose request it is.
    pub fn client(&self) -> ClientId {
        self.0.client
    }

    /// What is told of the request when it is done.
    pub fn trace(&self) -> &Arc<Trace> {
        &self.0.trace
    }

    /// Says how much memory the request takes from now on, in bytes, in all; to be called before more is
    /// allocated, and after less is needed. A request that takes more than any client ever may counts as
    /// the most that one may, so that it can be served when little else is going on.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] at once if there is not so much; the request then holds what it held.
    pub fn hold(&self, bytes: usize) -> Result<(), ApiError> {
        let mut supplies = self.0.admission.supplies();
        let (held, wanted) = (self.0.memory.load(Ordering::Relaxed), bytes.min(supplies.memory.most()));
        if wanted > held && !supplies.memory.take(self.0.client, wanted - held) {
            return Err(ApiError::Overloaded);
        }
        supplies.memory.give_back(self.0.client, held.saturating_sub(wanted));
        self.0.memory.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    /// Holds so many bytes more than before.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`], as [`Admitted::hold`].
    pub fn hold_more(&self, bytes: usize) -> Result<(), ApiError> {
        self.hold(self.0.memory.load(Ordering::Relaxed).saturating_add(bytes))
    }

    /// Holds what the answer to this client is likely to take.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`], as [`Admitted::hold`].
    pub fn hold_likely_answer(&self) -> Result<(), ApiError> {
        self.hold(self.likely_answer())
    }

    /// What the answer to this client is likely to take, in bytes.
    pub fn likely_answer(&self) -> usize {
        self.0.admission.answer_sizes.get(&self.0.client).unwrap_or(Admission::UNKNOWN_ANSWER)
    }

    /// Holds what the answer to this client does take, and remembers it for the next one.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`], as [`Admitted::hold`].
    pub fn hold_answer(&self, bytes: usize) -> Result<(), ApiError> {
        self.0.admission.answer_sizes.insert(self.0.client, bytes);
        self.hold(bytes)
    }

    /// Waits for the client's turn to execute a batch.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if it does not come in time.
    pub async fn turn_to_execute(&self) -> Result<Turn, ApiError> {
        self.turn(&self.0.admission.batches).await
    }

    /// Waits for the client's turn to read its dataset and encode it.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if it does not come in time.
    pub async fn turn_to_answer(&self) -> Result<Turn, ApiError> {
        self.turn(&self.0.admission.answers).await
    }

    /// Waits for the client's turn to keep a core busy. It may be waited for in a turn to execute or to
    /// answer; nothing else may be waited for in it.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if it does not come in time.
    pub async fn turn_to_compute(&self) -> Result<Turn, ApiError> {
        self.turn(&self.0.admission.computations).await
    }

    async fn turn(&self, turns: &Turns) -> Result<Turn, ApiError> {
        let turn = timeout(LONGEST_WAIT, turns.take(self.0.client));
        self.trace().during_async(Phase::Wait, turn).await.map_err(|_| ApiError::Overloaded)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut supplies = self.admission.supplies();
        supplies.requests.give_back(self.client, 1);
        supplies.memory.give_back(self.client, *self.memory.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Route;

    fn client(number: u32) -> ClientId {
        ClientId::from_verified_claim(&format!("{number:024x}")).unwrap()
    }

    fn enter(admission: &Arc<Admission>, number: u32) -> Result<Admitted, ApiError> {
        let trace = Trace::begin(number.to_string(), Route::Sync, "POST");
        admission.enter(client(number), Arc::new(trace))
    }

    fn admission(requests: usize, memory: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Capacity { requests, batches: 1, memory }, TaskTracker::new()))
    }

    #[test]
    fn one_client_leaves_places_for_another() {
        let admission = admission(4, 1000);
        let mut inside = vec![enter(&admission, 1).unwrap(), enter(&admission, 1).unwrap()];
        assert!(matches!(enter(&admission, 1), Err(ApiError::Overloaded)));
        inside.push(enter(&admission, 2).unwrap());
        inside.remove(0);
        enter(&admission, 2).expect_err("two are in, and one of them is its own");
        inside.clear();
        assert_eq!(admission.in_flight.len(), 0);
        enter(&admission, 2).expect("all is free");
    }

    #[test]
    fn memory_is_held_and_given_back() {
        let admission = admission(10, 1000);
        let [one, other] = [1, 2].map(|number| enter(&admission, number).unwrap());
        one.hold(400).unwrap();
        other.hold(301).unwrap_err();
        other.hold(300).unwrap();
        one.hold(401).unwrap_err();
        one.hold(100).unwrap();
        other.hold(450).unwrap();
        let held_elsewhere = other.clone();
        drop(other);
        one.hold(451).unwrap_err();
        drop(held_elsewhere);
        one.hold(500).unwrap();
    }

    #[test]
    fn what_is_too_large_for_anybody_is_let_in_when_nothing_else_is() {
        let admission = admission(10, 1000);
        let [one, other] = [1, 2].map(|number| enter(&admission, number).unwrap());
        one.hold(usize::MAX).unwrap();
        other.hold(usize::MAX).unwrap_err();
        other.hold(250).unwrap();
        drop(one);
        other.hold(usize::MAX).unwrap();
    }

    #[test]
    fn an_answer_is_expected_to_be_like_the_last_one() {
        let admission = admission(10, 1 << 20);
        let first = enter(&admission, 1).unwrap();
        first.hold_likely_answer().unwrap();
        first.hold_answer(500 << 10).unwrap();
        let second = enter(&admission, 1).unwrap();
        assert!(matches!(second.hold_likely_answer(), Err(ApiError::Overloaded)));
        drop(first);
        second.hold_likely_answer().unwrap();
    }
}
