//! What others write, as the oplog tells it.
//!
//! Other services may write to the same collections, and tell nobody. But whatever is written to a replica set is in its
//! oplog, in the order of time. So a dataset that was read once, and brought up to date with its client's commits, is what
//! the database would give again, if the oplog tells of no other write to it since. Batches of servers like this one are
//! passed over: each takes a revision of its client, by which it is noticed that a dataset is old.

mod touched;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::error::{Error, Result};
use mongodb::options::ReadConcern;
use mongodb::{Cursor, Database};
use tokio::time::timeout;

use super::dataset::At;
use super::error::{code, describe, is_passing};
use crate::model::ClientId;
use crate::store::cache::Times;
use touched::{Touched, others};

/// What was seen of the oplog so far. All times are the database's own, as [`At::time`] gives them.
#[derive(Debug, Default)]
pub(super) struct Oplog {
    looked: Mutex<Looked>,
    /// Held by who reads on. Those who wait for it mostly find that it was done for them.
    turn: tokio::sync::Mutex<()>,
}

/// What was seen in one time of the store.
#[derive(Debug, Default)]
struct Looked {
    epoch: u64,
    /// When it turned out that this program may not read it.
    closed: Option<Instant>,
    /// `None` until it was looked at, and again when something may have been missed.
    seen: Option<Seen>,
    /// Up to where somebody wants it to be read.
    wanted: u64,
    newest_commit: u64,
}

/// A part of the oplog that was read without a gap, and what others wrote in it.
#[derive(Debug)]
struct Seen {
    /// The entry with which it ends. As long as that is there, so is everything after it, for the oldest go first.
    through: u64,
    /// When others wrote last what may be any client's. What was before this part is not known.
    any_client: u64,
    /// When others wrote last to these clients' records, if that was later.
    clients: HashMap<ObjectId, u64>,
}

impl Oplog {
    /// How long the database may take for one search: long enough for what is written in minutes.
    const PATIENCE: Duration = Duration::from_secs(1);
    /// How long somebody may wait for their turn to look, and how long they may look then.
    const LONGEST_LOOK: Duration = Duration::from_secs(2);
    /// After how long it is tried again whether it may be read.
    const CLOSED_FOR: Duration = Duration::from_secs(60);

    /// Begins to look, if that has not happened yet. Gives a time that a snapshot which the primary makes from now on is
    /// not older than; 0 if the oplog cannot be read.
    pub async fn begin(&self, db: &Database, epoch: u64) -> u64 {
        match self.begun(epoch) {
            Some(time) => time,
            None => timeout(Self::LONGEST_LOOK, self.begin_in_turn(db, epoch)).await.unwrap_or(0),
        }
    }

    /// Whether it can be read, as far as is known.
    pub fn is_open(&self, epoch: u64) -> bool {
        self.looked(epoch).is_some_and(|looked| looked.is_open())
    }

    /// Notes when something was committed: there is an entry of that.
    pub fn committed(&self, epoch: u64, time: u64) {
        self.change(epoch, |looked| looked.newest_commit = looked.newest_commit.max(time));
    }

    /// When others wrote last to a client's records, as far as was looked.
    pub fn written_by_others(&self, epoch: u64, client: &ClientId) -> u64 {
        let written = |looked: MutexGuard<'_, Looked>| Some(looked.seen.as_ref()?.written_by_others(client));
        self.looked(epoch).and_then(written).unwrap_or(u64::MAX)
    }

    /// Whether a client's dataset is what the database would give at this time, or at that of its last commit if that
    /// was later. Not, if that cannot be told soon.
    pub async fn confirms(&self, db: &Database, epoch: u64, client: &ClientId, times: Times, time: u64) -> bool {
        let written = self.look_through(db, epoch, client, time.max(times.committed)).await;
        written.is_some_and(|written| times.read >= written)
    }

    async fn begin_in_turn(&self, db: &Database, epoch: u64) -> u64 {
        let _turn = self.turn.lock().await;
        if let Some(time) = self.begun(epoch) {
            return time;
        }
        match newest(db).await {
            Ok(entry) => {
                self.change(epoch, |looked| (looked.seen, looked.closed) = (Some(Seen::from(entry)), None));
                entry
            }
            Err(error) => {
                self.note_failure(epoch, &error);
                0
            }
        }
    }

