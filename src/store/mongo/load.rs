//! From planners' read sets to the snapshots they plan on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use mongodb::options::{FindOptions, Hint};
use mongodb::{ClientSession, Database};
use serde::de::DeserializeOwned;

use super::counter::Counter;
use super::error::Failure;
use super::find::{find, in_few_batches};
use super::together::{Extent, Found, Questions};
use super::{DEALERS, LOCAL_IDS, RECEIPTS};
use crate::dataset::Records;
use crate::model::{ClientId, Collection, CustomerId, DealerId, GroupId, IdempotencyKey, InvoiceId, ItemId, LocalId};
use crate::plan::{LocalRecord, NumberSearch, ReadSet, Snapshot, StoredReceipt};
use crate::store::StoreError;
use crate::store::books::Whole;
use crate::store::records::{named_by_local_ids, stored_invoice, stored_item};

/// What a client's planner asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub client: &'a ClientId,
    pub counter: &'a Counter,
    pub reads: &'a ReadSet,
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
pub(super) struct Loaded {
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
    asked: Asked<'_>,
    keep: Keep,
) -> Result<Loaded, Failure> {
    let mut loaded = glance(db, session.as_deref_mut(), &[asked], keep, Asking::Apart).await?.remove(0);
    complete(db, session, asked, &mut loaded).await?;
    Ok(loaded)
}

/// Loads for each of several clients what [`load`] does, but for what [`Glance`](crate::plan::Glance) leaves out.
pub(super) async fn glance(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    asked: &[Asked<'_>],
    keep: Keep,
    asking: Asking,
) -> Result<Vec<Loaded>, Failure> {
    let mut group = Group { keep, members: asked.iter().map(Member::new).collect() };
    // First, because they name items and invoices.
    group.local_ids(db, session.as_deref_mut()).await?;
    group.members.iter_mut().for_each(Member::name_records);
    match (asking, session.as_deref_mut()) {
        (Asking::Together, Some(session)) => group.ask_together(db, session).await?,
        (_, session) => group.ask_apart(db, session).await?,
    }
    for member in &mut group.members {
        member.find_free_numbers(db, session.as_deref_mut(), keep).await?;
    }
    Ok(group.members.into_iter().map(|member| member.loaded).collect())
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

/// A kind of record that planners read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Items,
    Invoices,
    Groups,
    Customers,
    Dealers,
    /// Invoices, of which only the numbers are read.
    Numbers,
}

/// Which records of a kind are asked for. What belongs to one of the clients and was asked for by another comes
/// too, and is given to its owner alone.
pub(super) struct Question {
    pub kind: Kind,
    /// Whose they may be, one or more.
    pub clients: Vec<ObjectId>,
    /// Ids, or numbers.
    pub names: Vec<Bson>,
}

/// The most ids that one find names.
const MOST_IDS: usize = 10_000;

/// One kind of record after the other.
async fn ask(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    questions: &[Question],
    mut visit: impl FnMut(Kind, &RawDocument) + Send,
) -> Result<(), Failure> {
    for Question { kind, clients, names } in questions {
        for names in names.chunks(MOST_IDS) {
            let (filter, options) = (kind.filter(clients, names), kind.options());
            let take = |record: &RawDocument| visit(*kind, record);
            find(db, session.as_deref_mut(), kind.collection(), filter, options, take).await?;
        }
    }
    Ok(())
}

/// Clients for whom is loaded together.
struct Group<'a> {
    keep: Keep,
    members: Vec<Member<'a>>,
}

/// One of them, and what was loaded for it so far.
struct Member<'a> {
    asked: &'a Asked<'a>,
    named: Named,
    loaded: Loaded,
}

/// Which of a client's items and invoices are asked for, and which numbers of invoices.
#[derive(Default)]
struct Named {
    items: BTreeSet<ItemId>,
    invoices: BTreeSet<InvoiceId>,
    numbers: Vec<String>,
}

impl<'a> Group<'a> {
    /// With one command, if that is less work.
    async fn ask_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<(), Failure> {
        for member in &mut self.members {
            member.loaded.whole = (member.asked.beside == Beside::Everything).then(Whole::default);
        }
        if self.try_together(db, session).await? == Extent::Cut {
            self.members.iter_mut().for_each(|member| member.loaded.whole = None);
            self.try_together(db, session).await?;
        }
        Ok(())
    }

    async fn try_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<Extent, Failure> {
        let (named, whole) = (self.questions(), self.whole());
        let questions = Questions { named: &named, whole: &whole };
        if questions.are_worthwhile() {
            return questions.ask(db, session, |found| self.take(found)).await;
        }
        self.members.iter_mut().for_each(|member| member.loaded.whole = None);
        self.ask_apart(db, Some(session)).await?;
        Ok(Extent::Complete)
    }

