//! A small dataset with one command.
//!
//! For few records the database spends more on taking commands than on finding records. So all collections are
//! looked up from the client's own document, and come as one document with it. For many records, which may not fit
//! into one, six finds side by side are quicker, and need not be held.

use bson::oid::ObjectId;
use bson::raw::{RawArrayBuf, RawDocument};
use bson::{RawDocumentBuf, rawdoc};
use futures_util::StreamExt;
use moka::sync::Cache;
use mongodb::error::{Error, Result};

use super::counter::Counter;
use super::dataset::{At, LONGEST_READ, Reader, is_passing, retried};
use super::error::{self, code, describe};
use super::{CLIENTS, within};
use crate::dataset::{Dataset, Encoder, Records};
use crate::model::{ClientId, Collection, Position, Revision};
use crate::store::{MOST_READ_ON_THE_WAY, StoreError};

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

/// What one command came to.
pub(super) enum Found {
    /// All that was asked for.
    All(Box<AtOnce>),
    /// More than one command should read.
    TooMuch,
    /// Nothing that can be told: there is no document of the client yet, or it is not to be served now. Who reads in
    /// another way says so.
    Nothing,
}

/// The most records of each collection that one command reads of a client.
pub(super) const MOST_RECORDS: usize = 2000;

/// The clients whose datasets turned out not to be small. They will not be again: no batch takes anything away.
#[derive(Debug)]
pub(super) struct LargeClients(Cache<ClientId, ()>);

impl LargeClients {
    /// More clients than that are forgotten, and found out anew.
    const MOST_CLIENTS: u64 = 100_000;

    /// Nobody is known yet.
    pub fn new() -> Self {
        Self(Cache::new(Self::MOST_CLIENTS))
    }

    /// Whether it is one of them.
    pub fn contains(&self, client: &ClientId) -> bool {
        self.0.contains_key(client)
    }

    /// Notes one.
    pub fn note(&self, client: &ClientId) {
        if !self.contains(client) {
            self.0.insert(*client, ());
        }
    }
}

/// The largest dataset that is read with one command where so much may be held, in bytes.
pub(super) fn most_bytes(most_held: usize) -> usize {
    MOST_READ_ON_THE_WAY.min(most_held)
}

/// Whether so few commits lie between two positions that they cannot have changed much.
pub(super) fn is_recent(before: Position, after: Position) -> bool {
    const FEW: i64 = 64;
    (0..=FEW).contains(&(after.revision.0 - before.revision.0))
}

impl Reader {
    /// The largest dataset that is read with one command, in bytes.
    pub fn most_at_once(&self) -> usize {
        most_bytes(self.most_held)
    }

    /// Reads with one command, of this moment or of now, if it can be.
    pub async fn at_once(&self, at: Option<At>, extent: Extent) -> std::result::Result<Found, StoreError> {
        let command = command(self.client, extent);
        within(LONGEST_READ, retried(|| self.try_at_once(at, extent, command.clone()))).await
    }

    async fn try_at_once(&self, at: Option<At>, extent: Extent, command: RawDocumentBuf) -> Result<Found> {
        let mut session = self.snapshot(at).await?;
        let mut cursor = match self.db.run_raw_cursor_command(command).session(&mut session).batch().await {
            Ok(cursor) => cursor,
            Err(error) => return refused(error),
        };
        let Some(batch) = cursor.stream(&mut session).next().await.transpose()? else { return Ok(Found::Nothing) };
        let (Some(document), Some(time)) = (batch.doc_slices()?.into_iter().next(), session.snapshot_time()) else {
            return Ok(Found::Nothing);
        };
        let Some(document) = document?.as_document() else { return Ok(Found::Nothing) };
        if document.as_bytes().len() > self.most_at_once() || !is_complete(document) {
            return Ok(Found::TooMuch);
        }
        let (counter, at) = (Counter::of(document), At(time));
        let dataset = dataset(document, extent).filter(|_| !counter.importing);
        Ok(dataset.map_or(Found::Nothing, |dataset| Found::All(Box::new(AtOnce { counter, at, dataset }))))
    }
}

/// What it means that the server itself said no, if another try does not help.
fn refused(error: Error) -> Result<Found> {
    if code(&error).is_none() || is_passing(&error) {
        return Err(error);
    }
    tracing::debug!(error = describe(&error), "the dataset is not read with one command");
    // That a member steps down says nothing of the client, and what is noted of a client is noted for good.
    Ok(if error::is_passing(&error) { Found::Nothing } else { Found::TooMuch })
}

