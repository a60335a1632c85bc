//! Whole clients of a MongoDB database.
//!
//! Clients are read from one snapshot each; on a lone mongod, which has none, what was read is used only if no server
//! has written meanwhile. A client is written under a marker in its own document, which keeps every server from serving
//! it, and the removal of the marker, with the counters, is the one write that makes it a client.

mod accounts;
mod marker;
mod read;
mod write;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use futures_util::StreamExt;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Database};

use super::counter::Counter;
use super::error::describe;
use super::find::{find, in_few_batches};
use super::indexes;
use super::intent::{self, pending};
use super::options::MongoOptions;
use super::topology::{Hello, Topology};
use super::{CLIENTS, INTENTS, RECEIPTS, STORE, within};
use crate::model::{ClientId, StoreId};
use crate::store::StoreError;
use crate::store::archive::{
    Archive, ArchiveError, ArchiveId, Books, Counters, Finding, Incoming, Landed, Part, Severity, Source,
};

/// A MongoDB database, in the hands of an operator's command.
pub struct MongoArchive {
    db: Database,
    topology: Topology,
    store: Option<StoreId>,
    pending: Pending,
    receipt_days: u32,
}

/// What to do about a batch that is decided and not applied, and that no server seems to care for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Finish it as a server would.
    Finish,
    /// Leave it, and say so.
    Leave,
}

impl MongoArchive {
    /// The engine's name.
    const ENGINE: &str = "mongodb";
    /// How long the search for the database may take.
    const PATIENCE: Duration = Duration::from_secs(15);

    /// Finds the database, to read it. Nothing is written but what finishes a pending batch, if that is wanted.
    ///
    /// # Errors
    /// [`ArchiveError::Mongo`].
    pub async fn open_to_read(options: &MongoOptions, pending: Pending) -> Result<Self, ArchiveError> {
        within(Self::PATIENCE, Self::find(options, pending)).await.map_err(ArchiveError::Mongo)
    }

    /// Finds the database, to write to it, and makes collections and indexes that are missing.
    ///
    /// # Errors
    /// [`ArchiveError::Mongo`].
    pub async fn open_to_write(options: &MongoOptions) -> Result<Self, ArchiveError> {
        let mut archive = Self::open_to_read(options, Pending::Finish).await?;
        let ready = async {
            // For a database in use it is not for an import to say how long receipts are kept.
            indexes::ensure_lasting(&archive.db).await?;
            Ok(indexes::store_id(&archive.db).await?)
        };
        archive.store = Some(ready.await.map_err(ArchiveError::Mongo)?);
        Ok(archive)
    }

    /// Whether there is a client whose books no import brought, so that a server has run here.
    async fn is_served(&self) -> Result<bool, StoreError> {
        let made_here = doc! { "importedFrom": { "$exists": false } };
        Ok(self.db.collection::<Document>(CLIENTS).find_one(made_here).await?.is_some())
    }

    async fn find(options: &MongoOptions, pending: Pending) -> Result<Self, StoreError> {
        let mut client_options = options.client_options().await?;
        // Of connections that are made beforehand, one that fails would take the others with it, whose errors say less.
        client_options.min_pool_size = None;
        let name = client_options.default_database.clone().unwrap_or_else(|| options.database.clone());
        let db = Client::with_options(client_options)?.database(&name);
        let Hello { topology, .. } = Hello::ask(&db).await?;
        let store = db.collection::<Document>(STORE).find_one(doc! { "_id": "store" }).await?;
        let store = store.and_then(|store| store.get_i64("store").ok()).map(StoreId);
        Ok(Self { db, topology, store, pending, receipt_days: options.receipt_days })
    }
}

#[async_trait]
impl Archive for MongoArchive {
    fn source(&self) -> Source {
        Source { engine: Self::ENGINE.to_owned(), store: self.store }
    }

    async fn clients(&self) -> Result<BTreeSet<ClientId>, ArchiveError> {
        let mut clients = BTreeSet::new();
        for part in Part::ALL {
            let owner = if part == Part::Account { "_id" } else { "clientId" };
            add_clients(&self.db, part.name(), owner, &mut clients).await?;
        }
        add_clients(&self.db, CLIENTS, "_id", &mut clients).await?;
        add_clients(&self.db, INTENTS, "clientId", &mut clients).await?;
        Ok(clients)
    }

    async fn read(&self, client: &ClientId) -> Result<Books, ArchiveError> {
        match self.topology {
            Topology::Transactional => read::snapshot(&self.db, client, self.pending).await,
            Topology::Standalone => read::between_batches(&self.db, client, self.pending).await,
        }
    }

