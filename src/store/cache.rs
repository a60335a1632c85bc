//! Datasets that were read, brought up to date by the commits after them.
//!
//! Where nobody else writes, a dataset at a position and the records of the commit that follows it are the dataset
//! at the next position. Whoever takes one says which position it must have reached, so what is here can be absent or
//! old, and never wrong. Where others write too, [`Times`] say for what it must be known that they have not.

use std::sync::{Arc, Mutex, PoisonError};

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::DatasetMemory;
use super::pull::{Data, Moment, Pull, Reading, Wanted};
use crate::dataset::{Dataset, Malformed, Records};
use crate::metrics::{self, CacheName, Lookup};
use crate::model::{ClientId, Cursor, Lineage, Position, StoreId};

/// Datasets of many clients, bounded in bytes; the least used go first.
#[derive(Debug)]
pub(super) struct DatasetCache {
    clients: Cache<(u64, ClientId), Arc<Mutex<Cached>>>,
    largest: usize,
}

/// A client's dataset with the state of its books.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub position: Position,
    pub lineage: Arc<Lineage>,
    pub dataset: Dataset,
    pub times: Times,
}

/// When a dataset came about, in the database's own time; 0 where it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// When it was read, at the earliest. Everything that anybody had written until then is in it.
    pub read: u64,
    /// When the last commit that is in it was made. It may be shown only if nobody else wrote between the reading and that.
    pub committed: u64,
}

/// What one commit did to a client's books.
#[derive(Debug)]
pub(super) struct Commit {
    pub before: Position,
    pub after: Position,
    pub lineage: Arc<Lineage>,
    pub records: Records,
    /// When it was made, in the database's own time; 0 where it has none.
    pub time: u64,
}

#[derive(Debug)]
struct Cached {
    known: Known,
    /// The commits after it, each following the one before. They are applied when somebody asks: a commit
    /// is quick, and who reads pays.
    commits: Vec<Commit>,
    /// What all that takes in memory, in bytes.
    bytes: usize,
}

impl DatasetCache {
    /// Keeps nothing yet.
    pub fn new(memory: DatasetMemory) -> Self {
        let weigh = |_: &_, cached: &Arc<Mutex<Cached>>| u32::try_from(lock(cached).bytes).unwrap_or(u32::MAX);
        let clients = Cache::builder().weigher(weigh).max_capacity(memory.cache as u64).build();
        Self { clients, largest: memory.largest_kept() }
    }

    /// Keeps what was read, unless something as new is kept already. `epoch` is that of the store when the reading
    /// began.
    pub fn keep(&self, epoch: u64, client: ClientId, known: Known) {
        let (position, read) = (known.position, known.times.read);
        let cached = Cached::new(known);
        if cached.bytes > self.largest || !cached.known.dataset.is_in_order() {
            return;
        }
        self.clients.entry((epoch, client)).and_compute_with(|entry| match entry {
            Some(entry) if lock(entry.value()).is_as_new(position, read) => Op::Nop,
            _ => Op::Put(Arc::new(Mutex::new(cached))),
        });
    }

    /// Takes note of a commit. It is called in the order of the client's commits.
    pub fn commit(&self, epoch: u64, client: ClientId, commit: Commit) {
        let key = (epoch, client);
        let Some(cached) = self.clients.get(&key) else { return };
        let mut state = lock(&cached);
        if state.newest() == commit.before && state.bytes + commit.bytes() <= self.largest {
            state.bytes += commit.bytes();
            state.commits.push(commit);
        } else if state.newest() != commit.after {
            drop(state);
            self.clients.invalidate(&key);
        }
    }

    /// The client's dataset in this very state.
    pub fn at(&self, epoch: u64, client: ClientId, position: Position) -> Option<Known> {
        self.known(epoch, client).filter(|known| known.position == position)
    }

    /// The client's dataset in this state or in a later one of the same history.
    pub fn reached(&self, epoch: u64, client: ClientId, position: Position) -> Option<Known> {
        self.known(epoch, client).filter(|known| known.lineage.holds(position, known.position.revision))
    }

