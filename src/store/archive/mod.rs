//! Whole clients, read and written as they are stored: for the operator's commands, never for a request.
//!
//! No rule looks at what goes through here. What is read comes as the very bytes that are stored, so fields that
//! this program does not know go along.

mod accounts;
mod holding;
mod order;
mod sums;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{RawDocumentBuf, rawdoc};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::StoreError;
use super::embedded::OpenError;
use crate::model::{ClientId, Collection, Revision, StoreId};
/// What is kept of batches, for whoever looks whether it can be read.
pub use crate::plan::{IdMap, LocalRecord, Receipt, StoredReceipt, Summary, Synced};
pub use accounts::{Account, Accounts};
pub use holding::Holding;
pub use order::InOrder;
pub use sums::{Sum, Sums, Tally, sha256};

/// A store whose clients can be read and written as a whole.
///
/// # Isolation
/// What `read` gives is one client at one moment. What `write` writes is there as a whole or not at all: until
/// it has returned [`Landed::Now`], no server serves any of it, whatever is killed when, and the same `write` again
/// goes on or begins anew.
///
/// # What is there stays
/// A client that the store holds books of is not written: [`Landed::Occupied`]. Records of the login service may be there
/// before: those that say the same as the archive's stay, others are refused. What the login service writes meanwhile
/// stays too.
///
/// # Cursors
/// A client that was written begins a new history. So no cursor that any phone has, of whatever store, holds, and
/// the first answer is a full one.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Which store it is.
    fn source(&self) -> Source;

    /// The clients that it holds anything of.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn clients(&self) -> Result<BTreeSet<ClientId>, ArchiveError>;

    /// Everything of one client.
    ///
    /// # Errors
    /// [`ArchiveError`], be it here or in the middle of the records.
    async fn read(&self, client: &ClientId) -> Result<Books, ArchiveError>;

    /// Writes a client that the store holds no books of, and compares what the store then holds.
    ///
    /// # Errors
    /// [`ArchiveError`]; nothing of the client is served then.
    async fn write(&self, incoming: Incoming) -> Result<Landed, ArchiveError>;

    /// Removes what a `write` has left that did not come to its end: of this archive, or of whatever archive it was. Says
    /// whether there was any. Of the login service's records those go that the `write` made and nobody has changed since.
    ///
    /// # Errors
    /// [`ArchiveError`], in particular [`ArchiveError::Begun`] if it was of another archive.
    async fn discard(&self, client: &ClientId, archive: Option<&ArchiveId>) -> Result<bool, ArchiveError>;

    /// What is wrong with the store itself: its kind, its indexes.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn findings(&self) -> Result<Vec<Finding>, ArchiveError>;

    /// What is wrong with how the store keeps one client: what finds its records, what is not finished.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn findings_of(&self, client: &ClientId) -> Result<Vec<Finding>, ArchiveError>;

    /// In what state the record is that counts a client's commits and invoices.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn counters(&self, client: &ClientId) -> Result<Counters, ArchiveError>;

    /// Where the bytes of the store are not those that were written, by its own checksums. Reads all of it. A database
    /// server looks after its own.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn damage(&self) -> Result<Vec<Finding>, ArchiveError> {
        Ok(Vec::new())
    }
}

/// Which store something comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The engine's name: `embedded` or `mongodb`.
    pub engine: String,
    /// The identity of the store, if it has one yet.
    pub store: Option<StoreId>,
}

/// One kind of record that a store keeps of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A collection of its dataset, in the order of `_id`.
    Data(Collection),
    /// What came of each idempotency key, less `_id` and with `clientId` last, in the order of the keys.
    Receipts,
    /// What each local id stands for, in the order of the local ids.
    LocalIds,
    /// The record of the client itself, which another service makes.
    Account,
    /// Where its devices are logged in, which another service writes, in the order of `_id`.
    Sessions,
}

impl Part {
    /// All parts, in the order in which they are read and written.
    pub const ALL: [Self; 10] = [
        Self::Data(Collection::ItemGroups),
        Self::Data(Collection::Items),
        Self::Data(Collection::ClientCustomers),
        Self::Data(Collection::Invoices),
        Self::Data(Collection::Payments),
        Self::Data(Collection::PurchaseHistories),
        Self::Receipts,
        Self::LocalIds,
        Self::Account,
        Self::Sessions,
    ];

    /// Those that nobody else writes while a client is imported: all but what the login service keeps.
    pub const BOOKS: [Self; 8] = {
        let [books @ .., _, _] = Self::ALL;
        books
    };

