//! What planners read of several clients, with as few commands as is less work.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, deserialize_from_slice};
use mongodb::{ClientSession, Database};

use super::counter::Counter;
use super::error::Failure;
use super::load::{Asked, Beside, Keep, Loaded};
use super::question::{Kind, Question, ask, object_id};
use super::together::{Coverage, Found, Questions};
use crate::dataset::Records;
use crate::model::{Collection, CustomerId, GroupId, InvoiceId, ItemId};
use crate::plan::{LocalRecord, NumberSearch, Snapshot};
use crate::store::StoreError;
use crate::store::records::named_by_local_ids;
use crate::store::whole::Whole;

/// How what planners read is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// With one find for each kind of record.
    Apart,
    /// With one command for all kinds, if they are few. It takes a transaction that has written the clients' own
    /// documents, and a single shard.
    Together,
}

/// Loads for each of several clients what [`load`](super::load::load) does, but for what
/// [`Glance`](crate::plan::Glance) leaves out.
pub(super) async fn glance(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    asked: &[Asked<'_>],
    keep: Keep,
    asking: Asking,
) -> Result<Vec<Loaded>, Failure> {
    let mut group = Group { keep, members: asked.iter().map(Member::new).collect(), unreadable: None };
    match (asking, session.as_deref_mut()) {
        (Asking::Together, Some(session)) => group.ask_together(db, session).await?,
        (_, session) => group.ask_apart(db, session).await?,
    }
    for member in &mut group.members {
        member.find_free_numbers(db, session.as_deref_mut(), keep).await?;
    }
    group.into_loaded()
}

/// Clients for whom is loaded together.
struct Group<'a> {
    keep: Keep,
    members: Vec<Member<'a>>,
    /// The kind of a record that was asked for and cannot be read, if there is one.
    unreadable: Option<Kind>,
}

/// One of them, and what was loaded for it so far.
struct Member<'a> {
    asked: &'a Asked<'a>,
    /// `None` until its local ids are known.
    named: Option<Named>,
    loaded: Loaded,
}

/// Which of a client's items and invoices are asked for, and which numbers of invoices.
struct Named {
    items: BTreeSet<ItemId>,
    invoices: BTreeSet<InvoiceId>,
    numbers: Vec<String>,
}

impl<'a> Group<'a> {
    /// With one command for everything, if that is less work. Of one client all records are read with it; others' datasets
    /// are read side by side after the commit: a reply with several takes more memory than it saves time.
    async fn ask_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<(), Failure> {
        let whole = self.members.iter().position(|member| member.asked.beside == Beside::Everything);
        // What local ids name of a client of whom everything is read needs no question of its own.
        if self.members.len() > 1 || whole.is_none() {
            self.ask_for_local_ids(db, Some(&mut *session)).await?;
        }
        if let Some(member) = whole {
            self.members[member].loaded.whole = Some(Whole::default());
        }
        if self.try_together(db, session).await? == Coverage::Cut {
            self.leave_whole();
            self.try_together(db, session).await?;
        }
        Ok(())
    }

    async fn try_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<Coverage, Failure> {
        let named = self.questions();
        let questions = Questions { named: &named, whole: self.whole() };
        if questions.are_worthwhile() {
            let coverage = questions.ask(db, session, |found| self.take(found)).await?;
            self.members.iter_mut().for_each(Member::name_records);
            return Ok(coverage);
        }
        self.leave_whole();
        self.ask_apart(db, Some(session)).await?;
        Ok(Coverage::Complete)
    }

    /// With one find for each kind of record.
    async fn ask_apart(&mut self, db: &Database, mut session: Option<&mut ClientSession>) -> Result<(), Failure> {
        self.ask_for_local_ids(db, session.as_deref_mut()).await?;
        let questions = self.questions();
        ask(db, session, &questions, |kind, record| self.take(Found::Named(kind, record))).await
    }

    async fn ask_for_local_ids(&mut self, db: &Database, session: Option<&mut ClientSession>) -> Result<(), Failure> {
        if self.members.iter().any(|member| member.named.is_none()) {
            let questions = self.questions();
            ask(db, session, &questions, |kind, record| self.take(Found::Named(kind, record))).await?;
            self.members.iter_mut().for_each(Member::name_records);
        }
        Ok(())
    }

    fn leave_whole(&mut self) {
        self.members.iter_mut().for_each(|member| member.loaded.whole = None);
    }

