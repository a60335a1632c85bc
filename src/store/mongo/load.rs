//! From a planner's read set to the snapshot it plans on.

use std::collections::{BTreeSet, HashMap, HashSet};

use bson::oid::ObjectId;
use bson::raw::{RawBsonRef, RawDocument};
use bson::{Bson, Document, doc};
use mongodb::{ClientSession, Database};
use serde::de::DeserializeOwned;

use super::error::Failure;
use super::find::{find, in_few_batches};
use super::{CLIENTS, DEALERS, LOCAL_IDS, RECEIPTS};
use crate::dataset::Records;
use crate::model::{ClientId, Collection, IdempotencyKey, InvoiceId, ItemId, Lineage, LocalId, Position, Revision};
use crate::plan::{LocalRecord, NumberSearch, ReadSet, Snapshot, StoredReceipt};
use crate::store::StoreError;
use crate::store::records::{named_by_local_ids, stored_invoice, stored_item};

/// A client's own document: what its next batch goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counter {
    pub revision: Revision,
    pub next_invoice: i64,
    /// Which commits belong to which history.
    pub lineage: Lineage,
}

/// What was read for a plan.
pub(super) struct Loaded {
    pub snapshot: Snapshot,
    /// The `revision` that each item and invoice of the snapshot had; null where it had none.
    pub revisions: HashMap<ObjectId, Bson>,
    /// The items and invoices of the snapshot as they are stored, if they were read whole.
    pub records: Records,
}

/// How much of the items and invoices is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What the rules look at.
    Needed,
    /// The whole records.
    Whole,
}

impl Default for Counter {
    /// That of a new client.
    fn default() -> Self {
        Self { revision: Revision::default(), next_invoice: 1, lineage: Lineage::default() }
    }
}

impl Counter {
    /// Reads a client's document.
    pub fn of(record: &RawDocument) -> Self {
        Self {
            revision: Revision(whole(record, "revision").unwrap_or_default()),
            next_invoice: whole(record, "nextInvoice").unwrap_or(1),
            lineage: lineage(record).unwrap_or_default(),
        }
    }

    /// Where the client's books stand.
    pub fn position(&self) -> Position {
        self.lineage.at(self.revision)
    }

    /// The client's counter as it is stored; that of a new client if it is not.
    pub async fn load(
        db: &Database,
        session: Option<&mut ClientSession>,
        client: ObjectId,
    ) -> mongodb::error::Result<Self> {
        let mut counter = Self::default();
        let take = |record: &RawDocument| counter = Self::of(record);
        find(db, session, CLIENTS, doc! { "_id": client }, in_few_batches(), take).await?;
        Ok(counter)
    }
}

/// Loads what a planner reads, with one find for each kind of record. In a transaction all of it is of
/// one moment; without a session the caller keeps others away.
pub(super) async fn load(
    db: &Database,
    session: Option<&mut ClientSession>,
    client: &ClientId,
    counter: &Counter,
    reads: &ReadSet,
    extent: Extent,
) -> Result<Loaded, Failure> {
    let snapshot = Snapshot { revision: counter.revision, next_invoice: counter.next_invoice, ..Snapshot::default() };
    let loaded = Loaded { snapshot, revisions: HashMap::new(), records: Records::new() };
    let mut loader = Loader { db, session, client: client.object_id(), extent, loaded };
    // First, because they name items and invoices.
    loader.local_ids(&reads.local_ids).await?;
    let (items, invoices) = named_by_local_ids(&loader.loaded.snapshot, reads);
    loader.items(&items).await?;
    loader.invoices(&invoices).await?;
    loader.loaded.snapshot.groups =
        loader.existing(Collection::ItemGroups.name(), ids(&reads.groups, |id| id.0)).await?;
    loader.loaded.snapshot.customers =
        loader.existing(Collection::ClientCustomers.name(), ids(&reads.customers, |id| id.0)).await?;
    loader.loaded.snapshot.dealers = loader.existing(DEALERS, ids(&reads.dealers, |id| id.0)).await?;
    loader.numbers(counter.next_invoice, reads.free_numbers).await?;
    loader.receipts(&reads.receipts).await?;
    Ok(loader.loaded)
}

