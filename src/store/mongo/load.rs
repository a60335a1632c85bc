//! From a planner's read set to the snapshot it plans on.

use std::collections::{BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use mongodb::options::{FindOptions, Hint};
use mongodb::{ClientSession, Database};
use serde::de::DeserializeOwned;

use super::counter::Counter;
use super::error::Failure;
use super::find::{find, in_few_batches};
use super::{DEALERS, LOCAL_IDS, RECEIPTS, together};
use crate::dataset::Records;
use crate::model::{ClientId, Collection, CustomerId, DealerId, GroupId, IdempotencyKey, InvoiceId, LocalId};
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

/// How what a planner reads is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// With one find for each kind of record.
    Apart,
    /// With one command for all kinds, if they are few. It takes a transaction that has written the client's own
    /// document, and a single shard.
    Together,
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
    let mut loaded = glance(db, session.as_deref_mut(), client, counter, reads, keep, Asking::Apart).await?;
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
    asking: Asking,
) -> Result<Loaded, Failure> {
    let snapshot = Snapshot { revision: counter.revision, next_invoice: counter.next_invoice, ..Snapshot::default() };
    let mut loaded = Loaded { snapshot, revisions: HashMap::new(), records: Records::new() };
    let mut loader = Loader { db, session, client: client.object_id(), keep, loaded: &mut loaded };
    // First, because they name items and invoices.
    loader.local_ids(&reads.local_ids).await?;
    let (items, invoices) = named_by_local_ids(&loader.loaded.snapshot, reads);
    let mut search = NumberSearch::new(counter.next_invoice, reads.free_numbers);
    let questions = [
        Question::of_ids(Kind::Items, ids(&items, |id| id.0)),
        Question::of_ids(Kind::Invoices, ids(&invoices, |id| id.0)),
        Question::of_ids(Kind::Groups, ids(&reads.groups, |id| id.0)),
        Question::of_ids(Kind::Customers, ids(&reads.customers, |id| id.0)),
        Question::of_ids(Kind::Dealers, ids(&reads.dealers, |id| id.0)),
        Question::of_numbers(search.window().unwrap_or_default()),
    ];
    let questions: Vec<_> = questions.into_iter().filter(|question| !question.names.is_empty()).collect();
    match asking {
        Asking::Together if together::is_worthwhile(&questions) => loader.ask_together(&questions).await?,
        _ => loader.ask(&questions).await?,
    }
    loader.numbers(&mut search).await?;
    loaded.snapshot.taken_numbers = search.into_taken();
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

/// A kind of record that planners read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Items,
    Invoices,
    Groups,
    Customers,
    Dealers,
    /// Invoices, of which only the numbers are read.
    Numbers,
}

/// Which records of a kind are asked for.
pub(super) struct Question {
    pub kind: Kind,
    /// Ids, or numbers.
    pub names: Vec<Bson>,
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

    /// All kinds with one command.
    async fn ask_together(&mut self, questions: &[Question]) -> Result<(), Failure> {
        let Some(session) = self.session.as_deref_mut() else { return self.ask(questions).await };
        let (loaded, keep) = (&mut *self.loaded, self.keep);
        let found = together::ask(self.db, session, self.client, questions, |kind, record| {
            loaded.take(kind, keep, record);
        });
        found.await
    }

    /// One kind of record after the other.
    async fn ask(&mut self, questions: &[Question]) -> Result<(), Failure> {
        for question in questions {
            for names in question.names.chunks(Self::MOST_IDS) {
                let (loaded, keep) = (&mut *self.loaded, self.keep);
                let take = |record: &RawDocument| loaded.take(question.kind, keep, record);
                let (filter, options) = (question.kind.filter(self.client, names), question.kind.options());
                find(self.db, self.session.as_deref_mut(), question.kind.collection(), filter, options, take).await?;
            }
        }
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

    /// Searches on where the first numbers, which have been asked for, were taken.
    async fn numbers(&mut self, search: &mut NumberSearch) -> Result<(), Failure> {
        let mut first = true;
        while let Some(window) = search.window() {
            if !first {
                self.ask(&[Question::of_numbers(window)]).await?;
            }
            first = false;
            search.found(self.loaded.snapshot.taken_numbers.drain());
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

impl Question {
    fn of_ids(kind: Kind, ids: Vec<ObjectId>) -> Self {
        Self { kind, names: ids.into_iter().map(Bson::ObjectId).collect() }
    }

    fn of_numbers(numbers: Vec<String>) -> Self {
        Self { kind: Kind::Numbers, names: numbers.into_iter().map(Bson::String).collect() }
    }
}

impl Kind {
    pub fn collection(self) -> &'static str {
        match self {
            Self::Items => Collection::Items.name(),
            Self::Invoices | Self::Numbers => Collection::Invoices.name(),
            Self::Groups => Collection::ItemGroups.name(),
            Self::Customers => Collection::ClientCustomers.name(),
            Self::Dealers => DEALERS,
        }
    }

    /// Finds the client's records with these ids, or these numbers.
    pub fn filter(self, client: ObjectId, names: &[Bson]) -> Document {
        match self {
            Self::Items | Self::Invoices => doc! { "_id": { "$in": names }, "clientId": client },
            Self::Groups | Self::Customers | Self::Dealers => doc! { "clientId": client, "_id": { "$in": names } },
            Self::Numbers => doc! { "clientId": client, "invoiceNumber": { "$in": names } },
        }
    }

    /// What is read of a record; everything, where to cut out what the rules do not look at would cost the server
    /// more than to send it.
    pub fn projection(self) -> Option<Document> {
        match self {
            Self::Items | Self::Invoices => None,
            Self::Groups | Self::Customers | Self::Dealers => Some(doc! { "_id": 1 }),
            // From the index alone.
            Self::Numbers => Some(doc! { "_id": 0, "invoiceNumber": 1 }),
        }
    }

    fn options(self) -> FindOptions {
        let mut options = in_few_batches();
        options.projection = self.projection();
        if let Self::Items | Self::Invoices = self {
            // For the server to choose an index takes longer than to use this one, which is always there.
            options.hint = Some(Hint::Keys(doc! { "_id": 1 }));
        }
        options
    }
}

impl Loaded {
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
            Kind::Numbers => {}
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
