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
        let mut reads = ReadSet::default();
        item::reads(&self.batch, &mut reads);
        invoice::reads(&self.batch, &mut reads);
        payment::reads(&self.batch, &mut reads);
        reads
    }

    /// Applies the operations in their order to one draft. A problem is noted and planning goes on, so
    /// that the phone hears of all of them at once.
    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        let numbers = invoice::stated_numbers(&self.batch);
        let mut draft = Draft::new(before, &self.stamp, self.batch.warnings.clone(), numbers);
        item::apply(&self.batch, &mut draft);
        invoice::apply(&self.batch, &mut draft);
        payment::apply(&self.batch, &mut draft);
        match Problems::of(std::mem::take(&mut draft.problems)) {
            Some(problems) => Err(Reject::Problems(problems)),
            None => Ok(Decision::Commit(Box::new(draft.into_plan()))),
        }
    }
}
