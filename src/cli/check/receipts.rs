//! Receipts, read as the server reads them: what it cannot read, it cannot answer a retry with. No I/O.

use std::collections::BTreeSet;

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document};
use serde::de::DeserializeOwned;

use super::figures::field;
use crate::model::{Collection, IdempotencyKey, Revision, Timestamp};
use crate::store::archive::{IdMap, Receipt, StoredReceipt, Summary, Synced};

/// Reads a receipt, or says in a sentence why a retry fails on it.
pub(super) fn read(record: &RawDocument) -> Result<StoredReceipt, String> {
    let fails = |what: &str| format!("its {what} cannot be read, so a retry of its batch fails");
    match bson::deserialize_from_slice::<StoredReceipt>(record.as_bytes()) {
        // The decoder may take other forms of a time, which no expiry takes.
        Ok(_) if record.get_datetime("createdAt").is_err() => {
            Err("its createdAt is no date, so it never expires".to_owned())
        }
        Ok(stored) if !stored.fingerprint.is_well_formed() => {
            Err("its fingerprint is none, so a retry of its batch is taken for another batch".to_owned())
        }
        Ok(stored) => Ok(stored),
        Err(_) => Err(fails(&unreadable(record).join(", "))),
    }
}

/// Whether a batch with this summary wrote anything, and so took a revision of its own.
pub(super) fn wrote(summary: &Summary) -> bool {
    let Summary { items_created, items_updated, items_deleted, invoices_created, payments_created, already_applied: _ } =
        *summary;
    [items_created, items_updated, items_deleted, invoices_created, payments_created].iter().any(|count| *count > 0)
}

/// The records that a receipt tells of.
pub(super) fn named(receipt: &Receipt) -> BTreeSet<(Collection, ObjectId)> {
    let Synced { items_created, items_updated, items_deleted, invoices_created, payments_created } = &receipt.synced;
    let IdMap { items, invoices, payments } = &receipt.id_map;
    let mut named = BTreeSet::new();
    let all_items = [items_created, items_updated, items_deleted].into_iter().flatten();
    named.extend(all_items.chain(items.iter().map(|(_, id)| id)).map(|id| (Collection::Items, id.0)));
    let all_invoices = invoices_created.iter().chain(invoices.iter().map(|(_, id)| id));
    named.extend(all_invoices.map(|id| (Collection::Invoices, id.0)));
    let all_payments = payments_created.iter().chain(payments.iter().map(|(_, id)| id));
    named.extend(all_payments.map(|id| (Collection::Payments, id.0)));
    named
}

/// Which fields cannot be read. To be told only: whether a receipt can be read, its type alone says.
fn unreadable(record: &RawDocument) -> Vec<&'static str> {
    let receipt = record.get_document("receipt").unwrap_or(record);
    let fields = [
        ("key", reads::<IdempotencyKey>(record, "key")),
        ("fingerprint", reads::<String>(record, "fingerprint")),
        ("createdAt", reads::<Timestamp>(record, "createdAt")),
        ("receipt", record.get_document("receipt").is_ok()),
        ("revision", reads::<Revision>(receipt, "revision")),
        ("summary", reads::<Summary>(receipt, "summary")),
        ("synced", reads::<Synced>(receipt, "synced")),
        ("idMap", reads::<IdMap>(receipt, "idMap")),
        ("warnings", reads::<Vec<Document>>(receipt, "warnings")),
    ];
    let unreadable: Vec<_> = fields.into_iter().filter(|(_, reads)| !reads).map(|(name, _)| name).collect();
    if unreadable.is_empty() { vec!["content"] } else { unreadable }
}

fn reads<T: DeserializeOwned>(record: &RawDocument, name: &str) -> bool {
    let value = field(record, name).and_then(|value| Bson::try_from(value).ok());
    value.is_some_and(|value| bson::deserialize_from_bson::<T>(value).is_ok())
}
