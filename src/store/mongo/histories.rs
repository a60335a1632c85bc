//! Whether a client's books go on where this process saw them last.
//!
//! A backup may be restored while no server runs, or while the database is away from one. Then revisions are
//! given out a second time, and a phone's cursor must not be taken for the other commit of the same number. So
//! a process that has not seen the books since the database was found begins a new history with its commit,
//! and goes on with the history that is there when what it saw last is part of it.

use moka::sync::Cache;

use super::counter::Counter;
use crate::clock;
use crate::model::{ClientId, Lineage, Position};

/// What was seen last of each client, for each time that the database was found.
#[derive(Debug)]
pub(super) struct Histories(Cache<(u64, ClientId), Seen>);

/// Where a client's books stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub position: Position,
    /// The number from which on the next invoice was to have one.
    pub next_invoice: i64,
}

/// The history of one client, in one time of the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct History<'a> {
    histories: &'a Histories,
    epoch: u64,
    client: ClientId,
}

impl Histories {
    /// More clients than that are seen anew.
    const MOST_CLIENTS: u64 = 100_000;

    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self(Cache::new(Self::MOST_CLIENTS))
    }

    /// That of one client.
    pub fn of(&self, epoch: u64, client: ClientId) -> History<'_> {
        History { histories: self, epoch, client }
    }
}

impl History<'_> {
    /// The lineage that the next commit is to store, if it has to begin a history.
    pub fn begun(&self, counter: &Counter) -> Option<Lineage> {
        let goes_on = self.seen().is_some_and(|seen| counter.lineage.holds(seen.position, counter.revision));
        let begin = || counter.lineage.branched(counter.revision.next(), clock::new_tag(), clock::new_tag());
        (!goes_on).then(begin)
    }

    /// What was seen last, if anything was.
    pub fn seen(&self) -> Option<Seen> {
        self.histories.0.get(&(self.epoch, self.client))
    }

    /// Notes where a commit has brought the books.
    pub fn saw(&self, seen: Seen) {
        self.histories.0.insert((self.epoch, self.client), seen);
    }
}
