//! What planners read of several clients, with as few commands as is less work.

use std::collections::{BTreeMap, BTreeSet};

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, deserialize_from_slice, doc};
use mongodb::{ClientSession, Database};

use super::counter::Counter;
use super::error::Failure;
use super::find::{find, in_few_batches};
use super::load::{Asked, Beside, Keep, Loaded};
use super::question::{Kind, MOST_NAMES, Question, ask, object_id};
use super::together::{Coverage, Found, Questions};
use super::{CLIENTS, LOCAL_IDS};
use crate::model::{Collection, CustomerId, GroupId, InvoiceId, ItemId};
use crate::plan::{LocalRecord, NumberSearch, ReadSet, Snapshot};
use crate::store::StoreError;
use crate::store::records::named_by_local_ids;
use crate::store::whole::Whole;

/// How what planners read is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// With one find for each kind of record.
    Apart,
    /// With one command for all kinds, if they are few. It takes a transaction and a single shard.
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
    group.ask_for_more(db, session.as_deref_mut()).await?;
    group.find_free_numbers(db, session).await?;
    group.into_loaded()
}

/// Clients for whom is loaded together.
struct Group<'a> {
    keep: Keep,
    members: Vec<Member<'a>>,
    /// The collection of a record that was asked for and cannot be read, if there is one.
    unreadable: Option<&'static str>,
}

/// One of them, and what was loaded for it so far.
struct Member<'a> {
    asked: &'a Asked<'a>,
    /// `None` until it was asked for.
    counter: Option<Counter>,
    /// `None` until its local ids are known.
    named: Option<Named>,
    /// The numbers of invoices that were asked for last.
    numbers: Vec<String>,
    loaded: Loaded,
}

/// Which items and invoices a client's planner reads.
struct Named {
    items: BTreeSet<ItemId>,
    invoices: BTreeSet<InvoiceId>,
}

impl<'a> Group<'a> {
    /// The most clients of whom everything is read with one command. Others' datasets are read side by side after the
    /// commit: a reply with many takes more memory than it saves time.
    const MOST_WHOLE: usize = 3;

    /// With one command for everything, if that is less work.
    async fn ask_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<(), Failure> {
        let whole = self.members.iter_mut().filter(|member| member.asked.beside == Beside::Everything);
        whole.take(Self::MOST_WHOLE).for_each(|member| member.loaded.whole = Some(Whole::default()));
        if self.try_together(db, session).await? == Coverage::Cut {
            self.leave_whole();
            self.try_together(db, session).await?;
        }
        Ok(())
    }

    async fn try_together(&mut self, db: &Database, session: &mut ClientSession) -> Result<Coverage, Failure> {
        let named = self.first_questions();
        let questions = Questions { clients: self.clients(), named: &named, whole: self.whole() };
        if questions.are_worthwhile() {
            let coverage = questions.ask(db, session, |found| self.take(found)).await?;
            if let Some(coverage) = coverage {
                self.members.iter_mut().for_each(Member::know_counter);
                return Ok(coverage);
            }
        }
        self.leave_whole();
        self.ask_apart(db, Some(session)).await?;
        Ok(Coverage::Complete)
    }

    /// With one find for each kind of record.
    async fn ask_apart(&mut self, db: &Database, mut session: Option<&mut ClientSession>) -> Result<(), Failure> {
        self.ask_for_counters(db, session.as_deref_mut()).await?;
        let questions = self.first_questions();
        ask(db, session, &questions, |kind, record| self.take(Found::Named(kind, record))).await
    }

    async fn ask_for_counters(&mut self, db: &Database, session: Option<&mut ClientSession>) -> Result<(), Failure> {
        let filter = doc! { "_id": { "$in": self.clients() } };
        find(db, session, CLIENTS, filter, in_few_batches(), |record| self.take(Found::Client(record))).await?;
        self.members.iter_mut().for_each(Member::know_counter);
        Ok(())
    }

