//! Everything of one client, of one moment.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{RawDocumentBuf, Timestamp, doc};
use mongodb::Database;
use mongodb::error::{Error, ErrorKind};
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::counter::Counter;
use super::error::{code, describe};
use super::find::{find, in_few_batches};
use crate::dataset::Dataset;
use crate::model::{Collection, Revision};
use crate::store::StoreError;

/// A snapshot that all collections share. Tries again a few times if the server cannot give one now.
pub(super) async fn snapshot(db: &Database, client: ObjectId) -> Result<Dataset, StoreError> {
    let mut backoff = Backoff::new();
    for _ in 0..ATTEMPTS {
        match try_snapshot(db, client).await {
            Err(error) if is_passing(&error) => {
                tracing::debug!(%client, error = describe(&error), "dataset is read again");
                backoff.wait().await;
            }
            result => return Ok(result?),
        }
    }
    Ok(try_snapshot(db, client).await?)
}

/// The records as they are now, for a lone mongod. The caller keeps batches of this client away.
pub(super) async fn plain(db: &Database, client: ObjectId) -> Result<Dataset, StoreError> {
    let counter = Counter::load(db, None, client).await?;
    Ok(read_all(db, None, client, counter.revision).await?)
}

/// How often a snapshot is tried again.
const ATTEMPTS: u32 = 4;

async fn try_snapshot(db: &Database, client: ObjectId) -> Result<Dataset, Error> {
    let mut session = db.client().start_session().snapshot(true).await?;
    let counter = Counter::load(db, Some(&mut session), client).await?;
    let time = session.snapshot_time().ok_or_else(|| Error::custom("a snapshot without a time"))?;
    read_all(db, Some(time), client, counter.revision).await
}

/// All collections side by side: a session serves one command at a time, so each has one of its own.
async fn read_all(
    db: &Database,
    time: Option<Timestamp>,
    client: ObjectId,
    revision: Revision,
) -> Result<Dataset, Error> {
    let mut readers = JoinSet::new();
    for collection in Collection::ALL {
        let db = db.clone();
        readers.spawn(async move { (collection, read(&db, time, client, collection).await) });
    }
    let mut dataset = Dataset::new(revision);
    while let Some(read) = readers.join_next().await {
        let (collection, records) = read.map_err(|_| Error::custom("a reader stopped"))?;
        records?.into_iter().for_each(|record| dataset.push(collection, record));
    }
    Ok(dataset)
}

async fn read(
    db: &Database,
    time: Option<Timestamp>,
    client: ObjectId,
    collection: Collection,
) -> Result<Vec<RawDocumentBuf>, Error> {
    let mut session = match time {
        Some(time) => Some(db.client().start_session().snapshot(true).snapshot_time(time).await?),
        None => None,
    };
    let mut options = in_few_batches();
    options.sort = Some(doc! { "_id": 1 });
    let mut records = Vec::new();
    let take = |record: &RawDocument| records.push(record.to_owned());
    find(db, session.as_mut(), collection.name(), doc! { "clientId": client }, options, take).await?;
    Ok(records)
}

/// Snapshot gone or not there yet, or the connection broke: worth another try.
fn is_passing(error: &Error) -> bool {
    const SNAPSHOT_TOO_OLD: i32 = 239;
    const SNAPSHOT_UNAVAILABLE: i32 = 246;
    match code(error) {
        Some(code) => [SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE].contains(&code),
        None => matches!(*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }),
    }
}
