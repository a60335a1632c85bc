//! Clients' own documents, records of several kinds, and all records of some clients, with one command of a transaction, in
//! which `$unionWith` is not allowed: they are looked up from the one document that each store has, so all of them come
//! as one document.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Document, doc};
use futures_util::StreamExt;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR};
use mongodb::{ClientSession, Database};

use super::at_once::MOST_RECORDS;
use super::error::{Failure, code};
use super::question::{Kind, Question, owner};
use super::{CLIENTS, STORE};
use crate::model::Collection;
use crate::store::StoreError;

/// What one command reads.
pub(super) struct Questions<'a> {
    /// The clients whose own documents are read, and shown first.
    pub clients: Vec<ObjectId>,
    /// Records that are named, which are shown next.
    pub named: &'a [Question],
    /// The clients of whom everything is read: the records of each collection one client after the other, and those of
    /// each client in `_id` order.
    pub whole: Vec<ObjectId>,
}

/// A record that was asked for.
pub(super) enum Found<'a> {
    /// A client's own document.
    Client(&'a RawDocument),
    /// By its name.
    Named(Kind, &'a RawDocument),
    /// With all of its collection.
    Any(Collection, &'a RawDocument),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// Everything that was asked for was shown.
    Complete,
    /// The clients have more records than one command should read, and some were not shown.
    Cut,
}

impl Questions<'_> {
    /// Whether one command is less work. The records must fit into one document of 16 MB.
    pub fn are_worthwhile(&self) -> bool {
        const MOST_NAMES: usize = 1000;
        let names: usize = self.named.iter().map(|question| question.names.len()).sum();
        !(self.named.is_empty() && self.whole.is_empty()) && names <= MOST_NAMES
    }

    /// Reads what is asked for, and shows each record to `visit`; `None` if the store's own document is not there any more.
    pub async fn ask(
        &self,
        db: &Database,
        session: &mut ClientSession,
        mut visit: impl FnMut(Found<'_>) + Send,
    ) -> Result<Option<Coverage>, Failure> {
        let store = db.collection::<Document>(STORE);
        let looked_up = store.aggregate(self.pipeline()).session(&mut *session).batch().await;
        let mut cursor = looked_up.map_err(failure)?;
        let mut batches = cursor.stream(session);
        while let Some(batch) = batches.next().await {
            if let Some(document) = batch.map_err(failure)?.doc_slices()?.into_iter().next() {
                let document = document.map_err(Error::from)?.as_document().ok_or_else(unreadable)?;
                return Ok(Some(self.show(document, &mut visit)?));
            }
        }
        Ok(None)
    }

    fn show(&self, document: &RawDocument, visit: &mut impl FnMut(Found<'_>)) -> Result<Coverage, StoreError> {
        each(document, CLIENTS, |record| visit(Found::Client(record)))?;
        for (index, question) in self.named.iter().enumerate() {
            each(document, name(index), |record| visit(Found::Named(question.kind, record)))?;
        }
        let mut coverage = Coverage::Complete;
        if !self.whole.is_empty() {
            for collection in Collection::ALL {
                let records = each(document, collection.name(), |record| visit(Found::Any(collection, record)))?;
                if records > self.most_records() {
                    coverage = Coverage::Cut;
                }
            }
        }
        Ok(coverage)
    }

    fn pipeline(&self) -> Vec<Document> {
        let clients = vec![doc! { "$match": { "_id": { "$in": &self.clients } } }];
        let first = [
            doc! { "$match": { "_id": "store" } },
            doc! { "$project": { "_id": 1 } },
            doc! { "$lookup": { "from": CLIENTS, "pipeline": clients, "as": CLIENTS } },
        ];
        let named = self.named.iter().enumerate().map(|(index, Question { kind, clients, names })| {
            let mut records = vec![doc! { "$match": kind.filter(clients, names) }];
            records.extend(kind.projection().map(|fields| doc! { "$project": fields }));
            doc! { "$lookup": { "from": kind.collection(), "pipeline": records, "as": name(index) } }
        });
        let collections: &[Collection] = if self.whole.is_empty() { &[] } else { &Collection::ALL };
        let whole = collections.iter().map(|collection| {
            // No index can be named here. So the order says which one it is: with any other the server would have to sort.
            let records = vec![
                doc! { "$match": { "clientId": owner(&self.whole) } },
                doc! { "$sort": { "clientId": 1, "_id": 1 } },
                // One more, so that what is missing is missed.
                doc! { "$limit": self.most_records() as i64 + 1 },
            ];
            doc! { "$lookup": { "from": collection.name(), "pipeline": records, "as": collection.name() } }
        });
        first.into_iter().chain(named).chain(whole).collect()
    }

    fn most_records(&self) -> usize {
        MOST_RECORDS * self.whole.len()
    }
}

/// Shows the records in a field, and says how many they are.
fn each(document: &RawDocument, field: &str, mut visit: impl FnMut(&RawDocument)) -> Result<usize, StoreError> {
    let mut count = 0;
    for record in document.get_array(field).map_err(|_| unreadable())? {
        let record = record.map_err(|_| unreadable())?;
        record.as_document().into_iter().for_each(&mut visit);
        count += 1;
    }
    Ok(count)
}

/// The field in which the answer to a question comes.
fn name(question: usize) -> &'static str {
    ["a", "b", "c", "d", "e", "f", "g"][question]
}

/// What the server itself refuses may be too much for one document, and no reason to refuse the batch.
fn failure(error: Error) -> Failure {
    let refused = code(&error).is_some() && !error.contains_label(TRANSIENT_TRANSACTION_ERROR);
    if refused { Failure::NotTogether(error) } else { Failure::Driver(error) }
}

fn unreadable() -> StoreError {
    StoreError::Internal("records that were looked up are unreadable".to_owned())
}