    async fn write(&self, incoming: Incoming) -> Result<Landed, ArchiveError> {
        write::write(&self.db, incoming).await
    }

    async fn discard(&self, client: &ClientId, archive: Option<&ArchiveId>) -> Result<bool, ArchiveError> {
        write::discard(&self.db, client, archive).await
    }

    async fn findings(&self) -> Result<Vec<Finding>, ArchiveError> {
        let mut findings = Vec::new();
        if self.topology == Topology::Standalone {
            let why = "it is a lone mongod, which has no transactions: other programs may see the middle of a batch, and \
                       only one server process may use it";
            findings.push(Finding::of_the_store(Severity::Note, None, why.to_owned()));
        }
        if self.store.is_none() {
            let why = "the store has no identity yet; a server makes it when it starts".to_owned();
            findings.push(Finding::of_the_store(Severity::Note, Some(STORE), why));
        }
        for missing in indexes::missing(&self.db).await.map_err(StoreError::from)? {
            let indexes::Missing { collection, keys, unique } = missing;
            let kind = if unique { "unique index" } else { "index" };
            let why = format!("the {kind} {keys} is missing; a server makes it when it starts");
            findings.push(Finding::of_the_store(Severity::Problem, Some(collection), why));
        }
        if let Some(how) = indexes::wrong_expiry(&self.db, self.receipt_days).await.map_err(StoreError::from)? {
            let why = format!("{how}, and RECEIPT_DAYS is {}; a server sets that when it starts", self.receipt_days);
            // An import leaves it to the first server how long receipts are kept.
            let severity = if self.is_served().await? { Severity::Problem } else { Severity::Note };
            findings.push(Finding::of_the_store(severity, Some(RECEIPTS), why));
        }
        for (client, id) in intent::unreadable(&self.db).await.map_err(StoreError::from)? {
            let why = "a batch that is decided cannot be read, so nobody applies it, and no other batch of its client is \
                       committed";
            let client = client.map(|client| ClientId::for_operator(client).to_string());
            let finding = Finding::of_the_store(Severity::Problem, Some(INTENTS), why.to_owned());
            findings.push(Finding { client, id: Some(shown(&id)), ..finding });
        }
        Ok(findings)
    }

    async fn counters(&self, client: &ClientId) -> Result<Counters, ArchiveError> {
        let mut counters = Counters::Missing;
        let take = |record: &RawDocument| {
            let reasons = Counter::unfit(record);
            counters = if reasons.is_empty() { Counters::Kept } else { Counters::Unfit(reasons) };
        };
        find(&self.db, None, CLIENTS, doc! { "_id": client.object_id() }, in_few_batches(), take)
            .await
            .map_err(failed)?;
        Ok(counters)
    }

    async fn findings_of(&self, client: &ClientId) -> Result<Vec<Finding>, ArchiveError> {
        let mut findings = Vec::new();
        if read::wait_for_intents(&self.db, client, Pending::Leave).await.is_ok() {
            return Ok(findings);
        }
        for intent in pending(&self.db, Some(client.object_id())).await.map_err(StoreError::from)? {
            let why = "a batch is decided and not applied to its end; a server finishes it at its start, or at the \
                       client's next request";
            let id = Some(intent.revision().to_string());
            findings.push(Finding::of(Severity::Problem, client, INTENTS, id, why.to_owned()));
        }
        Ok(findings)
    }
}

/// An intent's id: its revision, if it says that.
fn shown(id: &Bson) -> String {
    let revision = id.as_document().and_then(|id| id.get_i64("revision").ok());
    revision.map_or_else(|| id.to_string(), |revision| revision.to_string())
}

/// Takes in the clients of a collection, by an index on them where there is one.
async fn add_clients(
    db: &Database,
    collection: &str,
    owner: &str,
    clients: &mut BTreeSet<ClientId>,
) -> Result<(), StoreError> {
    let field = format!("${owner}");
    let stages = [doc! { "$sort": { owner: 1 } }, doc! { "$group": { "_id": field } }];
    let mut cursor = db.collection::<Document>(collection).aggregate(stages).allow_disk_use(true).await?;
    while let Some(owner) = cursor.next().await.transpose()? {
        // Whoever is named otherwise is no client of ours.
        let id: Result<ObjectId, _> = owner.get_object_id("_id");
        clients.extend(id.ok().map(ClientId::for_operator));
    }
    Ok(())
}

/// A driver's error in the words of the store.
fn failed(error: mongodb::error::Error) -> ArchiveError {
    tracing::debug!(error = describe(&error), "the database refused");
    StoreError::from(error).into()
}

/// On a lone mongod a majority is the mongod itself.
fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}
