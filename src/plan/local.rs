//! Per-operation identity: what a phone's local ids stand for, for ever.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use crate::batch::Fingerprint;
use crate::model::{Collection, LocalId, Revision};

/// What a local id stands for. Written in the same commit as the record, and never changed or removed, so
/// that a create that was applied once is known whenever it comes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRecord {
    /// The server's id of the record.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// What the phone calls it.
    pub local_id: LocalId,
    /// An item, an invoice or a payment.
    pub kind: Collection,
    /// What the create said, with its references resolved; tells whether it says the same when it comes again.
    pub content: Fingerprint,
    /// The commit that made the record.
    pub revision: Revision,
}
