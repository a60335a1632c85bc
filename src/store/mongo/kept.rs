//! Datasets that are kept, and whether they may still be shown.

use super::connection::Deployment;
use super::dataset::At;
use super::oplog::Oplog;
use super::topology::Topology;
use crate::model::{ClientId, Position};
use crate::store::cache::{Commit, DatasetCache, Known};
use crate::store::{DatasetMemory, Moment};

/// Datasets that were read, and brought up to date by commits.
#[derive(Debug)]
pub(super) struct Kept {
    cache: DatasetCache,
    others: Others,
    has_room: bool,
}

/// Who writes beside servers like this one.
#[derive(Debug)]
enum Others {
    /// Nobody: the operator says so.
    Nobody,
    /// Whoever the oplog tells of, where there is one.
    Logged(Oplog),
}

impl Kept {
    /// Keeps nothing yet.
    pub fn new(sole_writer: bool, memory: DatasetMemory) -> Self {
        let others = if sole_writer { Others::Nobody } else { Others::Logged(Oplog::default()) };
        Self { cache: DatasetCache::new(memory), others, has_room: memory.cache > 0 }
    }

    /// Whether equal positions are equal datasets: nobody else writes.
    pub fn is_exact(&self) -> bool {
        matches!(self.others, Others::Nobody)
    }

    /// Whether datasets are kept here at all. A lone mongod has no oplog, and through a router it cannot be read.
    pub fn is_used(&self, deployment: &Deployment, epoch: u64) -> bool {
        let is_told = |oplog: &Oplog| {
            deployment.topology == Topology::Transactional && !deployment.is_router && oplog.is_open(epoch)
        };
        self.has_room
            && match &self.others {
                Others::Nobody => true,
                Others::Logged(oplog) => is_told(oplog),
            }
    }

    /// Called before something is read that is to be kept. Gives a time that a snapshot which the primary makes from now on
    /// is not older than; 0 if there is none.
    pub async fn begin(&self, deployment: &Deployment, epoch: u64) -> u64 {
        match &self.others {
            Others::Logged(oplog) if self.is_used(deployment, epoch) => oplog.begin(&deployment.db, epoch).await,
            _ => 0,
        }
    }

    /// Whether a client's dataset is kept, so that commits have to be told to it.
    pub fn holds(&self, epoch: u64, client: &ClientId) -> bool {
        self.cache.knows(epoch, *client, 0)
    }

    /// Whether a client's dataset is kept that may most likely be shown.
    pub fn knows(&self, epoch: u64, client: &ClientId) -> bool {
        let since = match &self.others {
            Others::Nobody => 0,
            Others::Logged(oplog) => oplog.written_by_others(epoch, client),
        };
        self.cache.knows(epoch, *client, since)
    }

    /// What is kept of one client.
    pub fn of<'a>(&'a self, deployment: &'a Deployment, epoch: u64, client: &'a ClientId) -> KeptDataset<'a> {
        KeptDataset { kept: self, deployment, epoch, client }
    }

    /// Takes note of a commit. It is called in the order of the client's commits.
    pub fn commit(&self, epoch: u64, client: ClientId, commit: Commit) {
        self.cache.commit(epoch, client, commit);
    }

    /// Takes note of when something was committed.
    pub fn committed(&self, epoch: u64, time: u64) {
        if let Others::Logged(oplog) = &self.others {
            oplog.committed(epoch, time);
        }
    }

    /// Says how much is kept.
    pub fn measure(&self) {
        self.cache.measure();
    }
}

/// The dataset of one client, if it is kept.
pub(super) struct KeptDataset<'a> {
    kept: &'a Kept,
    deployment: &'a Deployment,
    epoch: u64,
    client: &'a ClientId,
}

impl KeptDataset<'_> {
    /// In a state of the client's books that is not before a moment.
    pub async fn reached(&self, moment: Moment) -> Option<Known> {
        self.confirmed(moment.time, |cache| cache.reached(self.epoch, *self.client, moment.position)).await
    }

    /// At this position, as it is at this time.
    pub async fn at(&self, position: Position, at: Option<At>) -> Option<Known> {
        self.confirmed(at.map_or(0, At::time), |cache| cache.at(self.epoch, *self.client, position)).await
    }

    /// Keeps what was read, if it may ever be shown.
    pub fn keep(&self, known: Known) {
        let may_be_confirmed = self.kept.is_exact() || known.times.read > 0;
        if may_be_confirmed && self.kept.is_used(self.deployment, self.epoch) {
            self.kept.cache.keep(self.epoch, *self.client, known);
        }
    }

    /// Takes note that it had to be read.
    pub fn missed(&self) {
        if self.kept.is_used(self.deployment, self.epoch) {
            self.kept.cache.missed();
        }
    }

    /// What is found, if nobody else wrote to it until this time.
    async fn confirmed(&self, time: u64, find: impl FnOnce(&DatasetCache) -> Option<Known>) -> Option<Known> {
        let Self { kept: Kept { cache, others, .. }, deployment, epoch, client } = *self;
        if !self.kept.knows(epoch, client) {
            return None;
        }
        let known = find(cache)?;
        let may_be_shown = match others {
            Others::Nobody => true,
            Others::Logged(oplog) => time > 0 && oplog.confirms(&deployment.db, epoch, client, known.times, time).await,
        };
        if may_be_shown {
            cache.hit();
        } else if !self.kept.knows(epoch, client) {
            // So that what is read now does not come second to it.
            cache.forget(epoch, *client);
        }
        may_be_shown.then_some(known)
    }
}
