//! What came of a batch, as far as a retry must hear it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::batch::{Alias, Fingerprint, Warning};
use crate::model::{InvoiceId, ItemId, PaymentId, Revision, Timestamp};

/// The phone's name for one batch, unique within its client: 1..255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Takes a key as it stands; `None` if it is none.
    pub fn new(key: &str) -> Option<Self> {
        let visible = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then(|| Self(key.to_owned()))
    }

    /// The key as the phone sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came of a committed batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The client's commit counter after this batch.
    pub revision: Revision,
    /// How many operations of each kind.
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

/// Counts of operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The records of each kind of operation, in operation order.
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

/// The server's ids for the aliases of one batch, one name space for each kind. Pairs and not maps, for
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
    /// Counts the operations.
    pub fn summary(&self) -> Summary {
        Summary {
            items_created: self.items_created.len() as i64,
            items_updated: self.items_updated.len() as i64,
            items_deleted: self.items_deleted.len() as i64,
            invoices_created: self.invoices_created.len() as i64,
            payments_created: self.payments_created.len() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IdempotencyKey;

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        assert!(IdempotencyKey::new("a").is_some() && IdempotencyKey::new(&"~".repeat(255)).is_some());
        for key in ["", "a b", "a\t", "é", "\u{7f}", &"a".repeat(256)] {
            assert_eq!(IdempotencyKey::new(key), None, "{key:?}");
        }
    }
}