/// Gives the client's own document, in which each collection's records are a field of its name.
fn command(client: ObjectId, extent: Extent) -> RawDocumentBuf {
    let mut pipeline = RawArrayBuf::new();
    pipeline.push(rawdoc! { "$match": { "_id": client } });
    for collection in Collection::ALL {
        let mut records = RawArrayBuf::new();
        for stage in records_of(client, extent) {
            records.push(stage);
        }
        // One more, so that what is missing is missed.
        records.push(rawdoc! { "$limit": MOST_RECORDS as i64 + 1 });
        let name = collection.name();
        pipeline.push(rawdoc! { "$lookup": { "from": name, "pipeline": records, "as": name } });
    }
    rawdoc! { "aggregate": CLIENTS, "pipeline": pipeline, "cursor": {} }
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

/// Whether none of the collections has more records than were asked for.
fn is_complete(document: &RawDocument) -> bool {
    Collection::ALL.into_iter().all(|collection| {
        let records = document.get_array(collection.name());
        records.is_ok_and(|records| records.into_iter().nth(MOST_RECORDS).is_none())
    })
}

/// The dataset in a client's document. What is wrong with it is told by those who read it in another way.
fn dataset(document: &RawDocument, extent: Extent) -> Option<Dataset> {
    let (mut dataset, mut changed) = (Dataset::default(), Records::new());
    for collection in Collection::ALL {
        let records = document.get_array(collection.name()).ok()?;
        let mut records = records.into_iter().map(|record| record.ok()?.as_document());
        match extent {
            Extent::Full => {
                let mut encoder = Encoder::new(collection);
                records.try_for_each(|record| encoder.push(record?.as_bytes()).ok())?;
                encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
            }
            // They come in the order of their revisions.
            Extent::Since(_) => records.try_for_each(|record| {
                let record = record?;
                let id = record.get_object_id("_id").ok()?;
                changed.insert((collection, id), record.as_bytes().to_vec());
                Some(())
            })?,
        }
    }
    // What other programs made the record of several clients may come at any place.
    dataset.with(&changed).ok().filter(Dataset::is_in_order)
}

#[cfg(test)]
mod tests {
    use mongodb::error::ErrorKind;

    use super::*;

    fn record(id: u8) -> RawDocumentBuf {
        rawdoc! { "_id": ObjectId::from_bytes([id; 12]), "revision": i64::from(id) }
    }

    fn document(records: &[RawDocumentBuf]) -> RawDocumentBuf {
        let mut list = RawArrayBuf::new();
        records.iter().for_each(|record| list.push(record.clone()));
        rawdoc! {
            "_id": ObjectId::from_bytes([7; 12]), "revision": 9_i64, "itemgroups": list.clone(), "items": list.clone(),
            "clientcustomers": list.clone(), "invoices": list.clone(), "payments": list.clone(),
            "purchasehistories": list,
        }
    }

    fn json(dataset: &Dataset) -> String {
        String::from_utf8(dataset.pieces().flatten().collect()).unwrap()
    }

    #[test]
    fn changes_are_put_in_the_order_of_their_ids() {
        let changed = dataset(&document(&[record(2), record(1)]), Extent::Since(Revision(0))).unwrap();
        let all = dataset(&document(&[record(1), record(2)]), Extent::Full).unwrap();
        assert_eq!(json(&changed), json(&all));
        assert!(json(&all).contains("\"items\":[{\"_id\":\"0101"), "{}", json(&all));
    }

    #[test]
    fn one_record_more_than_is_asked_for_is_too_much() {
        let records = |count: usize| document(&vec![record(1); count]);
        assert!(is_complete(&records(MOST_RECORDS)));
        assert!(!is_complete(&records(MOST_RECORDS + 1)));
    }

    #[test]
    fn only_what_the_server_will_refuse_again_is_too_much() {
        let refused = |code| {
            let told = serde_json::json!({"code": code, "codeName": "", "errmsg": ""});
            refused(ErrorKind::Command(serde_json::from_value(told).unwrap()).into())
        };
        for too_large in [4568, 10334] {
            assert!(matches!(refused(too_large), Ok(Found::TooMuch)), "{too_large}");
        }
        for stepping_down in [189, 11602] {
            assert!(matches!(refused(stepping_down), Ok(Found::Nothing)), "{stepping_down}");
        }
        assert!(refused(246).is_err(), "the snapshot is there the next time");
        assert!(super::refused(Error::custom("broken")).is_err());
    }

    #[test]
    fn what_is_not_complete_is_not_taken() {
        assert!(dataset(&rawdoc! { "_id": 1, "revision": 9_i64 }, Extent::Full).is_none());
        let foreign = rawdoc! { "_id": "made elsewhere", "revision": 3_i64 };
        assert!(dataset(&document(&[foreign]), Extent::Since(Revision(0))).is_none(), "its place is not known here");
    }
}
