//! Records as all engines keep them: BSON documents in the field names of the Viveka database.

use std::collections::BTreeSet;

use bson::oid::ObjectId;
use bson::raw::{RawBsonRef, RawDocument};
use bson::{Bson, Document, RawBson, RawDocumentBuf, cstr, rawdoc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::dataset::Records;
use crate::model::{Amount, ClientId, Collection, InvoiceId, ItemId, Revision};
use crate::plan::{Plan, ReadSet, Snapshot, StoredInvoice, StoredItem, Write};

/// One write, ready for a database: what all records carry is added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Change<F = Document> {
    #[serde(rename = "collection")]
    pub table: Table,
    pub id: ObjectId,
    pub kind: ChangeKind,
    /// The whole record to insert (with `_id` and `clientId`), or the fields to set.
    pub fields: F,
}

/// A form in which the fields of a record can be held: to be looked at, or as bytes to be sent on.
pub(super) trait Fields: Sized {
    /// The fields of one of our own types.
    fn of(value: &impl Serialize) -> Result<Self, bson::error::Error>;
    /// Adds whose record it is.
    fn add_client(&mut self, client: &ClientId);
    /// Adds which commit wrote it.
    fn add_revision(&mut self, revision: Revision);
}

impl Fields for Document {
    fn of(value: &impl Serialize) -> Result<Self, bson::error::Error> {
        bson::serialize_to_document(value)
    }

    fn add_client(&mut self, client: &ClientId) {
        self.insert("clientId", client.object_id());
    }

    fn add_revision(&mut self, revision: Revision) {
        self.insert("revision", revision.0);
    }
}

/// Appends, and so replaces nothing: no record has either field before.
impl Fields for RawDocumentBuf {
    fn of(value: &impl Serialize) -> Result<Self, bson::error::Error> {
        bson::serialize_to_raw_document_buf(value)
    }

    fn add_client(&mut self, client: &ClientId) {
        self.append(cstr!("clientId"), client.object_id());
    }

    fn add_revision(&mut self, revision: Revision) {
        self.append(cstr!("revision"), revision.0);
    }
}

/// Where a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Table {
    /// With the client's dataset.
    Data(Collection),
    /// With what is ours alone.
    Own(OwnTable),
}

/// Where records are kept that are ours alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OwnTable {
    /// What local ids stand for.
    LocalIds,
}

/// Whether a change makes a record or sets fields of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChangeKind {
    Insert,
    Set,
}

/// A plan's writes as changes of one client's records, in the plan's order.
pub(super) fn changes<F: Fields>(client: &ClientId, plan: &Plan) -> Result<Vec<Change<F>>, StoreError> {
    plan.writes.iter().map(|write| change(client, plan.receipt.revision, write)).collect()
}

/// The records of the dataset as changes leave them. `before` holds at least those that are changed.
pub(super) fn written(changes: &[Change<RawDocumentBuf>], before: &Records) -> Result<Records, StoreError> {
    let mut written = Records::new();
    for change in changes {
        let Table::Data(collection) = change.table else { continue };
        let key = (collection, change.id);
        let record = changed(change.clone(), written.get(&key).or_else(|| before.get(&key)).map(Vec::as_slice))?;
        written.insert(key, record);
    }
    Ok(written)
}

/// A record as a change leaves it, the way MongoDB's `$set` does: fields that are there keep their places, and
/// new ones come last, in the order of their names.
pub(super) fn changed(change: Change<RawDocumentBuf>, before: Option<&[u8]>) -> Result<Vec<u8>, StoreError> {
    match (change.kind, before) {
        (ChangeKind::Insert, _) => Ok(change.fields.into_bytes()),
        (ChangeKind::Set, Some(before)) => set(before, &change.fields).map_err(|e| StoreError::Internal(e.to_string())),
        (ChangeKind::Set, None) => Err(StoreError::Internal(format!("no record {} to change", change.id))),
    }
}

