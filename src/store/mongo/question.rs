//! What is asked of the database by name.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use mongodb::options::{FindOptions, Hint};
use mongodb::{ClientSession, Database};

use super::error::Failure;
use super::find::{find, in_few_batches};
use super::{DEALERS, LOCAL_IDS};
use crate::model::Collection;

/// A kind of record that planners read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// First, because they name items and invoices.
    LocalIds,
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
    /// Ids, local ids, or numbers.
    pub names: Vec<Bson>,
}

/// The most names that one find has.
pub(super) const MOST_NAMES: usize = 10_000;

/// Asks for one kind of record after the other.
pub(super) async fn ask(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    questions: &[Question],
    mut visit: impl FnMut(Kind, &RawDocument) + Send,
) -> Result<(), Failure> {
    for Question { kind, clients, names } in questions {
        for names in names.chunks(MOST_NAMES) {
            let (filter, options) = (kind.filter(clients, names), kind.options());
            let take = |record: &RawDocument| visit(*kind, record);
            find(db, session.as_deref_mut(), kind.collection(), filter, options, take).await?;
        }
    }
    Ok(())
}

impl Kind {
    pub fn collection(self) -> &'static str {
        match self {
            Self::LocalIds => LOCAL_IDS,
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
            Self::LocalIds => doc! { "clientId": owner, "localId": { "$in": names } },
            Self::Numbers => doc! { "clientId": owner, "invoiceNumber": { "$in": names } },
        }
    }

    /// What is read of a record; everything, where to cut out what the rules do not look at would cost the server
    /// more than to send it.
    pub fn projection(self) -> Option<Document> {
        match self {
            Self::Items | Self::Invoices => None,
            Self::LocalIds => Some(projection(&["clientId", "localId", "kind", "content", "revision"])),
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

/// Whose records are asked for, in a filter.
pub(super) fn owner(clients: &[ObjectId]) -> Bson {
    match clients {
        [client] => Bson::ObjectId(*client),
        clients => doc! { "$in": clients }.into(),
    }
}

/// These fields, and the id.
pub(super) fn projection(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

/// A field with an id of the kind that ours are of.
pub(super) fn object_id(record: &RawDocument, field: &str) -> Option<ObjectId> {
    record.get_object_id(field).ok()
}
