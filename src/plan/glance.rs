//! Planning at a glance: without receipts and purchase history, which are looked up for nearly every batch and
//! there for hardly any.

use super::{Decision, ReadSet, Reject, Snapshot, Write};

/// A snapshot without receipts, and with invoices of which none has a purchase history. A store may have a
/// planner plan on it, and load the rest only if the decision does not stand.
#[derive(Debug, Clone, Copy)]
pub struct Glance<'a> {
    /// What the planner reads.
    pub reads: &'a ReadSet,
    /// What was loaded of it.
    pub snapshot: &'a Snapshot,
}

impl Glance<'_> {
    /// Whether a decision on the glance is the one that the whole snapshot would give, or cannot be committed,
    /// because the store keeps no second receipt under a key.
    ///
    /// A receipt may turn any decision into a replay, so one that keeps no receipt under that very key must be
    /// made again. A purchase history keeps an invoice from having another one, and does nothing else.
    pub fn decides(&self, decision: &Result<Decision, Reject>) -> bool {
        let Ok(Decision::Commit(plan)) = decision else { return self.reads.receipts.is_empty() };
        let kept = plan.remember.as_ref().map(|receipt| &receipt.key);
        let is_stored = |write: &Write| match write {
            Write::InsertPurchase(purchase) => self.snapshot.invoices.contains_key(&purchase.invoice_id),
            _ => false,
        };
        self.reads.receipts.iter().all(|key| Some(key) == kept) && !plan.writes.iter().any(is_stored)
    }
}
