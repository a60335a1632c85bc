//! The dataset of one client, of one moment.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Document, RawDocumentBuf, Timestamp, doc};
use futures_util::future::try_join_all;
use futures_util::{Stream, StreamExt, stream};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::Hint;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{ClientSession, Database};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::backoff::Backoff;
use super::counter::Counter;
use super::error::{code, describe};
use super::within;
use crate::dataset::{Dataset, Encoder, Leaf, Records};
use crate::model::{Collection, Revision};
use crate::store::StoreError;
use crate::store::gather::{Gathered, Leaves, gather};
use crate::store::pull::most_changed;

/// Where one client's records are read.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub db: Database,
    pub client: ObjectId,
    /// It is a lone mongod, which has no snapshots: the caller keeps batches of the client away.
    pub lone: bool,
    /// It is a sharded cluster, in which one command may have to ask several servers.
    pub routed: bool,
    /// The most that is held of a dataset, in bytes.
    pub most_held: usize,
}

/// A moment of the database to which all reads of a dataset belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub Timestamp);

impl At {
    /// The moment of a number that [`At::time`] gave.
    pub fn of(time: u64) -> Self {
        Self(Timestamp { time: (time >> 32) as u32, increment: time as u32 })
    }

    /// As a number, which is never 0.
    pub fn time(self) -> u64 {
        u64::from(self.0.time) << 32 | u64::from(self.0.increment)
    }
}

impl Reader {
    /// Where the client's books stand: at this moment, or now, which then is the moment.
    pub async fn counter(&self, at: Option<At>) -> Result<(Counter, Option<At>), StoreError> {
        if self.lone {
            return Ok((Counter::load(&self.db, None, self.client).await?.usable()?, None));
        }
        let (counter, at) = retried(|| async {
            let mut session = self.snapshot(at).await?;
            let counter = Counter::load(&self.db, Some(&mut session), self.client).await?;
            let time = session.snapshot_time().ok_or_else(|| Error::custom("a snapshot without a time"))?;
            Ok((counter, Some(At(time))))
        })
        .await?;
        Ok((counter.usable()?, at))
    }

    /// Everything of the client. All collections side by side: a session serves one command at a time, so each has
    /// one of its own.
    pub async fn all(&self, at: Option<At>) -> Result<Gathered, StoreError> {
        let sources = || Collection::ALL.map(|collection| self.leaves(at, collection));
        // Nothing of a lone mongod's dataset may be read when it is not the client's turn any more.
        let most = if self.lone { usize::MAX } else { self.most_held };
        let mut backoff = Backoff::new();
        for _ in 1..ATTEMPTS {
            match gather(sources(), most).await {
                Err(StoreError::Unavailable(error)) => {
                    tracing::debug!(client = %self.client, error, "dataset is read again");
                    backoff.wait().await;
                }
                result => return result,
            }
        }
        gather(sources(), most).await
    }

    /// The records that commits after this one have changed; `None` if they are more than may be held. They come in
    /// the order of the index that finds them, for the database may have to hold what it is to sort.
    pub async fn changed_since(&self, at: Option<At>, revision: Revision) -> Result<Option<Dataset>, StoreError> {
        let changed = Collection::ALL.map(|collection| self.changed_in(at, collection, revision));
        let mut records = Records::new();
        for changed in try_join_all(changed).await? {
            let Some(changed) = changed else { return Ok(None) };
            records.extend(changed);
        }
        Dataset::default().with(&records).map(Some).map_err(|e| malformed(&e))
    }

    async fn changed_in(
        &self,
        at: Option<At>,
        collection: Collection,
        revision: Revision,
    ) -> Result<Option<Records>, StoreError> {
        let filter = doc! { "clientId": self.client, "revision": { "$gt": revision.0 } };
        let order = doc! { "clientId": 1, "revision": 1 };
        let mut batches = self.begin(at, collection, Query { filter, index: order.clone(), order });
        let (mut records, mut bytes) = (Records::new(), 0);
        while let Some(batch) = batches.recv().await {
            for record in batch?.doc_slices()? {
                let record = record.map_err(|e| malformed(&e))?;
                let Some(record) = record.as_document() else { continue };
                // Ours have an id of this kind, and others carry no revision.
                let Ok(id) = record.get_object_id("_id") else { continue };
                bytes += record.as_bytes().len();
                records.insert((collection, id), record.as_bytes().to_vec());
            }
            if bytes > most_changed(self.most_held) {
                return Ok(None);
            }
        }
        Ok(Some(records))
    }

