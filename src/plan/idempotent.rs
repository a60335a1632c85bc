//! Exactly once: a planner around a planner.

use super::{Decision, Planner, ReadSet, Reject, Snapshot, StoredReceipt};
use crate::batch::Fingerprint;
use crate::model::Timestamp;
use crate::plan::IdempotencyKey;

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
        ReadSet { receipt: Some(self.key.clone()), ..self.inner.reads() }
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        match &before.receipt {
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
