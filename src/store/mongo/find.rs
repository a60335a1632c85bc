//! Reading records as they lie in the database, without decoding them.

use bson::raw::RawDocument;
use bson::{Document, RawDocumentBuf};
use futures_util::StreamExt;
use mongodb::error::Result;
use mongodb::options::FindOptions;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{ClientSession, Database};

/// Reads what matches a filter, with a session or without, and shows each record to `visit`.
pub(super) async fn find(
    db: &Database,
    session: Option<&mut ClientSession>,
    collection: &str,
    filter: Document,
    options: FindOptions,
    mut visit: impl FnMut(&RawDocument) + Send,
) -> Result<()> {
    let collection = db.collection::<RawDocumentBuf>(collection);
    let find = collection.find(filter).with_options(options);
    match session {
        Some(session) => {
            let mut cursor = find.session(&mut *session).batch().await?;
            let mut batches = cursor.stream(session);
            while let Some(batch) = batches.next().await {
                visit_batch(&batch?, &mut visit)?;
            }
        }
        None => {
            let mut batches = find.batch().await?;
            while let Some(batch) = batches.next().await {
                visit_batch(&batch?, &mut visit)?;
            }
        }
    }
    Ok(())
}

/// Options that have the server send everything in as few batches as it can.
pub(super) fn in_few_batches() -> FindOptions {
    FindOptions::builder().batch_size(100_000).build()
}

fn visit_batch(batch: &RawBatch, visit: &mut impl FnMut(&RawDocument)) -> Result<()> {
    for record in batch.doc_slices()? {
        if let Some(record) = record?.as_document() {
            visit(record);
        }
    }
    Ok(())
}
