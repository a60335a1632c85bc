//! The planner of a sync batch.

use std::sync::Arc;

use super::draft::Draft;
use super::{Decision, Planner, ReadSet, Reject, Snapshot, invoice, item, payment};
use crate::batch::{Batch, Problems};
use crate::clock::Stamp;

/// Plans one batch at one time, with one range of ids.
#[derive(Debug)]
pub struct SyncPlanner {
    batch: Arc<Batch>,
    stamp: Stamp,
}

impl SyncPlanner {
    /// A planner of a batch; the stamp must hold [`Batch::ids`] ids.
    pub fn new(batch: Arc<Batch>, stamp: Stamp) -> Self {
        Self { batch, stamp }
    }
}

impl Planner for SyncPlanner {
    fn reads(&self) -> ReadSet {
        reads(&self.batch)
    }

    fn size(&self) -> usize {
        self.batch.operations() + self.batch.ids()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        let mut draft = apply(&self.batch, &self.stamp, before);
        match Problems::of(std::mem::take(&mut draft.problems)) {
            Some(problems) => Err(Reject::Problems(problems)),
            None => Ok(Decision::Commit(Box::new(draft.into_plan()))),
        }
    }
}

/// All that a batch reads.
pub(super) fn reads(batch: &Batch) -> ReadSet {
    let mut reads = ReadSet::default();
    item::reads(batch, &mut reads);
    invoice::reads(batch, &mut reads);
    payment::reads(batch, &mut reads);
    reads
}

/// Applies the operations in their order to one draft. A problem is noted and planning goes on, so that the
/// phone hears of all of them at once.
pub(super) fn apply<'a>(batch: &Batch, stamp: &Stamp, before: &'a Snapshot) -> Draft<'a> {
    let numbers = invoice::stated_numbers(batch);
    let mut draft = Draft::new(before, stamp, batch.warnings.clone(), numbers);
    item::apply(batch, &mut draft);
    invoice::apply(batch, &mut draft);
    payment::apply(batch, &mut draft);
    draft
}
