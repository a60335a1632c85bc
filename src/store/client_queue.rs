//! Whose turn it is: batches of one client queue up here, so that they keep their order and do not fight in a database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bson::oid::ObjectId;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{StoreError, waiting};

/// Lets some through at once and a bounded number wait.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A [`Gate`] for which each client has a queue of its own, first come, first served.
#[derive(Debug)]
pub(super) struct ClientQueue {
    gate: Gate,
    locks: Mutex<HashMap<ObjectId, Arc<ClientLock>>>,
}

/// A client's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // In the order in which they must be dropped: the next in the queue may go once the lock is free.
    _permit: OwnedSemaphorePermit,
    _lock: OwnedMutexGuard<()>,
    _place: Place,
}

type ClientLock = tokio::sync::Mutex<()>;

impl Gate {
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), most_waiting }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if too many wait already.
    pub async fn pass(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let _waiting = Waiting::begin(self)?;
        self.permits.acquire().await.map_err(|_| shut_down())
    }
}

impl ClientQueue {
    /// `at_once` clients have their turn together, and `most_waiting` batches wait in all.
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        Self { gate: Gate::new(at_once, most_waiting), locks: Mutex::default() }
    }

    /// Waits for the client's turn.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if too many wait already.
    pub async fn turn(self: &Arc<Self>, client: ObjectId) -> Result<Turn, StoreError> {
        let _waiting = Waiting::begin(&self.gate)?;
        let place = Place::take(self, client);
        let lock = Arc::clone(&place.lock).lock_owned().await;
        let permit = Arc::clone(&self.gate.permits).acquire_owned().await.map_err(|_| shut_down())?;
        Ok(Turn { _permit: permit, _lock: lock, _place: place })
    }
}

fn shut_down() -> StoreError {
    StoreError::Unavailable("the store is shut down".to_owned())
}

/// One that waits.
struct Waiting<'a>(&'a AtomicUsize, waiting::Waiting);

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate) -> Result<Self, StoreError> {
        let waiting = Self(&gate.waiting, waiting::Waiting::begin());
        let before = gate.waiting.fetch_add(1, Ordering::Relaxed);
        if before < gate.most_waiting { Ok(waiting) } else { Err(StoreError::Overloaded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place in a client's queue. The last one to leave takes the queue away.
#[derive(Debug)]
struct Place {
    queue: Arc<ClientQueue>,
    client: ObjectId,
    lock: Arc<ClientLock>,
}

impl Place {
    fn take(queue: &Arc<ClientQueue>, client: ObjectId) -> Self {
        let mut locks = queue.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(locks.entry(client).or_default());
        Self { queue: Arc::clone(queue), client, lock }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut locks = self.queue.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one: places are taken under the map's lock only, so nobody else has it.
        if Arc::strong_count(&self.lock) == 2 {
            locks.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::clock::Stamp;

    const SOON: Duration = Duration::from_millis(20);

    fn clients() -> (ObjectId, ObjectId) {
        let mut ids = Stamp::take(2).ids();
        (ids.next().unwrap(), ids.next().unwrap())
    }

    #[tokio::test]
    async fn one_client_waits_for_itself_and_not_for_others() {
        let (one, other) = clients();
        let queue = Arc::new(ClientQueue::new(2, 10));
        let turn = queue.turn(one).await.unwrap();
        assert!(timeout(SOON, queue.turn(one)).await.is_err());
        drop(queue.turn(other).await.unwrap());
        drop(turn);
        drop(queue.turn(one).await.unwrap());
        assert!(queue.locks.lock().unwrap().is_empty(), "who gave up and who is done leave nothing behind");
        assert_eq!(queue.gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn too_many_are_turned_away_at_once() {
        let (one, other) = clients();
        let queue = Arc::new(ClientQueue::new(1, 1));
        let _turn = queue.turn(one).await.unwrap();
        let waits = queue.turn(other);
        tokio::pin!(waits);
        assert!(timeout(SOON, &mut waits).await.is_err());
        assert!(matches!(queue.turn(other).await, Err(StoreError::Overloaded)));
    }
}
