//! From a planner's read set to the snapshot it plans on.

use std::collections::{BTreeSet, HashMap, HashSet};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use mongodb::options::Hint;
use mongodb::{ClientSession, Database};
use serde::de::DeserializeOwned;

use super::counter::Counter;
use super::error::Failure;
use super::find::{find, in_few_batches};
use super::{DEALERS, LOCAL_IDS, RECEIPTS};
use crate::dataset::Records;
use crate::model::{ClientId, Collection, IdempotencyKey, InvoiceId, ItemId, LocalId};
use crate::plan::{LocalRecord, NumberSearch, ReadSet, Snapshot, StoredReceipt};
use crate::store::StoreError;
use crate::store::records::{named_by_local_ids, stored_invoice, stored_item};

/// What was read for a plan.
pub(super) struct Loaded {
    pub snapshot: Snapshot,
    /// The `revision` that each item and invoice of the snapshot had; null where it had none.
    pub revisions: HashMap<ObjectId, Bson>,
    /// The items and invoices as they are stored, if they are to be kept.
    pub records: Records,
}

/// What is kept of the items and invoices beside what the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    /// The whole records.
    Records,
}

/// Loads what a planner reads, with one find for each kind of record. In a transaction all of it is of
/// one moment; without a session the caller keeps others away.
pub(super) async fn load(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    client: &ClientId,
    counter: &Counter,
    reads: &ReadSet,
    keep: Keep,
) -> Result<Loaded, Failure> {
    let mut loaded = glance(db, session.as_deref_mut(), client, counter, reads, keep).await?;
    complete(db, session, client, reads, &mut loaded).await?;
    Ok(loaded)
}

/// Loads what [`load`] does, but for what [`Glance`](crate::plan::Glance) leaves out.
pub(super) async fn glance(
    db: &Database,
    session: Option<&mut ClientSession>,
    client: &ClientId,
    counter: &Counter,
    reads: &ReadSet,
    keep: Keep,
) -> Result<Loaded, Failure> {
    let snapshot = Snapshot { revision: counter.revision, next_invoice: counter.next_invoice, ..Snapshot::default() };
    let mut loaded = Loaded { snapshot, revisions: HashMap::new(), records: Records::new() };
    let mut loader = Loader { db, session, client: client.object_id(), keep, loaded: &mut loaded };
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
    Ok(loaded)
}

/// Adds to what [`glance`] loaded what it left out.
pub(super) async fn complete(
    db: &Database,
    session: Option<&mut ClientSession>,
    client: &ClientId,
    reads: &ReadSet,
    loaded: &mut Loaded,
) -> Result<(), Failure> {
    let mut loader = Loader { db, session, client: client.object_id(), keep: Keep::Nothing, loaded };
    loader.purchases().await?;
    loader.receipts(&reads.receipts).await
}

struct Loader<'a> {
    db: &'a Database,
    session: Option<&'a mut ClientSession>,
    client: ObjectId,
    keep: Keep,
    loaded: &'a mut Loaded,
}

impl Loader<'_> {
    /// The most ids that one find names.
    const MOST_IDS: usize = 10_000;

    async fn items(&mut self, wanted: &BTreeSet<ItemId>) -> Result<(), Failure> {
        let mut items = HashMap::new();
        let take = |id: ObjectId, record: &RawDocument| {
            items.insert(id.into(), stored_item(record));
        };
        self.records(Collection::Items, ids(wanted, |id| id.0), take).await?;
        self.loaded.snapshot.items = items;
        Ok(())
    }

    async fn invoices(&mut self, wanted: &BTreeSet<InvoiceId>) -> Result<(), Failure> {
        let mut invoices = HashMap::new();
        let take = |id: ObjectId, record: &RawDocument| {
            invoices.insert(id.into(), stored_invoice(record, false));
        };
        self.records(Collection::Invoices, ids(wanted, |id| id.0), take).await?;
        self.loaded.snapshot.invoices = invoices;
        Ok(())
    }

    /// Which of the invoices are in the purchase history.
    async fn purchases(&mut self) -> Result<(), Failure> {
        let ids = ids(self.loaded.snapshot.invoices.keys(), |id| id.0);
        let mut purchased = Vec::new();
        let take = |record: &RawDocument| purchased.extend(object_id(record, "invoiceId").map(InvoiceId));
        self.by_ids(Collection::PurchaseHistories.name(), "invoiceId", ids, take).await?;
        for id in purchased {
            if let Some(invoice) = self.loaded.snapshot.invoices.get_mut(&id) {
                invoice.has_purchase = true;
            }
        }
        Ok(())
    }

    /// Which of the ids are there.
    async fn existing<Id>(&mut self, collection: &str, ids: Vec<ObjectId>) -> Result<HashSet<Id>, Failure>
    where
        Id: From<ObjectId> + Eq + std::hash::Hash + Send,
    {
        let mut existing = HashSet::new();
        let take = |record: &RawDocument| existing.extend(object_id(record, "_id").map(Id::from));
        self.by_ids(collection, "_id", ids, take).await?;
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
            // From the index alone.
            let number = doc! { "_id": 0, "invoiceNumber": 1 };
            self.find(Collection::Invoices.name(), filter, number, take).await?;
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
            self.find(collection, filter, projection(fields), take).await?;
        }
        let unreadable = |_| StoreError::Internal(format!("a record of {collection} is unreadable")).into();
        found.into_iter().collect::<Result<_, bson::error::Error>>().map_err(unreadable)
    }

    /// Whole records by their ids: to cut out what the rules do not look at costs the server more than to send it.
    async fn records(
        &mut self,
        collection: Collection,
        ids: Vec<ObjectId>,
        mut take: impl FnMut(ObjectId, &RawDocument) + Send,
    ) -> Result<(), Failure> {
        let (mut revisions, mut records, keep) = (HashMap::new(), Records::new(), self.keep);
        let mut take = |record: &RawDocument| {
            let Some(id) = object_id(record, "_id") else { return };
            take(id, record);
            revisions.insert(id, revision(record));
            if keep == Keep::Records {
                records.insert((collection, id), record.as_bytes().to_vec());
            }
        };
        for ids in ids.chunks(Self::MOST_IDS) {
            let mut options = in_few_batches();
            // For the server to choose an index takes longer than to use this one, which is always there.
            options.hint = Some(Hint::Keys(doc! { "_id": 1 }));
            let filter = doc! { "_id": { "$in": ids }, "clientId": self.client };
            find(self.db, self.session.as_deref_mut(), collection.name(), filter, options, &mut take).await?;
        }
        self.loaded.revisions.extend(revisions);
        self.loaded.records.extend(records);
        Ok(())
    }

    async fn by_ids(
        &mut self,
        collection: &str,
        id_field: &str,
        ids: Vec<ObjectId>,
        mut take: impl FnMut(&RawDocument) + Send,
    ) -> Result<(), Failure> {
        for ids in ids.chunks(Self::MOST_IDS) {
            let filter = doc! { "clientId": self.client, id_field: { "$in": ids } };
            self.find(collection, filter, projection(&[id_field]), &mut take).await?;
        }
        Ok(())
    }

    async fn find(
        &mut self,
        collection: &str,
        filter: Document,
        projection: Document,
        take: impl FnMut(&RawDocument) + Send,
    ) -> Result<(), Failure> {
        let mut options = in_few_batches();
        options.projection = Some(projection);
        Ok(find(self.db, self.session.as_deref_mut(), collection, filter, options, take).await?)
    }
}

fn projection(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
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