fn set(before: &[u8], fields: &RawDocument) -> Result<Vec<u8>, bson::error::Error> {
    let mut after = RawDocumentBuf::new();
    let mut new: Vec<_> = fields.iter().collect::<Result<_, _>>()?;
    for element in RawDocument::from_bytes(before)? {
        let (name, value) = element?;
        match new.iter().position(|(changed, _)| *changed == name) {
            Some(index) => after.append(name, new.remove(index).1),
            None => after.append(name, value),
        }
    }
    new.sort_by_key(|(name, _)| *name);
    new.into_iter().for_each(|(name, value)| after.append(name, value));
    Ok(after.into_bytes())
}

/// A new record as MongoDB's `$setOnInsert` makes it: after its id the fields in the order of their names.
pub(super) fn in_name_order(mut change: Change<RawDocumentBuf>) -> Result<Change<RawDocumentBuf>, StoreError> {
    if change.kind == ChangeKind::Insert {
        let id = rawdoc! { "_id": change.id };
        let record = set(id.as_bytes(), &change.fields).and_then(RawDocumentBuf::from_bytes);
        change.fields = record.map_err(|e| StoreError::Internal(e.to_string()))?;
    }
    Ok(change)
}

/// Any of our own types from the bytes of a document. The decoder's own words would quote what it does not like, so they
/// are neither shown nor logged.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let unreadable = || format!("a stored {} is unreadable", std::any::type_name::<T>());
    bson::deserialize_from_slice(bytes).map_err(|_| StoreError::Internal(unreadable()))
}

fn change<F: Fields>(client: &ClientId, revision: Revision, write: &Write) -> Result<Change<F>, StoreError> {
    use ChangeKind::{Insert, Set};
    use Collection::{Invoices, Items, Payments, PurchaseHistories};
    let (table, id, kind, fields) = match write {
        Write::InsertItem(item) => (Table::Data(Items), item.id.0, Insert, fields(item)?),
        Write::UpdateItem(id, changes) => (Table::Data(Items), id.0, Set, fields(changes)?),
        Write::InsertInvoice(invoice) => (Table::Data(Invoices), invoice.id.0, Insert, fields(invoice)?),
        Write::SettleInvoice(id, settlement) => (Table::Data(Invoices), id.0, Set, fields(settlement)?),
        Write::InsertPayment(payment) => (Table::Data(Payments), payment.id.0, Insert, fields(payment)?),
        Write::InsertPurchase(purchase) => (Table::Data(PurchaseHistories), purchase.id.0, Insert, fields(purchase)?),
        Write::InsertLocalId(record) => (Table::Own(OwnTable::LocalIds), record.id, Insert, fields(record)?),
    };
    let mut change: Change<F> = Change { table, id, kind, fields };
    if kind == Insert {
        change.fields.add_client(client);
    }
    // A local id's record says its revision itself.
    if table != Table::Own(OwnTable::LocalIds) {
        change.fields.add_revision(revision);
    }
    Ok(change)
}

fn fields<F: Fields>(value: &impl Serialize) -> Result<F, StoreError> {
    F::of(value).map_err(|e| StoreError::Internal(e.to_string()))
}

/// Any of our own types as a document.
pub(super) fn document(value: &impl Serialize) -> Result<Document, StoreError> {
    fields(value)
}

/// Any of our own types as bytes.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    fields::<RawDocumentBuf>(value).map(RawDocumentBuf::into_bytes)
}

/// Any of our own types as a value.
pub(super) fn bson(value: &impl Serialize) -> Result<Bson, StoreError> {
    bson::serialize_to_bson(value).map_err(|e| StoreError::Internal(e.to_string()))
}

/// Any of our own types as a value that is ready to be sent.
pub(super) fn raw_bson(value: &impl Serialize) -> Result<RawBson, StoreError> {
    RawBson::try_from(bson(value)?).map_err(|e| StoreError::Internal(e.to_string()))
}

