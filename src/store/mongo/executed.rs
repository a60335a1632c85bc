//! What came of a batch in the database.

use std::sync::Arc;

use bson::Timestamp;

use super::counter::Counter;
use super::dataset::At;
use crate::dataset::{Dataset, Records};
use crate::model::Lineage;
use crate::plan::{Plan, Receipt};
use crate::store::cache::{Commit, Known, Times};
use crate::store::pull::ReadOnTheWay;
use crate::store::{After, Moment, Outcome};

/// What came of a batch in the database.
pub(super) struct Executed {
    pub outcome: Outcome,
    /// How it moved the client's books, if it did, and if the outcome does not show them.
    pub commit: Option<Commit>,
}

/// What a plan leaves when it is written.
pub(super) enum Left {
    /// Nothing that is kept.
    Nothing,
    /// The records that it changed.
    Records(Records),
    /// All there is, which is to be shown in the same time of the store. It was not read before `since`.
    Dataset { epoch: u64, dataset: Dataset, since: u64 },
}

impl Executed {
    /// What was done before, or needs nothing to be done.
    pub fn nothing(receipt: Receipt, replayed: bool, counter: &Counter) -> Self {
        let moment = Moment { position: counter.position(), time: 0 };
        Self { outcome: Outcome { receipt, replayed, after: moment.into() }, commit: None }
    }

    /// A plan that was written in books that stood at `counter`. It begins a history, or goes on with one.
    pub fn wrote(plan: Plan, counter: &Counter, begun: Option<Lineage>, left: Left) -> Self {
        if plan.writes.is_empty() {
            return Self::nothing(plan.receipt, false, counter);
        }
        let lineage = begun.unwrap_or_else(|| counter.lineage.clone());
        let (before, after) = (counter.position(), lineage.at(plan.receipt.revision));
        let lineage = Arc::new(lineage);
        let (read, commit) = match left {
            Left::Nothing => (None, None),
            Left::Records(records) => (None, Some(Commit { before, after, lineage, records, time: 0 })),
            Left::Dataset { epoch, dataset, since } => {
                let times = Times { read: since, committed: 0 };
                let known = Known { position: after, lineage, dataset, times };
                (Some(Box::new(ReadOnTheWay { epoch, known })), None)
            }
        };
        let after = After { moment: Moment { position: after, time: 0 }, read };
        Self { outcome: Outcome { receipt: plan.receipt, replayed: false, after }, commit }
    }

    /// With the time at which it was certain.
    pub fn at(mut self, time: Option<Timestamp>) -> Self {
        let time = time.map_or(0, |time| At(time).time());
        self.outcome.after.moment.time = time;
        if let Some(commit) = &mut self.commit {
            commit.time = time;
        }
        if let Some(read) = &mut self.outcome.after.read {
            read.known.times.committed = time;
        }
        self
    }
}