    /// The client of whom everything is read.
    fn whole(&self) -> Option<ObjectId> {
        let member = self.members.iter().find(|member| member.loaded.whole.is_some());
        member.map(|member| member.asked.client.object_id())
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

    /// Gives a record to the client whose it is. Local ids come before everything that they may name.
    fn take(&mut self, found: Found<'_>) {
        let (Found::Named(_, record) | Found::Any(_, record)) = found;
        let (keep, owner) = (self.keep, object_id(record, "clientId"));
        let is_owner = |member: &&mut Member<'_>| Some(member.asked.client.object_id()) == owner;
        let Some(member) = self.members.iter_mut().find(is_owner) else { return self.miss(&found) };
        match found {
            Found::Named(Kind::LocalIds, record) => match deserialize_from_slice(record.as_bytes()) {
                Ok(known) => member.take_local_id(known),
                Err(_) => self.unreadable = Some(Kind::LocalIds),
            },
            Found::Named(kind, record) => member.loaded.take(kind, keep, record),
            Found::Any(collection, record) => member.take_any(collection, record),
        }
    }

    /// Passes over a record that has no one owner: other programs may have made it the record of several.
    fn miss(&mut self, found: &Found<'_>) {
        if let Found::Any(..) = found {
            self.members.iter_mut().filter_map(|member| member.loaded.whole.as_mut()).for_each(Whole::leave_out);
        }
    }

    fn into_loaded(self) -> Result<Vec<Loaded>, Failure> {
        match self.unreadable {
            Some(kind) => Err(StoreError::Internal(format!("a record of {} is unreadable", kind.collection())).into()),
            None => Ok(self.members.into_iter().map(|member| member.loaded).collect()),
        }
    }
}

impl<'a> Member<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        let Counter { revision, next_invoice, .. } = *asked.counter;
        let snapshot = Snapshot { revision, next_invoice, ..Snapshot::default() };
        let loaded = Loaded { snapshot, revisions: HashMap::new(), records: Records::new(), whole: None };
        Self { asked, named: None, loaded }
    }

    /// The names that it asks for, by kind. Of a client of whom everything is read only what is not in its dataset has to
    /// be asked for.
    fn names(&self) -> impl Iterator<Item = (ObjectId, (Kind, Vec<Bson>))> {
        let (reads, is_whole) = (self.asked.reads, self.loaded.whole.is_some());
        let local_ids = || reads.local_ids.iter().map(|id| Bson::String(id.as_str().to_owned())).collect();
        let own = |Named { items, invoices, numbers }: &Named| {
            [
                (Kind::Items, ids(items, |id| id.0)),
                (Kind::Invoices, ids(invoices, |id| id.0)),
                (Kind::Groups, ids(&reads.groups, |id| id.0)),
                (Kind::Customers, ids(&reads.customers, |id| id.0)),
                (Kind::Numbers, numbers.iter().cloned().map(Bson::String).collect()),
            ]
        };
        let dealers = || (Kind::Dealers, ids(&reads.dealers, |id| id.0));
        let first = self.named.is_none().then(|| (Kind::LocalIds, local_ids()));
        let own = self.named.as_ref().filter(|_| !is_whole).map(own);
        let others = (is_whole || self.named.is_some()).then(dealers);
        let client = self.asked.client.object_id();
        first.into_iter().chain(own.into_iter().flatten()).chain(others).map(move |names| (client, names))
    }

    fn take_local_id(&mut self, known: LocalRecord) {
        if self.asked.reads.local_ids.contains(&known.local_id) {
            self.loaded.snapshot.local_ids.insert(known.local_id.clone(), known);
        }
    }

    /// Finds out what it names, once its local ids are known.
    fn name_records(&mut self) {
        if self.named.is_none() {
            let (items, invoices) = named_by_local_ids(&self.loaded.snapshot, self.asked.reads);
            let numbers = self.search().window().unwrap_or_default();
            self.named = Some(Named { items, invoices, numbers });
        }
    }

    /// Takes in any record of the client.
    fn take_any(&mut self, collection: Collection, record: &RawDocument) {
        self.name_records();
        let (Some(whole), Some(named)) = (&mut self.loaded.whole, &self.named) else { return };
        let (reads, id) = (self.asked.reads, object_id(record, "_id"));
        whole.push(collection, id, record);
        if collection == Collection::Invoices && !named.numbers.is_empty() {
            // All of them, so that none has to be asked for.
            self.loaded.snapshot.taken_numbers.extend(record.get_str("invoiceNumber").ok().map(str::to_owned));
        }
        let Some(id) = id else { return };
        let kind = match collection {
            Collection::Items if named.items.contains(&ItemId(id)) => Kind::Items,
            Collection::Invoices if named.invoices.contains(&InvoiceId(id)) => Kind::Invoices,
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
        let (mut search, mut known) = (self.search(), true);
        let Self { asked, loaded, .. } = self;
        while let Some(window) = search.window() {
            if !known {
                let names = window.into_iter().map(Bson::String).collect();
                let question = Question { kind: Kind::Numbers, clients: vec![asked.client.object_id()], names };
                ask(db, session.as_deref_mut(), &[question], |kind, record| loaded.take(kind, keep, record)).await?;
            }
            // Who has read everything knows all of them.
            known = loaded.whole.is_some();
            search.found(loaded.snapshot.taken_numbers.drain());
        }
        loaded.snapshot.taken_numbers = search.into_taken();
        Ok(())
    }

    fn search(&self) -> NumberSearch {
        NumberSearch::new(self.asked.counter.next_invoice, self.asked.reads.free_numbers)
    }
}

fn ids<'a, Id: 'a>(ids: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<Bson> {
    ids.into_iter().map(object_id).map(Bson::ObjectId).collect()
}