    /// Whether something is kept of a client that was read at this time or later.
    pub fn knows(&self, epoch: u64, client: ClientId, read: u64) -> bool {
        self.clients.get(&(epoch, client)).is_some_and(|cached| lock(&cached).known.times.read >= read)
    }

    /// Keeps nothing of a client any more.
    pub fn forget(&self, epoch: u64, client: ClientId) {
        self.clients.invalidate(&(epoch, client));
    }

    /// Takes note that a dataset had not to be read.
    pub fn hit(&self) {
        metrics::LOOKUPS.count((CacheName::Dataset, Lookup::Hit));
    }

    /// Takes note that a dataset had to be read.
    pub fn missed(&self) {
        metrics::LOOKUPS.count((CacheName::Dataset, Lookup::Miss));
    }

    /// Says how much is kept.
    pub fn measure(&self) {
        self.clients.run_pending_tasks();
        metrics::CACHE_BYTES.set(CacheName::Dataset, self.clients.weighted_size());
    }

    /// Weighs an entry anew, if it is still there.
    fn weigh(&self, key: (u64, ClientId), cached: &Arc<Mutex<Cached>>) {
        self.clients.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), cached) => Op::Put(Arc::clone(cached)),
            _ => Op::Nop,
        });
    }

    fn known(&self, epoch: u64, client: ClientId) -> Option<Known> {
        let key = (epoch, client);
        let cached = self.clients.get(&key)?;
        let mut state = lock(&cached);
        if state.commits.is_empty() {
            return Some(state.known.clone());
        }
        match state.catch_up() {
            Ok(()) => {
                let known = state.known.clone();
                drop(state);
                self.weigh(key, &cached);
                Some(known)
            }
            Err(error) => {
                tracing::error!(%error, "a committed record is not valid BSON");
                drop(state);
                self.clients.invalidate(&key);
                None
            }
        }
    }
}

impl Known {
    /// As much of it as is wanted.
    pub fn pull(&self, store: StoreId, client: ClientId, wanted: Wanted) -> Pull {
        let reading = wanted.reading(store, self.position.revision, &self.lineage);
        let data = match reading {
            Reading::Nothing => Data::Nothing,
            Reading::Full(_) => Data::Ready(self.dataset.pieces().collect()),
            Reading::Since(revision) => Data::Ready(self.dataset.since(revision).pieces().collect()),
        };
        let position = self.position;
        let cursor = Cursor { store, client, position };
        Pull { cursor, mode: reading.mode(), data, moment: Moment { position, time: 0 }, exact: true }
    }
}

impl Cached {
    /// What an entry takes beside its dataset, roughly: itself, and the lineage.
    const OVERHEAD: usize = 2 << 10;

    fn new(known: Known) -> Self {
        let bytes = known.dataset.bytes() + Self::OVERHEAD;
        Self { known, commits: Vec::new(), bytes }
    }

    /// Whether it is, or will be when it has caught up, in this state or in a later one of the same history. What was
    /// read of the same state at a later time has what others wrote meanwhile.
    fn is_as_new(&self, position: Position, read: u64) -> bool {
        let lineage = self.commits.last().map_or(&self.known.lineage, |commit| &commit.lineage);
        let newest = self.newest();
        lineage.holds(position, newest.revision) && (newest != position || self.known.times.read >= read)
    }

    fn newest(&self) -> Position {
        self.commits.last().map_or(self.known.position, |commit| commit.after)
    }

    fn catch_up(&mut self) -> Result<(), Malformed> {
        let Some(last) = self.commits.last() else { return Ok(()) };
        let (position, lineage) = (last.after, Arc::clone(&last.lineage));
        let times = Times { committed: last.time, ..self.known.times };
        let records: Records = self.commits.drain(..).flat_map(|commit| commit.records).collect();
        let dataset = self.known.dataset.with(&records)?;
        *self = Self::new(Known { position, lineage, dataset, times });
        Ok(())
    }
}

impl Commit {
    fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.1.len() + size_of_val(&record)).sum()
    }
}

fn lock(cached: &Mutex<Cached>) -> std::sync::MutexGuard<'_, Cached> {
    cached.lock().unwrap_or_else(PoisonError::into_inner)
}
