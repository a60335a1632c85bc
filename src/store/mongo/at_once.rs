//! A small dataset with one command.
//!
//! For few records the database spends more on taking commands than on finding records. So the client's own
//! document and all collections are one pipeline's result, in which a separator says where each collection begins.
//! For many records six finds side by side are quicker, and need not be held.

use bson::oid::ObjectId;
use bson::raw::{RawArrayBuf, RawDocument};
use bson::{RawDocumentBuf, rawdoc};
use futures_util::StreamExt;
use moka::sync::Cache;

use super::CLIENTS;
use super::counter::Counter;
use super::dataset::{At, LONGEST_READ, Reader, is_passing, retried};
use super::error::{code, describe};
use super::within;
use crate::dataset::{Dataset, Encoder, Records};
use crate::model::{ClientId, Collection, Position, Revision};
use crate::store::StoreError;

/// What one command has read.
pub(super) struct AtOnce {
    pub counter: Counter,
    pub at: At,
    pub dataset: Dataset,
}

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All records.
    Full,
    /// The records that commits after this one have changed.
    Since(Revision),
}

const MOST_BYTES: usize = 1 << 20;

/// The clients whose datasets were small when all of them was read last.
#[derive(Debug)]
pub(super) struct SmallClients(Cache<ClientId, ()>);

impl SmallClients {
    /// More clients than that are forgotten again.
    const MOST_CLIENTS: u64 = 100_000;

    /// Nothing was read yet.
    pub fn new() -> Self {
        Self(Cache::new(Self::MOST_CLIENTS))
    }

    /// Whether it is one of them.
    pub fn contains(&self, client: &ClientId) -> bool {
        self.0.contains_key(client)
    }

    /// Notes what was found.
    pub fn note(&self, client: &ClientId, small: bool) {
        match small {
            _ if small == self.contains(client) => {}
            true => self.0.insert(*client, ()),
            false => self.0.invalidate(client),
        }
    }
}

/// Whether so few commits lie between two positions that they cannot have changed much.
pub(super) fn is_recent(before: Position, after: Position) -> bool {
    const FEW: i64 = 64;
    (0..=FEW).contains(&(after.revision.0 - before.revision.0))
}

impl Reader {
    /// The largest dataset that is read with one command, in bytes.
    pub fn most_at_once(&self) -> usize {
        MOST_BYTES.min(self.stream_above)
    }

    /// Reads with one command, of this moment or of now, if it can be: `None` if there is no document of the client
    /// yet, if it turns out to be too much, or if the database does not take such a command.
    pub async fn at_once(&self, at: Option<At>, extent: Extent) -> Result<Option<AtOnce>, StoreError> {
        let command = command(self.client, extent);
        within(LONGEST_READ, retried(|| self.try_at_once(at, extent, command.clone()))).await
    }

    async fn try_at_once(
        &self,
        at: Option<At>,
        extent: Extent,
        command: RawDocumentBuf,
    ) -> mongodb::error::Result<Option<AtOnce>> {
        let mut session = self.snapshot(at).await?;
        let mut taken = Taken::new(extent, self.most_at_once());
        let run = self.db.run_raw_cursor_command(command).session(&mut session).batch();
        let mut cursor = match run.await {
            Err(error) if is_refusal(&error) => {
                tracing::debug!(error = describe(&error), "the dataset is not read with one command");
                return Ok(None);
            }
            cursor => cursor?,
        };
        let mut batches = cursor.stream(&mut session);
        while let Some(batch) = batches.next().await {
            for record in batch?.doc_slices()? {
                if let Some(record) = record?.as_document()
                    && taken.push(record).is_none()
                {
                    return Ok(None);
                }
            }
        }
        drop(batches);
        Ok(session.snapshot_time().and_then(|time| taken.complete(At(time))))
    }
}

/// Whether the server itself said no, and will again.
fn is_refusal(error: &mongodb::error::Error) -> bool {
    code(error).is_some() && !is_passing(error)
}

/// The pipeline's result is the client's own document, then for each collection its number and its records.
fn command(client: ObjectId, extent: Extent) -> RawDocumentBuf {
    let own = rawdoc! { "$match": { "_id": client } };
    let mut pipeline = RawArrayBuf::new();
    pipeline.push(own.clone());
    for collection in Collection::ALL {
        let mut separator = RawArrayBuf::new();
        separator.push(own.clone());
        separator.push(rawdoc! { "$project": { "_id": { "$literal": collection as i32 } } });
        pipeline.push(rawdoc! { "$unionWith": { "coll": CLIENTS, "pipeline": separator } });
        let mut records = RawArrayBuf::new();
        for stage in records_of(client, extent) {
            records.push(stage);
        }
        pipeline.push(rawdoc! { "$unionWith": { "coll": collection.name(), "pipeline": records } });
    }
    // As few answers as can be.
    rawdoc! { "aggregate": CLIENTS, "pipeline": pipeline, "cursor": { "batchSize": 100_000 } }
}

/// No index can be named here. So the order says which one it is: with any other the server would have to sort.
fn records_of(client: ObjectId, extent: Extent) -> [RawDocumentBuf; 2] {
    match extent {
        Extent::Full => {
            [rawdoc! { "$match": { "clientId": client } }, rawdoc! { "$sort": { "clientId": 1, "_id": 1 } }]
        }
        Extent::Since(Revision(revision)) => [
            rawdoc! { "$match": { "clientId": client, "revision": { "$gt": revision } } },
            rawdoc! { "$sort": { "clientId": 1, "revision": 1 } },
        ],
    }
}