    /// Its name: that of the MongoDB collection.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data(collection) => collection.name(),
            Self::Receipts => "syncreceipts",
            Self::LocalIds => "synclocalids",
            Self::Account => "clients",
            Self::Sessions => "devicesessions",
        }
    }

    /// The part of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// Whether another service writes it, and a store may hold it before the books come.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Account | Self::Sessions)
    }

    /// Checks that a record is this client's, so that no archive can write into the books of another one.
    ///
    /// # Errors
    /// [`ArchiveError::Record`].
    pub fn check(self, client: &ClientId, record: &RawDocument) -> Result<(), ArchiveError> {
        let owner = match self {
            Self::Account => "_id",
            Self::Data(_) | Self::Receipts | Self::LocalIds | Self::Sessions => "clientId",
        };
        match record.get_object_id(owner) {
            Ok(id) if id == client.object_id() => Ok(()),
            _ => Err(self.refuse(client, record, "is not this client's")),
        }
    }

    /// Says what is wrong with a record.
    pub fn refuse(self, client: &ClientId, record: &RawDocument, why: &str) -> ArchiveError {
        let id = record.get("_id").ok().flatten().or_else(|| record.get("key").ok().flatten());
        let id = id.map_or_else(|| "without an id".to_owned(), show_id);
        ArchiveError::Record { client: *client, part: self.name(), id, why: why.to_owned() }
    }
}

/// An id as an operator looks for it.
pub fn show_id(id: bson::raw::RawBsonRef<'_>) -> String {
    match (id.as_object_id(), id.as_str()) {
        (Some(id), _) => id.to_hex(),
        (_, Some(text)) => text.to_owned(),
        _ => format!("{id:?}"),
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a client's books count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its commits.
    pub revision: Revision,
    /// The number of its next invoice without a number, from 1.
    pub next_invoice: i64,
}

impl Default for Head {
    /// That of a client that has never committed.
    fn default() -> Self {
        Self { revision: Revision::default(), next_invoice: 1 }
    }
}

/// In what state the record is that counts a client's commits and invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counters {
    /// It says what [`Head`] says.
    Kept,
    /// It is not there, so the client is taken for one that has never committed.
    Missing,
    /// It cannot be counted on, for the reasons given, so no batch can be committed.
    Unfit(Vec<String>),
}

/// Some records of one part.
#[derive(Debug)]
pub struct Chunk {
    /// Which part.
    pub part: Part,
    /// Its next records.
    pub records: Vec<RawDocumentBuf>,
}

/// The records of a client, part after part. After an error what came is not to be used. Nothing comes then, but after
/// [`ArchiveError::Record`] the records that can be read, for whoever looks for what is wrong.
pub type Chunks = mpsc::Receiver<Result<Chunk, ArchiveError>>;

/// The way into [`Chunks`]; few wait there, so that little is held.
pub(crate) type ChunkSender = mpsc::Sender<Result<Chunk, ArchiveError>>;

/// What is said of a record whose bytes are no BSON. The decoder's own words would quote it.
pub(crate) const UNREADABLE: &str = "cannot be decoded";

/// How many chunks wait to be taken.
const WAITING: usize = 2;
/// About how many bytes a chunk has.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// The most records of a chunk.
pub(crate) const CHUNK_RECORDS: usize = 1000;

/// A channel of chunks.
pub(crate) fn channel() -> (ChunkSender, Chunks) {
    mpsc::channel(WAITING)
}

/// One client at one moment.
#[derive(Debug)]
pub struct Books {
    /// What they count.
    pub head: Head,
    /// Their records.
    pub records: Chunks,
}

/// The name of an archive, by which a store knows what it has taken from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArchiveId(pub String);

/// A client that is to be written.
#[derive(Debug)]
pub struct Incoming {
    /// Whose books.
    pub client: ClientId,
    /// Where they come from.
    pub archive: ArchiveId,
    /// What they count.
    pub head: Head,
    /// The records of other services that come with them.
    pub accounts: Accounts,
    /// The records of the other parts.
    pub records: Chunks,
}

/// What came of a `write`.
#[derive(Debug)]
pub enum Landed {
    /// The store now holds these books, as they were read back from it.
    Now(Sums),
    /// The store holds books of the client already, and nothing was written.
    Occupied {
        /// Whether they came from the same archive, perhaps some time ago.
        by_this_archive: bool,
    },
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The books, or what keeps them, are not as they must be.
    Problem,
    /// Worth to be known; it may well be meant.
    Note,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Whose; `None` if it is the store's.
    pub client: Option<String>,
    /// In which collection.
    pub collection: Option<String>,
    /// Which record: its id, its key, or its local id.
    pub id: Option<String>,
    /// What is wrong, in a sentence.
    pub why: String,
}

impl Finding {
    /// One of the store itself.
    pub fn of_the_store(severity: Severity, collection: Option<&str>, why: String) -> Self {
        Self { severity, client: None, collection: collection.map(str::to_owned), id: None, why }
    }

    /// One of a client's record.
    pub fn of(severity: Severity, client: &ClientId, collection: &str, id: Option<String>, why: String) -> Self {
        let (client, collection) = (Some(client.to_string()), Some(collection.to_owned()));
        Self { severity, client, collection, id, why }
    }
}