/// Adds what the local ids of a snapshot stand for to the items and invoices that are read: (items, invoices).
pub(super) fn named_by_local_ids(snapshot: &Snapshot, reads: &ReadSet) -> (BTreeSet<ItemId>, BTreeSet<InvoiceId>) {
    let (mut items, mut invoices) = (reads.items.clone(), reads.invoices.clone());
    for known in snapshot.local_ids.values() {
        match known.kind {
            Collection::Items => drop(items.insert(known.id.into())),
            Collection::Invoices => drop(invoices.insert(known.id.into())),
            _ => {}
        }
    }
    (items, invoices)
}

/// What the rules look at of a stored item.
pub(super) fn stored_item(record: &RawDocument) -> StoredItem {
    StoredItem {
        name: text(record, "name"),
        price: amount(record, "price"),
        stock: amount(record, "stock").unwrap_or_default(),
    }
}

/// What the rules look at of a stored invoice; whether it has a purchase history is told elsewhere.
pub(super) fn stored_invoice(record: &RawDocument, has_purchase: bool) -> StoredInvoice {
    StoredInvoice {
        total_amount: amount(record, "totalAmount"),
        paid_amount: match field(record, "paidAmount") {
            None => Some(Amount::ZERO),
            Some(value) => Amount::from_bson(value),
        },
        customer_id: field(record, "clientCustomerId").and_then(|value| value.as_object_id()).map(Into::into),
        customer_phone: text(record, "clientCustomerPhone").unwrap_or_default(),
        has_purchase,
    }
}

fn amount(record: &RawDocument, name: &str) -> Option<Amount> {
    Amount::from_bson(field(record, name)?)
}

fn text(record: &RawDocument, name: &str) -> Option<String> {
    field(record, name)?.as_str().map(str::to_owned)
}

/// A field's value; absent, null and undecodable are `None`.
fn field<'a>(record: &'a RawDocument, name: &str) -> Option<RawBsonRef<'a>> {
    record.get(name).ok().flatten().filter(|value| !matches!(value, RawBsonRef::Null))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::model::{Item, LocalId};
    use crate::plan::Receipt;

    #[test]
    fn amounts_are_doubles_and_ids_and_times_what_mongodb_has() {
        let client = ClientId::from_verified_claim("64b000000000000000000001").unwrap();
        let (id, now) = (clock::new_id(), clock::now());
        let item = Item {
            id: id.into(),
            local_id: LocalId::new("l-1"),
            group_id: None,
            name: "Tea".to_owned(),
            price: Amount::from_f64(12.5).unwrap(),
            stock: Amount::whole(98),
            low_stock_quantity: Item::DEFAULT_LOW_STOCK,
            unit: Item::DEFAULT_UNIT.to_owned(),
            description: String::new(),
            dealer_ids: Vec::new(),
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let receipt = Receipt { revision: Revision(7), ..Receipt::default() };
        let plan = Plan { writes: vec![Write::InsertItem(item)], next_invoice: None, receipt, remember: None };
        let changes: Vec<Change> = changes(&client, &plan).unwrap();
        let of = |name: &str| changes[0].fields.get(name).cloned().unwrap();
        assert_eq!((of("price"), of("stock")), (Bson::Double(12.5), Bson::Double(98.0)));
        assert_eq!((of("_id"), of("clientId")), (Bson::ObjectId(id), Bson::ObjectId(client.object_id())));
        assert_eq!((of("revision"), of("createdAt")), (Bson::Int64(7), Bson::DateTime(now.date_time())));
    }

    #[test]
    fn a_changed_record_keeps_its_order_as_mongodb_does() {
        let before = encode(&bson::doc! {"_id": 1, "stock": 5, "name": "Tea", "stranger": [1]}).unwrap();
        let fields = rawdoc! {"revision": 9_i64, "price": 2.5, "stock": 4.0};
        let table = Table::Data(Collection::Items);
        let change = Change { table, id: clock::new_id(), kind: ChangeKind::Set, fields };
        let after: Document = decode(&changed(change.clone(), Some(&before)).unwrap()).unwrap();
        let expected =
            bson::doc! {"_id": 1, "stock": 4.0, "name": "Tea", "stranger": [1], "price": 2.5, "revision": 9_i64};
        assert!(after.iter().eq(expected.iter()), "{after}");
        assert!(changed(change, None).is_err());
    }
}