    /// Looks up to this time at least. Gives the time when others wrote last to the client's records, if it can be told.
    async fn look_through(&self, db: &Database, epoch: u64, client: &ClientId, until: u64) -> Option<u64> {
        self.change(epoch, |looked| looked.wanted = looked.wanted.max(until));
        let _turn = timeout(Self::LONGEST_LOOK, self.turn.lock()).await.ok()?;
        let (from, to) = {
            let looked = self.looked(epoch)?;
            let seen = looked.seen.as_ref()?;
            if seen.through >= until {
                return Some(seen.written_by_others(client));
            }
            (seen.through, To { until, wanted: looked.wanted, newest_commit: looked.newest_commit })
        };
        let step = match timeout(Self::LONGEST_LOOK, read_on(db, from, to)).await {
            Ok(step) => step.inspect_err(|error| self.note_failure(epoch, error)).unwrap_or(Step::Lost),
            // Whoever tried again from here would find even more to read.
            Err(_) => Step::Lost,
        };
        let mut looked = self.looked(epoch)?;
        match step {
            Step::To(through, touched) => {
                let seen = looked.seen.as_mut()?;
                seen.advance(through, touched);
                Some(seen.written_by_others(client))
            }
            Step::NotYet => None,
            Step::Lost => {
                looked.seen = None;
                None
            }
        }
    }

    /// Up to where was looked, if it was, or if it cannot be.
    fn begun(&self, epoch: u64) -> Option<u64> {
        let Some(looked) = self.looked(epoch) else { return Some(0) };
        let seen = looked.seen.as_ref().map(|seen| seen.through);
        seen.or((!looked.is_open()).then_some(0))
    }

    fn note_failure(&self, epoch: u64, error: &Error) {
        const CAPPED_POSITION_LOST: i32 = 136;
        if is_passing(error) || code(error) == Some(CAPPED_POSITION_LOST) {
            tracing::debug!(error = describe(error), "the oplog was not read");
            return;
        }
        self.change(epoch, |looked| {
            if looked.closed.replace(Instant::now()).is_none() {
                tracing::warn!(
                    error = describe(error),
                    "the oplog cannot be read, so every dataset is read anew: allow the user of MONGO_URL to read the \
                     collection `oplog.rs` of the database `local`, or set SOLE_WRITER if nobody else writes"
                );
            }
        });
    }

    /// What was seen in this time of the store; `None` if that is over.
    fn looked(&self, epoch: u64) -> Option<MutexGuard<'_, Looked>> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.epoch < epoch {
            *looked = Looked { epoch, ..Looked::default() };
        }
        (looked.epoch == epoch).then_some(looked)
    }

    fn change(&self, epoch: u64, change: impl FnOnce(&mut Looked)) {
        if let Some(mut looked) = self.looked(epoch) {
            change(&mut looked);
        }
    }
}

impl Looked {
    fn is_open(&self) -> bool {
        self.closed.is_none_or(|since| since.elapsed() >= Oplog::CLOSED_FOR)
    }
}

impl From<u64> for Seen {
    /// Nothing but one entry. What came before it is not known.
    fn from(entry: u64) -> Self {
        Self { through: entry, any_client: entry, clients: HashMap::new() }
    }
}

impl Seen {
    /// More are not told from each other.
    const MOST_CLIENTS: usize = 100_000;

    fn written_by_others(&self, client: &ClientId) -> u64 {
        self.clients.get(&client.object_id()).map_or(self.any_client, |&time| time.max(self.any_client))
    }

    /// Takes in what was read up to an entry.
    fn advance(&mut self, through: u64, touched: Touched) {
        self.clients.extend(touched.clients.into_iter().map(|client| (client, through)));
        if touched.everyone || self.clients.len() > Self::MOST_CLIENTS {
            self.any_client = through;
            self.clients.clear();
        }
        self.through = through;
    }
}

/// How far is to be read.
#[derive(Clone, Copy)]
struct To {
    /// At least.
    until: u64,
    /// For others who wait, too.
    wanted: u64,
    newest_commit: u64,
}