/// Why a client could not be read or written, in one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// MongoDB cannot be used.
    #[error("cannot use MONGO_URL: {0}")]
    Mongo(StoreError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A client to be written is there, with other books than the archive's.
    #[error("client {client} has data already, other than the archive's ({difference}); it stays as it is")]
    Occupied {
        /// Whose.
        client: ClientId,
        /// How it differs, for the operator.
        difference: String,
    },
    /// A client to be written was written by the same archive, and its phones have synced since.
    #[error(
        "client {client} was imported from this archive before and has gone on since ({difference}); it stays as it is"
    )]
    WentOn {
        /// Whose.
        client: ClientId,
        /// How it differs, for the operator.
        difference: String,
    },
    /// The login service's records that are there are not the archive's.
    #[error(
        "client {client}: the record {id} of {part} is not in the store as it is in the archive; with --keep-accounts the \
         store's account and device sessions of the client stay as they are, and the archive's are not written"
    )]
    Account {
        /// Whose.
        client: ClientId,
        /// Which part.
        part: &'static str,
        /// Which record.
        id: String,
    },
    /// Another archive was begun to be written.
    #[error(
        "an import of another archive into client {0} was begun and not finished: finish that one, or take it back with \
         viveka-sync import --discard --client {0}"
    )]
    Begun(ClientId),
    /// A record cannot be read or kept.
    #[error("client {client}: the record {id} of {part} {why}")]
    Record {
        /// Whose.
        client: ClientId,
        /// Which part.
        part: &'static str,
        /// Which record.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// What the store holds afterwards is not what was written.
    #[error("client {client}: {part} {}", not_as_sent(*sent, *held))]
    Differs {
        /// Whose.
        client: ClientId,
        /// Which part.
        part: &'static str,
        /// How many were sent.
        sent: u64,
        /// How many are there.
        held: u64,
    },
    /// Somebody wrote what was being read. Another try may do.
    #[error("client {0} was written to while it was read, again and again; stop the servers first")]
    Moved(ClientId),
    /// The import was taken back while it ran.
    #[error("the import into client {0} was taken back while it ran; nothing of it is left")]
    TakenBack(ClientId),
    /// A batch is decided and was not applied to its end.
    #[error("a batch of client {0} is decided and not applied to its end; start a server, which finishes it")]
    Pending(ClientId),
    /// An import into this client did not come to its end.
    #[error(
        "an import into client {0} was begun and not finished: run it again, or take it back with viveka-sync import \
         --discard --client {0}"
    )]
    Unfinished(ClientId),
    /// Records did not come to their end: the source failed, as it says itself.
    #[error("{0}")]
    Source(String),
}

/// How what is held differs from what was sent.
fn not_as_sent(sent: u64, held: u64) -> String {
    match held.cmp(&sent) {
        Ordering::Less => format!(
            "holds {held} records after the import where {sent} were sent: the others have ids that another shop's \
             records have"
        ),
        Ordering::Equal => format!("holds the {sent} records in another order, or with other bytes, after the import"),
        Ordering::Greater => format!(
            "holds {held} records after the import where {sent} were sent: somebody else has written them meanwhile"
        ),
    }
}

/// Gives what is held if it is what was sent.
pub(super) fn compare(client: &ClientId, sent: &Sums, held: Sums) -> Result<Sums, ArchiveError> {
    let count = |sums: &Sums, part| sums.get(&part).map_or(0, |sum| sum.records);
    match Part::BOOKS.into_iter().find(|part| sent.get(part) != held.get(part)) {
        None => Ok(held),
        Some(part) => Err(ArchiveError::Differs {
            client: *client,
            part: part.name(),
            sent: count(sent, part),
            held: count(&held, part),
        }),
    }
}

/// A stored receipt as it is archived: less what each engine adds to it in a way of its own, and with whose it is.
///
/// # Errors
/// [`StoreError::Internal`] if it cannot be read.
pub fn archived_receipt(client: &ClientId, record: &RawDocument) -> Result<RawDocumentBuf, StoreError> {
    let mut archived = bare_receipt(record)?;
    archived.append(bson::cstr!("clientId"), client.object_id());
    Ok(archived)
}

/// A receipt less what says where it is kept.
pub(super) fn bare_receipt(record: &RawDocument) -> Result<RawDocumentBuf, StoreError> {
    let mut bare = RawDocumentBuf::new();
    for element in record {
        let (name, value) = element.map_err(|e| StoreError::Internal(e.to_string()))?;
        if !["_id", "clientId"].contains(&name.as_str()) {
            bare.append(name, value);
        }
    }
    Ok(bare)
}

/// A receipt as MongoDB keeps it.
pub(super) fn receipt_of(client: ObjectId, key: &str, archived: &RawDocument) -> Result<RawDocumentBuf, StoreError> {
    let mut record = rawdoc! { "_id": { "clientId": client, "key": key } };
    for element in &*bare_receipt(archived)? {
        let (name, value) = element.map_err(|e| StoreError::Internal(e.to_string()))?;
        record.append(name, value);
    }
    record.append(bson::cstr!("clientId"), client);
    Ok(record)
}