    async fn ask_apart(&mut self, db: &Database, session: Option<&mut ClientSession>) -> Result<(), Failure> {
        let questions = self.questions();
        ask(db, session, &questions, |kind, record| self.take(Found::Named(kind, record))).await
    }

    /// The clients of whom everything is read.
    fn whole(&self) -> Vec<ObjectId> {
        let members = self.members.iter().filter(|member| member.loaded.whole.is_some());
        members.map(|member| member.asked.client.object_id()).collect()
    }

    /// What is asked for by name, by kind.
    fn questions(&self) -> Vec<Question> {
        let mut questions = BTreeMap::<Kind, Question>::new();
        for (client, (kind, names)) in self.members.iter().flat_map(Member::names) {
            if !names.is_empty() {
                let new = || Question { kind, clients: Vec::new(), names: Vec::new() };
                let question = questions.entry(kind).or_insert_with(new);
                question.clients.push(client);
                question.names.extend(names);
            }
        }
        questions.into_values().collect()
    }

    /// What is known of local ids.
    async fn local_ids(&mut self, db: &Database, mut session: Option<&mut ClientSession>) -> Result<(), Failure> {
        let asking = self.members.iter().map(|member| (member.asked.client.object_id(), &member.asked.reads.local_ids));
        let asking: Vec<_> = asking.filter(|(_, local_ids)| !local_ids.is_empty()).collect();
        let clients: Vec<_> = asking.iter().map(|(client, _)| *client).collect();
        let names: BTreeSet<_> = asking.iter().flat_map(|(_, local_ids)| *local_ids).map(LocalId::as_str).collect();
        let names: Vec<_> = names.into_iter().map(|name| Bson::String(name.to_owned())).collect();
        let mut readable = true;
        for names in names.chunks(MOST_IDS) {
            let filter = doc! { "clientId": owner(&clients), "localId": { "$in": names } };
            let mut options = in_few_batches();
            options.projection = Some(projection(&["clientId", "localId", "kind", "content", "revision"]));
            let take = |record: &RawDocument| readable &= self.take_local_id(record).is_ok();
            find(db, session.as_deref_mut(), LOCAL_IDS, filter, options, take).await?;
        }
        let unreadable = || StoreError::Internal(format!("a record of {LOCAL_IDS} is unreadable"));
        Ok(readable.then_some(()).ok_or_else(unreadable)?)
    }

    fn take_local_id(&mut self, record: &RawDocument) -> Result<(), bson::error::Error> {
        let known: LocalRecord = bson::deserialize_from_slice(record.as_bytes())?;
        let member = self.owner_of(record).filter(|member| member.asked.reads.local_ids.contains(&known.local_id));
        if let Some(member) = member {
            member.loaded.snapshot.local_ids.insert(known.local_id.clone(), known);
        }
        Ok(())
    }

    fn owner_of(&mut self, record: &RawDocument) -> Option<&mut Member<'a>> {
        let owner = object_id(record, "clientId")?;
        self.members.iter_mut().find(|member| member.asked.client.object_id() == owner)
    }

    /// Gives a record to the client whose it is.
    fn take(&mut self, found: Found<'_>) {
        let keep = self.keep;
        let (Found::Named(_, record) | Found::Any(_, record)) = found;
        let Some(member) = self.owner_of(record) else { return };
        match found {
            Found::Named(kind, record) => member.loaded.take(kind, keep, record),
            Found::Any(collection, record) => member.take_any(collection, record),
        }
    }
}

