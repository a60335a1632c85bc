//! Exactly once: a planner around a planner.

use super::{Decision, Planner, ReadSet, Reject, Snapshot, StoredReceipt};
use crate::batch::Fingerprint;
use crate::model::{IdempotencyKey, Timestamp};

/// Replays a key that was committed with the same payload, refuses one that was committed with another,
/// and else lets the inner planner plan and remembers its receipt in the same commit.
#[derive(Debug)]
pub struct Idempotent<P> {
    /// Plans the batch itself.
    pub inner: P,
    /// The batch's key.
    pub key: IdempotencyKey,
    /// The batch's payload.
    pub fingerprint: Fingerprint,
    /// When the batch happens.
    pub at: Timestamp,
}

impl<P: Planner> Planner for Idempotent<P> {
    fn reads(&self) -> ReadSet {
        let mut reads = self.inner.reads();
        reads.receipts.insert(self.key.clone());
        reads
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        match before.receipts.get(&self.key) {
            Some(stored) if stored.fingerprint == self.fingerprint => {
                Ok(Decision::Replay(Box::new(stored.receipt.clone())))
            }
            Some(_) => Err(Reject::KeyReused),
            None => self.inner.plan(before).map(|decision| self.remember(decision)),
        }
    }
}

impl<P> Idempotent<P> {
    fn remember(&self, decision: Decision) -> Decision {
        match decision {
            Decision::Commit(mut plan) => {
                plan.remember = Some(StoredReceipt {
                    key: self.key.clone(),
                    fingerprint: self.fingerprint.clone(),
                    created_at: self.at,
                    receipt: plan.receipt.clone(),
                });
                Decision::Commit(plan)
            }
            replay => replay,
        }
    }
}
