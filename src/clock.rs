//! The only place that asks for the time or makes an id.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bson::oid::ObjectId;

use crate::model::{Tag, Timestamp};

/// The time and the ids of one batch, fixed before planning so that planning twice gives the same plan.
#[derive(Debug, Clone)]
pub struct Stamp {
    now: Timestamp,
    ids: Ids,
}

impl Stamp {
    /// Takes the time now and reserves as many ids as the batch can need at most.
    pub fn take(ids: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = bson::DateTime::now();
        let seconds = (now.timestamp_millis() / 1000) as u32;
        Self { now: Timestamp::new(now), ids: Ids::reserve(seconds, ids) }
    }

    /// When the batch happens, by the server's clock.
    pub fn time(&self) -> Timestamp {
        self.now
    }

    /// The batch's ids, from the first on.
    pub fn ids(&self) -> Ids {
        self.ids.clone()
    }
}

/// An id for something that is not part of a batch's plan.
pub fn new_id() -> ObjectId {
    Stamp::take(1).ids.id()
}

/// A random number that will not come again.
pub fn new_tag() -> Tag {
    let mut bytes = [0; 8];
    // Without randomness the system has worse problems, and an id is nearly as good.
    if getrandom::fill(&mut bytes).is_err() {
        bytes.copy_from_slice(&new_id().bytes()[4..]);
    }
    Tag(i64::from_le_bytes(bytes))
}

/// The time now.
pub fn now() -> Timestamp {
    Stamp::take(0).time()
}

/// Ascending ids in the layout of the BSON specification: 4 bytes of seconds, 5 random bytes of this
/// process, 3 bytes of a counter.
#[derive(Debug, Clone)]
pub struct Ids {
    prefix: [u8; 9],
    counter: u32,
}

impl Ids {
    const COUNTERS: u32 = 1 << 24;

    fn reserve(seconds: u32, count: usize) -> Self {
        static PROCESS: LazyLock<ObjectId> = LazyLock::new(process_id);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let count = u32::try_from(count).unwrap_or(Self::COUNTERS).min(Self::COUNTERS);
        // A range never wraps, so that the ids of one batch ascend.
        let start = |next: u32| if next + count > Self::COUNTERS { 0 } else { next };
        let taken = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| Some(start(next) + count));
        let mut prefix = [0; 9];
        prefix[..4].copy_from_slice(&seconds.to_be_bytes());
        prefix[4..].copy_from_slice(&PROCESS.bytes()[4..9]);
        Self { prefix, counter: start(taken.unwrap_or_default()) }
    }

    /// The next one. Whoever holds a range takes no more than was reserved.
    pub fn id(&mut self) -> ObjectId {
        let mut bytes = [0; 12];
        bytes[..9].copy_from_slice(&self.prefix);
        bytes[9..].copy_from_slice(&self.counter.to_be_bytes()[1..]);
        self.counter += 1;
        ObjectId::from_bytes(bytes)
    }
}

/// Endless.
impl Iterator for Ids {
    type Item = ObjectId;

    fn next(&mut self) -> Option<ObjectId> {
        Some(self.id())
    }
}

/// An id whose middle is random and fixed for the life of this process.
fn process_id() -> ObjectId {
    #[expect(clippy::disallowed_methods, reason = "this is where ids come from")]
    ObjectId::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_and_ranges_do_not_meet() {
        let (one, two) = (Stamp::take(1000), Stamp::take(1000));
        let ids: Vec<_> = one.ids().take(1000).chain(two.ids().take(1000)).collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 2000);
        assert!(ids[..1000].is_sorted() && ids[1000..].is_sorted());
    }

    #[test]
    fn a_stamp_gives_the_same_ids_again() {
        let stamp = Stamp::take(10);
        assert!(stamp.ids().take(10).eq(stamp.ids().take(10)));
    }
}