impl<'a> Member<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        let Counter { revision, next_invoice, .. } = *asked.counter;
        let snapshot = Snapshot { revision, next_invoice, ..Snapshot::default() };
        let loaded = Loaded { snapshot, revisions: HashMap::new(), records: Records::new(), whole: None };
        Self { asked, named: Named::default(), loaded }
    }

    /// Finds out what it names, once the local ids are known.
    fn name_records(&mut self) {
        let (items, invoices) = named_by_local_ids(&self.loaded.snapshot, self.asked.reads);
        let numbers = self.search().window().unwrap_or_default();
        self.named = Named { items, invoices, numbers };
    }

    /// The ids and numbers that it asks for, by kind. If all of the client's records are read, only others' are asked for.
    fn names(&self) -> impl Iterator<Item = (ObjectId, (Kind, Vec<Bson>))> {
        let (reads, Named { items, invoices, numbers }) = (self.asked.reads, &self.named);
        let dealers = (Kind::Dealers, bson_ids(&reads.dealers, |id| id.0));
        let own = || {
            [
                (Kind::Items, bson_ids(items, |id| id.0)),
                (Kind::Invoices, bson_ids(invoices, |id| id.0)),
                (Kind::Groups, bson_ids(&reads.groups, |id| id.0)),
                (Kind::Customers, bson_ids(&reads.customers, |id| id.0)),
                (Kind::Numbers, numbers.iter().cloned().map(Bson::String).collect()),
            ]
        };
        let own = if self.loaded.whole.is_some() { None } else { Some(own()) };
        let client = self.asked.client.object_id();
        own.into_iter().flatten().chain([dealers]).map(move |names| (client, names))
    }

    /// Takes in any record of the client.
    fn take_any(&mut self, collection: Collection, record: &RawDocument) {
        let (reads, Named { items, invoices, numbers }) = (self.asked.reads, &self.named);
        let Some(whole) = &mut self.loaded.whole else { return };
        let id = object_id(record, "_id");
        whole.push(collection, id, record);
        if collection == Collection::Invoices && !numbers.is_empty() {
            // All of them, so that none has to be asked for.
            self.loaded.snapshot.taken_numbers.extend(record.get_str("invoiceNumber").ok().map(str::to_owned));
        }
        let Some(id) = id else { return };
        let kind = match collection {
            Collection::Items if items.contains(&ItemId(id)) => Kind::Items,
            Collection::Invoices if invoices.contains(&InvoiceId(id)) => Kind::Invoices,
            Collection::ItemGroups if reads.groups.contains(&GroupId(id)) => Kind::Groups,
            Collection::ClientCustomers if reads.customers.contains(&CustomerId(id)) => Kind::Customers,
            _ => return,
        };
        self.loaded.take(kind, Keep::Records, record);
    }

    /// Searches on where the first numbers, which have been asked for, were taken.
    async fn find_free_numbers(
        &mut self,
        db: &Database,
        mut session: Option<&mut ClientSession>,
        keep: Keep,
    ) -> Result<(), Failure> {
        let (mut search, mut first) = (self.search(), true);
        let Self { asked, loaded, .. } = self;
        while let Some(window) = search.window() {
            if !first && loaded.whole.is_none() {
                let names = window.into_iter().map(Bson::String).collect();
                let question = Question { kind: Kind::Numbers, clients: vec![asked.client.object_id()], names };
                ask(db, session.as_deref_mut(), &[question], |kind, record| loaded.take(kind, keep, record)).await?;
            }
            first = false;
            search.found(loaded.snapshot.taken_numbers.drain());
        }
        loaded.snapshot.taken_numbers = search.into_taken();
        Ok(())
    }

    fn search(&self) -> NumberSearch {
        NumberSearch::new(self.asked.counter.next_invoice, self.asked.reads.free_numbers)
    }
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
        for names in names.chunks(MOST_IDS) {
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
        for ids in ids.chunks(MOST_IDS) {
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

    /// Finds the clients' records with these ids, or these numbers.
    pub fn filter(self, clients: &[ObjectId], names: &[Bson]) -> Document {
        let owner = owner(clients);
        match self {
            Self::Items | Self::Invoices => doc! { "_id": { "$in": names }, "clientId": owner },
            Self::Groups | Self::Customers | Self::Dealers => doc! { "clientId": owner, "_id": { "$in": names } },
            Self::Numbers => doc! { "clientId": owner, "invoiceNumber": { "$in": names } },
        }
    }

    /// What is read of a record; everything, where to cut out what the rules do not look at would cost the server
    /// more than to send it.
    pub fn projection(self) -> Option<Document> {
        match self {
            Self::Items | Self::Invoices => None,
            Self::Groups | Self::Customers | Self::Dealers => Some(doc! { "_id": 1, "clientId": 1 }),
            // From the index alone.
            Self::Numbers => Some(doc! { "_id": 0, "clientId": 1, "invoiceNumber": 1 }),
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

/// Whose records are asked for.
pub(super) fn owner(clients: &[ObjectId]) -> Bson {
    match clients {
        [client] => Bson::ObjectId(*client),
        clients => doc! { "$in": clients }.into(),
    }
}

fn projection(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

fn ids<'a, Id: 'a>(ids: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<ObjectId> {
    ids.into_iter().map(object_id).collect()
}

fn bson_ids<'a, Id: 'a>(ids_of: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<Bson> {
    ids(ids_of, object_id).into_iter().map(Bson::ObjectId).collect()
}

fn object_id(record: &RawDocument, field: &str) -> Option<ObjectId> {
    record.get_object_id(field).ok()
}

fn revision(record: &RawDocument) -> Bson {
    record.get("revision").ok().flatten().and_then(|value| Bson::try_from(value).ok()).unwrap_or(Bson::Null)
}