    /// Reads and encodes a collection: one task asks the database for the next records while the other encodes.
    fn leaves(&self, at: Option<At>, collection: Collection) -> Leaves {
        let query = Query {
            filter: doc! { "clientId": self.client },
            order: doc! { "_id": 1 },
            index: doc! { "clientId": 1, "_id": 1 },
        };
        let batches = self.begin(at, collection, query);
        let (leaves, encoded) = mpsc::channel(8);
        Handle::current().spawn(encode(collection, batches, leaves));
        stream::unfold(encoded, |mut encoded| async { encoded.recv().await.map(|leaf| (leaf, encoded)) }).boxed()
    }

    /// Begins to read, and goes on as long as somebody takes it.
    fn begin(&self, at: Option<At>, collection: Collection, query: Query) -> Receiver<Result<RawBatch, StoreError>> {
        let (batches, fetched) = mpsc::channel(1);
        let reader = self.clone();
        Handle::current().spawn(async move {
            if let Err(error) = reader.fetch(at, collection, query, &batches).await {
                // Nobody to tell is nobody to care.
                let _ = batches.send(Err(error)).await;
            }
        });
        fetched
    }

    async fn fetch(
        &self,
        at: Option<At>,
        collection: Collection,
        query: Query,
        batches: &Sender<Result<RawBatch, StoreError>>,
    ) -> Result<(), StoreError> {
        let collection = self.db.collection::<RawDocumentBuf>(collection.name());
        let Query { filter, order, index } = query;
        let find = collection.find(filter).sort(order).hint(Hint::Keys(index)).batch_size(BATCH);
        if self.lone {
            return pass_on(timely(find.batch()).await?, batches).await;
        }
        let mut session = timely(self.snapshot(at)).await?;
        let mut cursor = timely(find.session(&mut session).batch()).await?;
        pass_on(cursor.stream(&mut session), batches).await
    }

    pub async fn snapshot(&self, at: Option<At>) -> Result<ClientSession, Error> {
        let session = self.db.client().start_session().snapshot(true);
        match at {
            Some(At(time)) => session.snapshot_time(time).await,
            None => session.await,
        }
    }
}

/// What is read of one collection. The index is said, because for the order alone the server may take another one
/// and read everything.
struct Query {
    filter: Document,
    order: Document,
    index: Document,
}

async fn pass_on(
    mut stream: impl Stream<Item = Result<RawBatch, Error>> + Unpin,
    batches: &Sender<Result<RawBatch, StoreError>>,
) -> Result<(), StoreError> {
    while let Some(batch) = timely(async { stream.next().await.transpose() }).await? {
        if batches.send(Ok(batch)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn malformed(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Internal(format!("a record is not valid BSON: {error}"))
}

/// Records of one answer of the database: about a megabyte, so that several readers fit into memory.
const BATCH: u32 = 1000;
/// How long the database may take for one answer.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(10);
/// How often what fails is tried.
const ATTEMPTS: u32 = 5;

async fn timely<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    within(LONGEST_READ, async { Ok(work.await?) }).await
}

async fn encode(
    collection: Collection,
    mut batches: Receiver<Result<RawBatch, StoreError>>,
    leaves: Sender<Result<Leaf, StoreError>>,
) {
    let mut encoder = Encoder::new(collection);
    while let Some(batch) = batches.recv().await {
        let encoded = batch.and_then(|batch| encode_batch(&batch, &mut encoder));
        let failed = encoded.is_err();
        for leaf in encoded.map_or_else(|error| vec![Err(error)], |()| encoder.take().into_iter().map(Ok).collect()) {
            if leaves.send(leaf).await.is_err() {
                return;
            }
        }
        if failed {
            return;
        }
    }
    for leaf in encoder.finish() {
        if leaves.send(Ok(leaf)).await.is_err() {
            return;
        }
    }
}

fn encode_batch(batch: &RawBatch, encoder: &mut Encoder) -> Result<(), StoreError> {
    for record in batch.doc_slices()? {
        let record: Option<&RawDocument> = record.map_err(|e| malformed(&e))?.as_document();
        if let Some(record) = record {
            encoder.push(record.as_bytes()).map_err(|e| malformed(&e))?;
        }
    }
    Ok(())
}

/// Tries again a few times if the server cannot give a snapshot now.
pub(super) async fn retried<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn() -> F) -> Result<T, StoreError> {
    let mut backoff = Backoff::new();
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if is_passing(&error) => {
                tracing::debug!(error = describe(&error), "a snapshot is asked for again");
                backoff.wait().await;
            }
            result => return Ok(result?),
        }
    }
    Ok(attempt().await?)
}

/// Snapshot gone or not there yet, or the connection broke: worth another try.
pub(super) fn is_passing(error: &Error) -> bool {
    const SNAPSHOT_TOO_OLD: i32 = 239;
    const SNAPSHOT_UNAVAILABLE: i32 = 246;
    match code(error) {
        Some(code) => [SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE].contains(&code),
        None => matches!(*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }),
    }
}
