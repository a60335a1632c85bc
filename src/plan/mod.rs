//! The rules: from a [`Snapshot`] of what is stored and a [`Batch`](crate::batch::Batch) to a [`Plan`] of
//! what to write, or to a [`Reject`].
//!
//! Planning is pure. It reads only records that the batch names, so the read set is known before any
//! I/O, all checking ends before the first write, and a database that runs a transaction again runs
//! the same plan again. Nothing here is async, and nothing knows a driver or HTTP.

mod check;
mod draft;
mod glance;
mod groups;
mod idempotent;
mod invoice;
mod item;
mod local;
mod payment;
mod reads;
mod receipt;
mod reject;
mod snapshot;
mod sync;

pub use check::{Check, Findings};
pub use glance::Glance;
pub use groups::Group;
pub use idempotent::Idempotent;
pub use local::LocalRecord;
pub use reads::{NumberSearch, ReadSet};
pub use receipt::{IdMap, Receipt, StoredReceipt, Summary, Synced};
pub use reject::Reject;
pub use snapshot::{Snapshot, StoredInvoice, StoredItem};
pub use sync::SyncPlanner;

use serde::Serialize;

use crate::model::{Amount, Invoice, InvoiceId, Item, ItemChanges, ItemId, Payment, Purchase, Timestamp};

/// Decides what a batch does to the records it names.
///
/// `plan` may be called any number of times, with a newer snapshot each time; on the same snapshot it
/// gives the same answer, because time and ids were fixed when the planner was made.
pub trait Planner: Send + Sync + 'static {
    /// Everything that `plan` will look at.
    fn reads(&self) -> ReadSet;

    /// Roughly how many records it may write: tells a store small batches from large ones.
    fn size(&self) -> usize;

    /// Applies the rules to a snapshot that holds at least what [`Planner::reads`] asked for.
    ///
    /// # Errors
    /// [`Reject`] if the records say no. Nothing may be written then.
    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject>;
}

/// What is to be done for a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this, all of it or nothing.
    Commit(Box<Plan>),
    /// It was done before, and this is what came of it. Write nothing.
    Replay(Box<Receipt>),
}

/// What to write, as data. All values are absolute, so that applying a plan twice is applying it once.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The records, one write for each touched record, in an order that never refers forward. With any,
    /// the commit is the client's next revision; with none, the revision stays, for all was applied before.
    pub writes: Vec<Write>,
    /// The number of the client's next invoice without a number, if this batch used some up.
    pub next_invoice: Option<i64>,
    /// What came of the batch.
    pub receipt: Receipt,
    /// The receipt to keep under the batch's key, if it has one.
    pub remember: Option<StoredReceipt>,
}

impl Plan {
    /// Whether there is nothing to write, not even a receipt.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.remember.is_none()
    }
}

/// One write. The store adds what all records carry: `clientId`, and `revision` from the receipt.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new item.
    InsertItem(Item),
    /// Sets some fields of a stored item; all others stay.
    UpdateItem(ItemId, ItemChanges),
    /// A new invoice.
    InsertInvoice(Invoice),
    /// Sets what payments change on a stored invoice; all other fields stay.
    SettleInvoice(InvoiceId, Settlement),
    /// A new payment.
    InsertPayment(Payment),
    /// A new purchase-history record.
    InsertPurchase(Purchase),
    /// What a new record's local id stands for.
    InsertLocalId(LocalRecord),
}

/// What payments change on an invoice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// All that was paid until now.
    pub paid_amount: Amount,
    /// Whether that is all that is owed.
    pub is_finalized: bool,
    /// When the payment was applied.
    pub updated_at: Timestamp,
}
