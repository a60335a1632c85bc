//! From planners' read sets to the snapshots they plan on.

use std::collections::{BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use mongodb::{ClientSession, Database};
use serde::de::DeserializeOwned;

use super::RECEIPTS;
use super::counter::Counter;
use super::error::Failure;
use super::find::{find, in_few_batches};
use super::glance::{Asking, glance};
use super::question::{Kind, MOST_NAMES, object_id, projection};
use crate::dataset::Records;
use crate::model::{ClientId, Collection, CustomerId, DealerId, GroupId, IdempotencyKey, InvoiceId};
use crate::plan::{ReadSet, Snapshot, StoredReceipt};
use crate::store::StoreError;
use crate::store::records::{stored_invoice, stored_item};
use crate::store::whole::Whole;

/// What a client's planner asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub client: &'a ClientId,
    pub reads: &'a ReadSet,
    /// The number from which on its next invoice most likely has one: which of the next are taken is asked for before
    /// its counter is known.
    pub likely_next_invoice: i64,
    /// How much is wanted beside that, if it can be had with one command for all.
    pub beside: Beside,
}

/// What is read beside what planners look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// All records of the client, because they will be shown next.
    Everything,
}

/// What was read for a plan.
#[derive(Default)]
pub(super) struct Loaded {
    pub counter: Counter,
    pub snapshot: Snapshot,
    /// The `revision` that each item and invoice of the snapshot had; null where it had none.
    pub revisions: HashMap<ObjectId, Bson>,
    /// The items and invoices as they are stored, if they are to be kept.
    pub records: Records,
    /// All records of the client, if they were read beside; the items and invoices are kept then.
    pub whole: Option<Whole>,
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
    asked: Asked<'_>,
    keep: Keep,
) -> Result<Loaded, Failure> {
    let mut loaded = glance(db, session.as_deref_mut(), &[asked], keep, Asking::Apart).await?.remove(0).usable()?;
    complete(db, session, asked, &mut loaded).await?;
    Ok(loaded)
}

/// Adds to what [`glance`] loaded what it left out.
pub(super) async fn complete(
    db: &Database,
    session: Option<&mut ClientSession>,
    asked: Asked<'_>,
    loaded: &mut Loaded,
) -> Result<(), Failure> {
    let mut loader = Loader { db, session, client: asked.client.object_id(), loaded };
    loader.purchases().await?;
    loader.receipts(&asked.reads.receipts).await
}

/// Loads records of one client.
struct Loader<'a> {
    db: &'a Database,
    session: Option<&'a mut ClientSession>,
    client: ObjectId,
    loaded: &'a mut Loaded,
}

impl Loader<'_> {
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

    async fn receipts(&mut self, keys: &BTreeSet<IdempotencyKey>) -> Result<(), Failure> {
        let names = keys.iter().map(IdempotencyKey::as_str).collect();
        let fields = ["key", "fingerprint", "createdAt", "receipt"];
        let receipts: Vec<StoredReceipt> = self.named(RECEIPTS, "key", names, &fields).await?;
        self.loaded.snapshot.receipts = receipts.into_iter().map(|stored| (stored.key.clone(), stored)).collect();
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
        for names in names.chunks(MOST_NAMES) {
            let take = |record: &RawDocument| found.push(bson::deserialize_from_slice(record.as_bytes()));
            let filter = doc! { "clientId": self.client, name_field: { "$in": names } };
            self.find(collection, filter, projection(fields), take).await?;
        }
        let unreadable = |_| StoreError::Internal(format!("a record of {collection} is unreadable")).into();
        found.into_iter().collect::<Result<_, bson::error::Error>>().map_err(unreadable)
    }

    async fn by_ids(
        &mut self,
        collection: &str,
        id_field: &str,
        ids: Vec<ObjectId>,
        mut take: impl FnMut(&RawDocument) + Send,
    ) -> Result<(), Failure> {
        for ids in ids.chunks(MOST_NAMES) {
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

impl<'a> Asked<'a> {
    /// Nothing but what a planner reads.
    pub fn plainly(client: &'a ClientId, reads: &'a ReadSet) -> Self {
        Self { client, reads, likely_next_invoice: Counter::default().next_invoice, beside: Beside::Nothing }
    }
}

impl Loaded {
    /// The same, if the client may be served.
    ///
    /// # Errors
    /// As [`Counter::usable`].
    pub fn usable(self) -> Result<Self, StoreError> {
        Ok(Self { counter: self.counter.usable()?, ..self })
    }

    /// Takes in a record that was asked for.
    pub fn take(&mut self, kind: Kind, keep: Keep, record: &RawDocument) {
        let snapshot = &mut self.snapshot;
        if kind == Kind::Numbers {
            snapshot.taken_numbers.extend(record.get_str("invoiceNumber").ok().map(str::to_owned));
        }
        let Some(id) = object_id(record, "_id") else { return };
        match kind {
            Kind::Items => drop(snapshot.items.insert(id.into(), stored_item(record))),
            Kind::Invoices => drop(snapshot.invoices.insert(id.into(), stored_invoice(record, false))),
            Kind::Groups => snapshot.groups.extend([GroupId(id)]),
            Kind::Customers => snapshot.customers.extend([CustomerId(id)]),
            Kind::Dealers => snapshot.dealers.extend([DealerId(id)]),
            Kind::Numbers | Kind::LocalIds => {}
        }
        let collection = match kind {
            Kind::Items => Collection::Items,
            Kind::Invoices => Collection::Invoices,
            _ => return,
        };
        self.revisions.insert(id, revision(record));
        if keep == Keep::Records {
            self.records.insert((collection, id), record.as_bytes().to_vec());
        }
    }
}

fn ids<'a, Id: 'a>(ids: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<ObjectId> {
    ids.into_iter().map(object_id).collect()
}

fn revision(record: &RawDocument) -> Bson {
    record.get("revision").ok().flatten().and_then(|value| Bson::try_from(value).ok()).unwrap_or(Bson::Null)
}
