//! What phones have heard of what they sent, in as little memory as a long run allows.

use std::collections::{BTreeMap, BTreeSet};

/// A phone's syncs from 1 on. All that is not an exception was acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// How many syncs the phone has begun.
    pub begun: u32,
    /// Those that were not acknowledged.
    exceptions: BTreeMap<u32, Fate>,
    /// Those whose operations were also sent under another key, of which nothing was heard.
    orphans: BTreeSet<u32>,
}

/// What a phone knows of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the books.
    Acknowledged,
    /// It is not in the books.
    Refused,
    /// It is in the books altogether, or not at all.
    Open,
}

impl Ledger {
    /// Begins the next sync. It is open until something is heard of it.
    pub fn begin(&mut self) -> u32 {
        self.begun += 1;
        self.exceptions.insert(self.begun, Fate::Open);
        self.begun
    }

    /// Notes what was heard of a sync.
    pub fn note(&mut self, sync: u32, fate: Fate) {
        match fate {
            Fate::Acknowledged => self.exceptions.remove(&sync),
            fate => self.exceptions.insert(sync, fate),
        };
    }

    /// Notes that the sync goes on under another key, while the first one may still be worked on.
    pub fn orphan(&mut self, sync: u32) {
        self.orphans.insert(sync);
    }

    /// What is known of a sync that was begun.
    pub fn fate(&self, sync: u32) -> Fate {
        self.exceptions.get(&sync).copied().unwrap_or(Fate::Acknowledged)
    }

    /// Whether the operations of a sync may be applied once more, at any later time: as far as they have no identity
    /// of their own.
    pub fn is_orphan(&self, sync: u32) -> bool {
        self.orphans.contains(&sync)
    }

    /// How many syncs have this fate.
    pub fn count(&self, fate: Fate) -> u32 {
        let exceptions = |fate| self.exceptions.values().filter(|of| **of == fate).count() as u32;
        match fate {
            Fate::Acknowledged => self.begun - self.exceptions.len() as u32,
            fate => exceptions(fate),
        }
    }

    /// How many syncs were sent under two keys.
    pub fn orphans(&self) -> u32 {
        self.orphans.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_open_until_something_is_heard_of_it() {
        let mut ledger = Ledger::default();
        assert_eq!([ledger.begin(), ledger.begin(), ledger.begin()], [1, 2, 3]);
        ledger.note(1, Fate::Acknowledged);
        ledger.note(2, Fate::Refused);
        ledger.orphan(3);
        assert_eq!([1, 2, 3].map(|sync| ledger.fate(sync)), [Fate::Acknowledged, Fate::Refused, Fate::Open]);
        assert_eq!([Fate::Acknowledged, Fate::Refused, Fate::Open].map(|fate| ledger.count(fate)), [1, 1, 1]);
        assert!(ledger.is_orphan(3) && !ledger.is_orphan(1) && ledger.orphans() == 1);
    }
}
