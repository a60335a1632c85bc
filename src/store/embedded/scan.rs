//! Reading a client's records from one read transaction, some at a time.

use std::ops::Bound;
use std::sync::Arc;

use bson::oid::ObjectId;
use futures_util::{StreamExt, TryStreamExt, stream};
use redb::{ReadOnlyTable, ReadTransaction};

use super::super::StoreError;
use super::super::gather::{Gathered, Leaves, List};
use super::tables::{self, record_key};
use super::{blocking, failed};
use crate::dataset::{Dataset, Encoder, Leaf};
use crate::model::{ClientId, Collection, Revision};

/// Everything of a client; of more than `most` bytes only the beginning, and how to read on. The transaction lasts
/// until all is read.
pub(super) fn all(transaction: &ReadTransaction, client: &ClientId, most: usize) -> Result<Gathered, StoreError> {
    let records = Arc::new(tables::records(transaction)?);
    let key = |collection, id| record_key(client, collection, id);
    gather(
        Collection::ALL.map(|collection| {
            let range = Wanted::Range(Bound::Included(key(collection, [0; 12])), key(collection, [255; 12]));
            Scan::new(collection, Arc::clone(&records), range)
        }),
        most,
    )
}

/// The records of a client that the commits after one revision, up to another, have changed; `None` if that cannot be
/// told, or is more than `most` bytes.
pub(super) fn changed_since(
    transaction: &ReadTransaction,
    client: &ClientId,
    since: Revision,
    until: Revision,
    most: usize,
) -> Result<Option<Dataset>, StoreError> {
    let Some(changed) = tables::changed_since(transaction, client, since, until)? else { return Ok(None) };
    let records = Arc::new(tables::records(transaction)?);
    let scans = Collection::ALL.map(|collection| {
        let first = (collection as u8, ObjectId::from_bytes([0; 12]));
        let last = (collection as u8, ObjectId::from_bytes([255; 12]));
        let keys: Vec<_> =
            changed.range(first..=last).map(|(_, id)| record_key(client, collection, id.bytes())).collect();
        Scan::new(collection, Arc::clone(&records), Wanted::Keys(keys.into_iter()))
    });
    Ok(match gather(scans, most)? {
        Gathered::Whole(dataset) => Some(dataset),
        Gathered::Large(_) => None,
    })
}

fn gather(scans: [Scan; Collection::ALL.len()], most: usize) -> Result<Gathered, StoreError> {
    let mut left = most;
    let mut lists = Vec::with_capacity(scans.len());
    for mut scan in scans {
        let taken = scan.step(left.saturating_add(1))?;
        left = left.saturating_sub(taken.iter().map(Leaf::bytes).sum());
        lists.push(List { taken, rest: (!scan.complete).then(|| scan.leaves()) });
    }
    let lists = lists.try_into().unwrap_or_else(|_| unreachable!("there is one list for each scan"));
    Ok(Gathered::of(lists))
}

type Key = [u8; 25];

enum Wanted {
    Range(Bound<Key>, Key),
    Keys(std::vec::IntoIter<Key>),
}

/// What is still to be read of one collection.
struct Scan {
    collection: Collection,
    records: Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    wanted: Wanted,
    complete: bool,
}

impl Scan {
    /// How much is read at once for a phone that takes it as it comes, in bytes.
    const STEP: usize = 256 << 10;

    fn new(collection: Collection, records: Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>, wanted: Wanted) -> Self {
        Self { collection, records, wanted, complete: false }
    }

    /// The rest, read where it holds up nobody, a step at a time and only when it is asked for.
    fn leaves(self) -> Leaves {
        let step = |mut scan: Self| async move {
            if scan.complete {
                return Ok(None);
            }
            let stepped = blocking(move || scan.step(Self::STEP).map(|leaves| (leaves, scan)));
            stepped.await.map(|(leaves, scan)| Some((stream::iter(leaves).map(Ok), scan)))
        };
        stream::try_unfold(self, step).try_flatten().boxed()
    }

    /// Reads about so many bytes.
    fn step(&mut self, bytes: usize) -> Result<Vec<Leaf>, StoreError> {
        let mut encoder = Encoder::new(self.collection);
        let mut add = |record: &[u8]| {
            encoder.push(record).map_err(|e| StoreError::Internal(e.to_string()))?;
            Ok::<_, StoreError>(encoder.bytes() < bytes)
        };
        self.complete = match &mut self.wanted {
            Wanted::Range(from, last) => {
                let begin = from.as_ref().map(|key| &key[..]);
                let range = self.records.range::<&[u8]>((begin, Bound::Included(&last[..]))).map_err(failed)?;
                let mut reached = None;
                for entry in range {
                    let (key, record) = entry.map_err(failed)?;
                    if !add(record.value())? {
                        reached = key.value().try_into().ok();
                        break;
                    }
                }
                let complete = reached.is_none();
                *from = reached.map_or(*from, Bound::Excluded);
                complete
            }
            Wanted::Keys(keys) => loop {
                let Some(key) = keys.next() else { break true };
                let record = self.records.get(&key[..]).map_err(failed)?;
                if let Some(record) = record
                    && !add(record.value())?
                {
                    break false;
                }
            },
        };
        Ok(encoder.finish())
    }
}