    /// Asks for what local ids turned out to name.
    async fn ask_for_more(&mut self, db: &Database, session: Option<&mut ClientSession>) -> Result<(), Failure> {
        self.members.iter_mut().for_each(Member::name_records);
        let questions = self.questions(Member::later_names);
        ask(db, session, &questions, |kind, record| self.take(Found::Named(kind, record))).await
    }

    fn clients(&self) -> Vec<ObjectId> {
        self.members.iter().map(|member| member.asked.client.object_id()).collect()
    }

    fn leave_whole(&mut self) {
        self.members.iter_mut().for_each(|member| member.loaded.whole = None);
    }

    /// The clients of whom everything is read.
    fn whole(&self) -> Vec<ObjectId> {
        let members = self.members.iter().filter(|member| member.loaded.whole.is_some());
        members.map(|member| member.asked.client.object_id()).collect()
    }

    /// What is asked for at first.
    fn first_questions(&mut self) -> Vec<Question> {
        for member in &mut self.members {
            member.numbers = member.search().window().unwrap_or_default();
        }
        self.questions(Member::first_names)
    }

    /// What is asked for by name, by kind.
    fn questions(&self, names: impl Fn(&Member<'a>) -> Vec<(Kind, Vec<Bson>)>) -> Vec<Question> {
        let mut questions = BTreeMap::<Kind, Question>::new();
        for member in &self.members {
            for (kind, names) in names(member).into_iter().filter(|(_, names)| !names.is_empty()) {
                let new = || Question { kind, clients: Vec::new(), names: Vec::new() };
                let question = questions.entry(kind).or_insert_with(new);
                question.clients.push(member.asked.client.object_id());
                question.names.extend(names);
            }
        }
        questions.into_values().collect()
    }

    /// Searches on where the numbers that have been asked for were taken, or were others than the counter says.
    async fn find_free_numbers(
        &mut self,
        db: &Database,
        mut session: Option<&mut ClientSession>,
    ) -> Result<(), Failure> {
        let mut searches: Vec<_> = self.members.iter().map(Member::search).collect();
        loop {
            let mut question = Question { kind: Kind::Numbers, clients: Vec::new(), names: Vec::new() };
            for (member, search) in self.members.iter_mut().zip(&mut searches) {
                if question.names.len() >= MOST_NAMES {
                    // The others with the next command.
                    break;
                }
                if let Some(numbers) = member.search_on(search) {
                    question.clients.push(member.asked.client.object_id());
                    question.names.extend(numbers.iter().cloned().map(Bson::String));
                    member.numbers = numbers;
                }
            }
            if question.clients.is_empty() {
                break;
            }
            ask(db, session.as_deref_mut(), &[question], |kind, record| self.take(Found::Named(kind, record))).await?;
        }
        for (member, search) in self.members.iter_mut().zip(searches) {
            member.loaded.snapshot.taken_numbers = search.into_taken();
        }
        Ok(())
    }

    /// Gives a record to the client whose it is. Local ids come before everything that they may name.
    fn take(&mut self, found: Found<'_>) {
        let (record, owner) = match found {
            Found::Client(record) => (record, "_id"),
            Found::Named(_, record) | Found::Any(_, record) => (record, "clientId"),
        };
        let (keep, owner) = (self.keep, object_id(record, owner));
        let is_owner = |member: &&mut Member<'_>| Some(member.asked.client.object_id()) == owner;
        let Some(member) = self.members.iter_mut().find(is_owner) else { return self.miss(&found) };
        match found {
            Found::Client(record) if Counter::unfit_numbers(record).next().is_some() => self.unreadable = Some(CLIENTS),
            Found::Client(record) => member.counter = Some(Counter::of(record)),
            Found::Named(Kind::LocalIds, record) => match deserialize_from_slice(record.as_bytes()) {
                Ok(known) => member.take_local_id(known),
                Err(_) => self.unreadable = Some(LOCAL_IDS),
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
            Some(collection) => Err(StoreError::Internal(format!("a record of {collection} is unreadable")).into()),
            None => Ok(self.members.into_iter().map(Member::into_loaded).collect()),
        }
    }
}

impl<'a> Member<'a> {
    fn new(asked: &'a Asked<'a>) -> Self {
        Self { asked, counter: None, named: None, numbers: Vec::new(), loaded: Loaded::default() }
    }

    /// The names that it asks for at first, by kind. Of a client of whom everything is read only what is not in its dataset
    /// has to be asked for.
    fn first_names(&self) -> Vec<(Kind, Vec<Bson>)> {
        let ReadSet { items, invoices, groups, customers, dealers, local_ids, .. } = self.asked.reads;
        let text = |text: &str| Bson::String(text.to_owned());
        let mut names = vec![
            (Kind::LocalIds, local_ids.iter().map(|id| text(id.as_str())).collect()),
            (Kind::Dealers, ids(dealers, |id| id.0)),
        ];
        if self.loaded.whole.is_none() {
            names.extend([
                (Kind::Items, ids(items, |id| id.0)),
                (Kind::Invoices, ids(invoices, |id| id.0)),
                (Kind::Groups, ids(groups, |id| id.0)),
                (Kind::Customers, ids(customers, |id| id.0)),
                (Kind::Numbers, self.numbers.iter().map(|number| text(number)).collect()),
            ]);
        }
        names
    }

    /// What its local ids name beside that.
    fn later_names(&self) -> Vec<(Kind, Vec<Bson>)> {
        let Some(Named { items, invoices }) = self.named.as_ref().filter(|_| self.loaded.whole.is_none()) else {
            return Vec::new();
        };
        let reads = self.asked.reads;
        vec![
            (Kind::Items, ids(items.difference(&reads.items), |id| id.0)),
            (Kind::Invoices, ids(invoices.difference(&reads.invoices), |id| id.0)),
        ]
    }

    fn take_local_id(&mut self, known: LocalRecord) {
        if self.asked.reads.local_ids.contains(&known.local_id) {
            self.loaded.snapshot.local_ids.insert(known.local_id.clone(), known);
        }
    }

    /// Who has no document is a new client.
    fn know_counter(&mut self) {
        self.counter.get_or_insert_default();
    }

    /// Finds out what it names, once its local ids are known.
    fn name_records(&mut self) {
        if self.named.is_none() {
            let (items, invoices) = named_by_local_ids(&self.loaded.snapshot, self.asked.reads);
            self.named = Some(Named { items, invoices });
        }
    }

    /// Takes in any record of the client.
    fn take_any(&mut self, collection: Collection, record: &RawDocument) {
        self.name_records();
        let (Some(whole), Some(named)) = (&mut self.loaded.whole, &self.named) else { return };
        let (reads, id) = (self.asked.reads, object_id(record, "_id"));
        whole.push(collection, id, record);
        if collection == Collection::Invoices && reads.free_numbers > 0 {
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

    fn search(&self) -> NumberSearch {
        let next_invoice = self.counter.as_ref().map_or(self.asked.likely_next_invoice, Counter::next_number);
        NumberSearch::new(next_invoice, self.asked.reads.free_numbers)
    }

    /// Searches as far as is known. Gives the next numbers that have to be asked for; `None` once enough are free.
    fn search_on(&mut self, search: &mut NumberSearch) -> Option<Vec<String>> {
        loop {
            let numbers = search.window()?;
            if !self.knows(&numbers) {
                return Some(numbers);
            }
            search.found(self.loaded.snapshot.taken_numbers.drain());
        }
    }

    /// Whether it is known which of these numbers are taken: all of a client of whom everything was read, or those that
    /// were asked for.
    fn knows(&self, numbers: &[String]) -> bool {
        self.loaded.whole.is_some() || self.numbers == numbers
    }

    fn into_loaded(self) -> Loaded {
        let counter = self.counter.unwrap_or_default();
        let (revision, next_invoice) = (counter.revision, counter.next_number());
        Loaded { counter, snapshot: Snapshot { revision, next_invoice, ..self.loaded.snapshot }, ..self.loaded }
    }
}

fn ids<'a, Id: 'a>(ids: impl IntoIterator<Item = &'a Id>, object_id: impl Fn(&Id) -> ObjectId) -> Vec<Bson> {
    ids.into_iter().map(object_id).map(Bson::ObjectId).collect()
}
