//! What came of a batch, as far as a retry must hear it again.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::batch::{Alias, Fingerprint, Warning};
use crate::model::{IdempotencyKey, InvoiceId, ItemId, PaymentId, Revision, Timestamp};

/// What came of a committed batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The client's commit counter after this batch.
    pub revision: Revision,
    /// How many operations of each kind were applied.
    pub summary: Summary,
    /// The records that they made or changed.
    pub synced: Synced,
    /// The server's ids for what the phone made.
    pub id_map: IdMap,
    /// What was done otherwise than the phone may have expected.
    pub warnings: Vec<Warning>,
}

/// A receipt as it is kept, so that a retry finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredReceipt {
    /// The key of the batch.
    pub key: IdempotencyKey,
    /// The payload of the batch.
    pub fingerprint: Fingerprint,
    /// When it was committed, by the server's clock.
    pub created_at: Timestamp,
    /// What came of it.
    pub receipt: Receipt,
}

/// Counts of the operations that were applied now, and of those that had been applied before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Items made by `item.create` and by invoice lines.
    pub items_created: i64,
    /// Elements of `item.update`.
    pub items_updated: i64,
    /// Elements of `item.delete`.
    pub items_deleted: i64,
    /// Elements of `invoice.create`.
    pub invoices_created: i64,
    /// Elements of `payment.create`.
    pub payments_created: i64,
    /// Creates of any kind whose local ids were known.
    #[serde(default)]
    #[schema(required = true)]
    pub already_applied: i64,
}

/// The records of each kind of operation, in operation order. Those of creates that had been applied before
/// are among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// Items made by `item.create`, then those made by invoice lines.
    pub items_created: Vec<ItemId>,
    /// The items of `item.update`.
    pub items_updated: Vec<ItemId>,
    /// The items of `item.delete`.
    pub items_deleted: Vec<ItemId>,
    /// The invoices of `invoice.create`.
    pub invoices_created: Vec<InvoiceId>,
    /// The payments of `payment.create`.
    pub payments_created: Vec<PaymentId>,
}

/// The server's ids for the aliases and local ids of one batch, one name space for each kind. Pairs and not maps, for
/// an alias may hold what a database does not take in a field's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Of `item.create`.
    pub items: Vec<(Alias, ItemId)>,
    /// Of `invoice.create`.
    pub invoices: Vec<(Alias, InvoiceId)>,
    /// Of `payment.create`.
    pub payments: Vec<(Alias, PaymentId)>,
}

impl Synced {
    /// The number of ids in all lists.
    pub fn len(&self) -> usize {
        let items = self.items_created.len() + self.items_updated.len() + self.items_deleted.len();
        items + self.invoices_created.len() + self.payments_created.len()
    }

    /// Whether no list has an id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Receipt {
    /// JSON pointer (RFC 6901) to the create that made an invoice or a payment; empty for any other record.
    pub fn path_of(&self, id: ObjectId) -> String {
        let invoice = self.synced.invoices_created.iter().position(|made| made.0 == id);
        let payment = self.synced.payments_created.iter().position(|made| made.0 == id);
        match (invoice, payment) {
            (Some(index), _) => format!("/invoice/create/{index}"),
            (_, Some(index)) => format!("/payment/create/{index}"),
            (None, None) => String::new(),
        }
    }
}