/// What came of reading on.
enum Step {
    /// It was read up to this entry.
    To(u64, Touched),
    /// This member does not know yet what a majority has.
    NotYet,
    /// Something may have been missed.
    Lost,
}

/// Reads on from an entry.
async fn read_on(db: &Database, from: u64, to: To) -> Result<Step> {
    let through = if to.newest_commit >= to.wanted { to.newest_commit } else { newest(db).await? };
    if through < to.until {
        return Ok(Step::NotYet);
    }
    let is_from = doc! { "ts": At::of(from).0 };
    let reach = doc! { "ts": { "$gte": At::of(from).0, "$lte": At::of(through).0 } };
    let filter = doc! { "$and": [reach, { "$or": [is_from, others(db, from)] }] };
    // Almost always nothing follows, so no more is asked for at first.
    let found: Vec<_> = search(db, filter.clone(), doc! { "_id": 0, "ts": 1 }, 2).await?.try_collect().await?;
    let is_there = |first: Option<&Document>| first.and_then(time_of) == Some(from);
    if !is_there(found.first()) {
        return Ok(Step::Lost);
    }
    if found.len() == 1 {
        return Ok(Step::To(through, Touched::default()));
    }
    let mut entries = search(db, filter, Touched::fields(), 1 + Touched::MOST_WRITES).await?;
    if !is_there(entries.try_next().await?.as_ref()) {
        return Ok(Step::Lost);
    }
    let touched = Touched::by(db, entries, At::of(through)).await?;
    Ok(Step::To(through, touched))
}

/// The newest entry that a majority has.
async fn newest(db: &Database) -> Result<u64> {
    let entries = entries(db);
    let newest = entries.find_one(doc! {}).sort(doc! { "$natural": -1 }).projection(doc! { "_id": 0, "ts": 1 });
    let newest = newest.read_concern(ReadConcern::majority()).max_time(Oplog::PATIENCE).await?;
    newest.as_ref().and_then(time_of).ok_or_else(|| Error::custom("an empty oplog"))
}

async fn search(db: &Database, filter: Document, fields: Document, most: usize) -> Result<Cursor<Document>> {
    let entries = entries(db);
    let found = entries.find(filter).projection(fields).limit(most as i64);
    found.read_concern(ReadConcern::local()).max_time(Oplog::PATIENCE).await
}

fn entries(db: &Database) -> mongodb::Collection<Document> {
    db.client().database("local").collection("oplog.rs")
}

fn time_of(entry: &Document) -> Option<u64> {
    entry.get_timestamp("ts").ok().map(|time| At(time).time())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes([byte; 12])
    }

    fn touched(everyone: bool, clients: Vec<ObjectId>) -> Touched {
        let mut touched = Touched::default();
        (touched.everyone, touched.clients) = (everyone, clients);
        touched
    }

    #[test]
    fn who_was_written_to_is_remembered_until_everyone_is() {
        let client = |byte: u8| ClientId::for_operator(id(byte));
        let mut seen = Seen::from(10);
        let written = |seen: &Seen| [1, 2].map(|byte| seen.written_by_others(&client(byte)));
        assert_eq!(written(&seen), [10, 10]);
        seen.advance(20, touched(false, vec![id(1)]));
        assert_eq!(written(&seen), [20, 10]);
        seen.advance(30, Touched::default());
        assert_eq!(written(&seen), [20, 10]);
        seen.advance(40, touched(true, Vec::new()));
        assert_eq!(written(&seen), [40, 40]);
        let many = (0..=Seen::MOST_CLIENTS).map(|_| clock::new_id()).collect();
        seen.advance(50, touched(false, many));
        assert_eq!(written(&seen), [50, 50]);
    }

    #[tokio::test]
    async fn an_earlier_time_of_the_store_says_nothing_of_a_later_one() {
        let (oplog, client) = (Oplog::default(), ClientId::for_operator(id(1)));
        oplog.change(3, |looked| looked.seen = Some(Seen::from(10)));
        assert_eq!(oplog.written_by_others(3, &client), 10);
        assert_eq!(oplog.written_by_others(4, &client), u64::MAX);
        assert_eq!(oplog.written_by_others(3, &client), u64::MAX, "it is over");
        assert!(oplog.is_open(4) && !oplog.is_open(3));
    }
}