/// What has come of the pipeline's result.
struct Taken {
    most: usize,
    bytes: usize,
    counter: Option<Counter>,
    /// Of which collection the next records are; none before the first separator.
    collection: Option<Collection>,
    records: Intake,
}

/// How records become a dataset.
enum Intake {
    /// They come in `_id` order.
    Ordered { encoder: Encoder, dataset: Dataset },
    /// They come in the order of their revisions.
    Unordered(Records),
}

impl Taken {
    fn new(extent: Extent, most: usize) -> Self {
        let records = match extent {
            Extent::Full => Intake::Ordered { encoder: Encoder::new(Collection::ALL[0]), dataset: Dataset::default() },
            Extent::Since(_) => Intake::Unordered(Records::new()),
        };
        Self { most, bytes: 0, counter: None, collection: None, records }
    }

    /// Takes the next document, unless it is not what was to be expected or too much.
    fn push(&mut self, document: &RawDocument) -> Option<()> {
        self.bytes += document.as_bytes().len();
        if self.bytes > self.most {
            return None;
        }
        match self.collection {
            _ if self.counter.is_none() => self.counter = Some(Counter::of(document)),
            collection if is_separator(document, collection) => self.next(),
            Some(collection) => self.records.push(collection, document)?,
            None => return None,
        }
        Some(())
    }

    fn next(&mut self) {
        self.collection = following(self.collection);
        if let (Intake::Ordered { encoder, dataset }, Some(collection)) = (&mut self.records, self.collection) {
            finish(std::mem::replace(encoder, Encoder::new(collection)), dataset);
        }
    }

    /// All of it, if the last separator has come.
    fn complete(self, at: At) -> Option<AtOnce> {
        if following(self.collection).is_some() {
            return None;
        }
        let dataset = match self.records {
            Intake::Ordered { encoder, mut dataset } => {
                finish(encoder, &mut dataset);
                dataset
            }
            Intake::Unordered(records) => Dataset::default().with(&records).ok()?,
        };
        Some(AtOnce { counter: self.counter?, at, dataset })
    }
}

impl Intake {
    fn push(&mut self, collection: Collection, record: &RawDocument) -> Option<()> {
        match self {
            Self::Ordered { encoder, .. } => encoder.push(record.as_bytes()).ok(),
            Self::Unordered(records) => {
                let id = record.get_object_id("_id").ok()?;
                records.insert((collection, id), record.as_bytes().to_vec());
                Some(())
            }
        }
    }
}

fn finish(encoder: Encoder, dataset: &mut Dataset) {
    let collection = encoder.collection();
    encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
}

/// The collection after this one; the first after none.
fn following(collection: Option<Collection>) -> Option<Collection> {
    Collection::ALL.get(collection.map_or(0, |collection| collection as usize + 1)).copied()
}

/// Whether the records of the next collection begin here. A record is never taken for it: it has a `clientId`.
fn is_separator(document: &RawDocument, before: Option<Collection>) -> bool {
    /// Of a document with a number as its `_id` and nothing else.
    const BYTES: usize = 14;
    let number = || document.get_i32("_id").ok();
    document.as_bytes().len() == BYTES && following(before).is_some_and(|next| number() == Some(next as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ObjectId = ObjectId::from_bytes([7; 12]);

    fn record(id: u8) -> RawDocumentBuf {
        rawdoc! { "_id": ObjectId::from_bytes([id; 12]), "clientId": CLIENT, "revision": i64::from(id) }
    }

    fn result(records: impl Fn(Collection) -> Vec<RawDocumentBuf>) -> Vec<RawDocumentBuf> {
        let mut result = vec![rawdoc! { "_id": CLIENT, "revision": 9_i64 }];
        for collection in Collection::ALL {
            result.push(rawdoc! { "_id": collection as i32 });
            result.extend(records(collection));
        }
        result
    }

    fn take(extent: Extent, most: usize, result: &[RawDocumentBuf]) -> Option<AtOnce> {
        let mut taken = Taken::new(extent, most);
        result.iter().try_for_each(|document| taken.push(document))?;
        taken.complete(At::of(1))
    }

    fn json(read: &AtOnce) -> String {
        String::from_utf8(read.dataset.pieces().flatten().collect()).unwrap()
    }

    #[test]
    fn records_go_to_the_collection_whose_separator_came_before_them() {
        let only = |collection| move |of| if of == collection { vec![record(1), record(2)] } else { vec![] };
        for collection in Collection::ALL {
            let read = take(Extent::Full, 1000, &result(only(collection))).unwrap();
            assert_eq!(read.counter.revision, Revision(9));
            let list = format!("\"{}\":[{{\"_id\":\"0101", collection.data_name());
            assert!(json(&read).contains(&list), "{}", json(&read));
        }
    }

    #[test]
    fn changes_are_put_in_the_order_of_their_ids() {
        let swapped = take(Extent::Since(Revision(0)), 1000, &result(|_| vec![record(2), record(1)])).unwrap();
        let ordered = take(Extent::Full, 1000, &result(|_| vec![record(1), record(2)])).unwrap();
        assert_eq!(json(&swapped), json(&ordered));
    }

    #[test]
    fn what_is_not_complete_or_too_much_is_not_taken() {
        let whole = result(|_| vec![record(1)]);
        assert!(take(Extent::Full, 10_000, &whole).is_some());
        assert!(take(Extent::Full, 100, &whole).is_none(), "too much");
        assert!(take(Extent::Full, 10_000, &[]).is_none(), "the client has no document");
        assert!(take(Extent::Full, 10_000, &whole[..whole.len() - 2]).is_none(), "the last separator is missing");
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert!(take(Extent::Full, 10_000, &swapped).is_none(), "a record before the first separator");
    }
}
