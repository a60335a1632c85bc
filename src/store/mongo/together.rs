//! Records of several kinds with one command of a transaction, in which `$unionWith` is not allowed: they are looked
//! up from a client's own document, so all of them come as one document.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Document, doc};
use futures_util::StreamExt;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR};
use mongodb::{ClientSession, Database};

use super::CLIENTS;
use super::error::{Failure, code};
use super::load::{Kind, Question};
use crate::store::StoreError;

/// Whether one command is less work. The records must fit into one document of 16 MB.
pub(super) fn is_worthwhile(questions: &[Question]) -> bool {
    const MOST_RECORDS: usize = 1000;
    let records: usize = questions.iter().map(|question| question.names.len()).sum();
    questions.len() > 1 && records <= MOST_RECORDS
}

/// Reads what is asked for, and shows each record with its kind to `visit`. The transaction must have written the
/// clients' own documents.
pub(super) async fn ask(
    db: &Database,
    session: &mut ClientSession,
    questions: &[Question],
    mut visit: impl FnMut(Kind, &RawDocument) + Send,
) -> Result<(), Failure> {
    let clients = db.collection::<Document>(CLIENTS);
    let Some(client) = questions.iter().flat_map(|question| &question.clients).next().copied() else { return Ok(()) };
    let looked_up = clients.aggregate(pipeline(client, questions)).session(&mut *session).batch().await;
    let mut cursor = looked_up.map_err(failure)?;
    let mut batches = cursor.stream(session);
    let mut answered = false;
    while let Some(batch) = batches.next().await {
        for document in batch.map_err(failure)?.doc_slices()? {
            let Some(document) = document.map_err(Error::from)?.as_document() else { continue };
            answered = true;
            for (index, question) in questions.iter().enumerate() {
                for record in document.get_array(name(index)).map_err(|_| unreadable())? {
                    let record = record.map_err(Error::from)?;
                    record.as_document().into_iter().for_each(|record| visit(question.kind, record));
                }
            }
        }
    }
    if answered { Ok(()) } else { Err(StoreError::Internal("a client's own document is not there".to_owned()).into()) }
}

fn pipeline(client: ObjectId, questions: &[Question]) -> Vec<Document> {
    let own = [doc! { "$match": { "_id": client } }, doc! { "$project": { "_id": 1 } }];
    let lookups = questions.iter().enumerate().map(|(index, Question { kind, clients, names })| {
        let mut records = vec![doc! { "$match": kind.filter(clients, names) }];
        records.extend(kind.projection().map(|fields| doc! { "$project": fields }));
        doc! { "$lookup": { "from": kind.collection(), "pipeline": records, "as": name(index) } }
    });
    own.into_iter().chain(lookups).collect()
}

/// The field in which the answer to a question comes.
fn name(question: usize) -> &'static str {
    ["a", "b", "c", "d", "e", "f"][question]
}

/// What the server itself refuses may be too much for one document, and no reason to refuse the batch.
fn failure(error: Error) -> Failure {
    let refused = code(&error).is_some() && !error.contains_label(TRANSIENT_TRANSACTION_ERROR);
    if refused { Failure::NotTogether(error) } else { Failure::Driver(error) }
}

fn unreadable() -> StoreError {
    StoreError::Internal("records that were looked up are unreadable".to_owned())
}