struct Loader<'a> {
    db: &'a Database,
    session: Option<&'a mut ClientSession>,
    client: ObjectId,
    extent: Extent,
    loaded: Loaded,
}

impl Loader<'_> {
    /// The most ids that one find names.
    const MOST_IDS: usize = 10_000;

    async fn items(&mut self, wanted: &BTreeSet<ItemId>) -> Result<(), Failure> {
        let fields = ["name", "price", "stock", "revision"];
        let mut items = HashMap::new();
        self.read(Collection::Items, ids(wanted, |id| id.0), &fields, |id, record| {
            items.insert(id.into(), stored_item(record));
        })
        .await?;
        self.loaded.snapshot.items = items;
        Ok(())
    }

    async fn invoices(&mut self, wanted: &BTreeSet<InvoiceId>) -> Result<(), Failure> {
        let purchased = self.purchased(wanted).await?;
        let fields = ["totalAmount", "paidAmount", "clientCustomerId", "clientCustomerPhone", "revision"];
        let mut invoices = HashMap::new();
        self.read(Collection::Invoices, ids(wanted, |id| id.0), &fields, |id, record| {
            invoices.insert(id.into(), stored_invoice(record, purchased.contains(&InvoiceId(id))));
        })
        .await?;
        self.loaded.snapshot.invoices = invoices;
        Ok(())
    }

    /// Records that may be changed, and what changing them needs to know.
    async fn read(
        &mut self,
        collection: Collection,
        ids: Vec<ObjectId>,
        fields: &[&str],
        mut take: impl FnMut(ObjectId, &RawDocument) + Send,
    ) -> Result<(), Failure> {
        let (mut revisions, mut records, extent) = (HashMap::new(), Records::new(), self.extent);
        let fields = if extent == Extent::Whole { &[] } else { fields };
        let take = |record: &RawDocument| {
            if let Some(id) = object_id(record, "_id") {
                take(id, record);
                revisions.insert(id, revision(record));
                if extent == Extent::Whole {
                    records.insert((collection, id), record.as_bytes().to_vec());
                }
            }
        };
        self.by_ids(collection.name(), "_id", ids, fields, take).await?;
        self.loaded.revisions.extend(revisions);
        self.loaded.records.extend(records);
        Ok(())
    }

    /// Which of the invoices are in the purchase history.
    async fn purchased(&mut self, invoices: &BTreeSet<InvoiceId>) -> Result<HashSet<InvoiceId>, Failure> {
        let mut purchased = HashSet::new();
        let take = |record: &RawDocument| purchased.extend(object_id(record, "invoiceId").map(InvoiceId));
        let ids = ids(invoices, |id| id.0);
        self.by_ids(Collection::PurchaseHistories.name(), "invoiceId", ids, &["invoiceId"], take).await?;
        Ok(purchased)
    }

    /// Which of the ids are there.
    async fn existing<Id>(&mut self, collection: &str, ids: Vec<ObjectId>) -> Result<HashSet<Id>, Failure>
    where
        Id: From<ObjectId> + Eq + std::hash::Hash + Send,
    {
        let mut existing = HashSet::new();
        let take = |record: &RawDocument| existing.extend(object_id(record, "_id").map(Id::from));
        self.by_ids(collection, "_id", ids, &["_id"], take).await?;
        Ok(existing)
    }

    async fn numbers(&mut self, next: i64, needed: usize) -> Result<(), Failure> {
        let mut search = NumberSearch::new(next, needed);
        while let Some(window) = search.window() {
            let mut taken = Vec::new();
            let take = |record: &RawDocument| {
                taken.extend(record.get_str("invoiceNumber").ok().map(str::to_owned));
            };
            let filter = doc! { "clientId": self.client, "invoiceNumber": { "$in": window } };
            self.find(Collection::Invoices.name(), filter, &["invoiceNumber"], take).await?;
            search.found(taken);
        }
        self.loaded.snapshot.taken_numbers = search.into_taken();
        Ok(())
    }

    async fn receipts(&mut self, keys: &BTreeSet<IdempotencyKey>) -> Result<(), Failure> {
        let names = keys.iter().map(IdempotencyKey::as_str).collect();
        let fields = ["key", "fingerprint", "createdAt", "receipt"];
        let receipts: Vec<StoredReceipt> = self.named(RECEIPTS, "key", names, &fields).await?;
        self.loaded.snapshot.receipts = receipts.into_iter().map(|stored| (stored.key.clone(), stored)).collect();
        Ok(())
    }

    /// What is known of local ids.
    async fn local_ids(&mut self, local_ids: &BTreeSet<LocalId>) -> Result<(), Failure> {
        let names = local_ids.iter().map(LocalId::as_str).collect();
        let fields = ["localId", "kind", "content", "revision"];
        let known: Vec<LocalRecord> = self.named(LOCAL_IDS, "localId", names, &fields).await?;
        self.loaded.snapshot.local_ids = known.into_iter().map(|known| (known.local_id.clone(), known)).collect();
        Ok(())
    }

    /// Records of our own that are found by a name.
    async fn named<T: DeserializeOwned + Send>(
        &mut self,
        collection: &str,
        name_field: &str,
        names: Vec<&str>,
        fields: &[&str],
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        for names in names.chunks(Self::MOST_IDS) {
            let take = |record: &RawDocument| found.push(bson::deserialize_from_slice(record.as_bytes()));
            let filter = doc! { "clientId": self.client, name_field: { "$in": names } };
            self.find(collection, filter, fields, take).await?;
        }
        let unreadable = |_| StoreError::Internal(format!("a record of {collection} is unreadable")).into();
        found.into_iter().collect::<Result<_, bson::error::Error>>().map_err(unreadable)
    }

    async fn by_ids(
        &mut self,
        collection: &str,
        id_field: &str,
        ids: Vec<ObjectId>,
        fields: &[&str],
        mut take: impl FnMut(&RawDocument) + Send,
    ) -> Result<(), Failure> {
        for ids in ids.chunks(Self::MOST_IDS) {
            let filter = doc! { "clientId": self.client, id_field: { "$in": ids } };
            self.find(collection, filter, fields, &mut take).await?;
        }
        Ok(())
    }

    /// Reads these fields, or all if none is named.
    async fn find(
        &mut self,
        collection: &str,
        filter: Document,
        fields: &[&str],
        take: impl FnMut(&RawDocument) + Send,
    ) -> Result<(), Failure> {
        let mut options = in_few_batches();
        options.projection = Some(fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect());
        Ok(find(self.db, self.session.as_deref_mut(), collection, filter, options, take).await?)
    }
}

fn ids<'a, Id: 'a>(ids: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<ObjectId> {
    ids.into_iter().map(object_id).collect()
}

fn object_id(record: &RawDocument, field: &str) -> Option<ObjectId> {
    record.get_object_id(field).ok()
}

fn revision(record: &RawDocument) -> Bson {
    record.get("revision").ok().flatten().and_then(|value| Bson::try_from(value).ok()).unwrap_or(Bson::Null)
}

fn lineage(record: &RawDocument) -> Option<Lineage> {
    let stored = Bson::try_from(record.get("lineage").ok()??).ok()?;
    bson::deserialize_from_bson(stored).ok()
}

/// A whole number, whichever of BSON's number types it has.
fn whole(record: &RawDocument, field: &str) -> Option<i64> {
    match record.get(field).ok()?? {
        RawBsonRef::Int32(value) => Some(value.into()),
        RawBsonRef::Int64(value) => Some(value),
        RawBsonRef::Double(value) => Some(value as i64),
        _ => None,
    }
}
