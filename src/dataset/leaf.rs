//! Runs of encoded records.

use std::sync::Arc;

use bson::oid::ObjectId;
use bytes::Bytes;

use super::normalize::write_record;
use super::walk::{Elements, Malformed, Value};
use crate::model::{Collection, Revision};

/// Some records of one collection that follow one another in `_id` order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leaf {
    records: Arc<[Place]>,
    /// The records' JSON, each with a comma before it.
    json: Bytes,
}

/// Where a record of a leaf is, and what is asked of it without reading it.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: ObjectId,
    /// Of its last commit; 0 for records that another program wrote.
    revision: Revision,
    /// Where its JSON ends. It begins where that of the record before it ends.
    end: u32,
}

impl Leaf {
    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.json.len() + size_of_val(&*self.records)
    }

    /// Its JSON; as the `first` leaf of a list it begins without a comma.
    pub fn piece(&self, first: bool) -> Bytes {
        self.json.slice(usize::from(first && !self.json.is_empty())..)
    }

    /// The records whose last commit is later than this one, if there are any.
    pub fn since(&self, revision: Revision) -> Option<Self> {
        let changed = self.records.iter().filter(|place| place.revision > revision).count();
        match changed {
            0 => None,
            all if all == self.records.len() => Some(self.clone()),
            _ => {
                let mut copy = Copied::default();
                self.each()
                    .filter(|(place, _)| place.revision > revision)
                    .for_each(|(place, json)| copy.push(place, json));
                Some(copy.seal())
            }
        }
    }

    /// The ids of its records; zeros for those of another kind than ours.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.records.iter().map(|place| place.id)
    }

    fn each(&self) -> impl Iterator<Item = (&Place, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|place| place.end as usize));
        self.records.iter().zip(starts).map(|(place, start)| (place, &self.json[start..place.end as usize]))
    }

    fn last(&self) -> Option<ObjectId> {
        self.records.last().map(|place| place.id)
    }
}

/// Encodes the records of one collection, which come in `_id` order.
#[derive(Debug)]
pub struct Encoder {
    collection: Collection,
    leaf: Copied,
    full: Vec<Leaf>,
    full_bytes: usize,
}

impl Encoder {
    /// Nothing is encoded yet.
    pub fn new(collection: Collection) -> Self {
        Self { collection, leaf: Copied::default(), full: Vec::new(), full_bytes: 0 }
    }

    /// Adds a record, as a store keeps it.
    ///
    /// # Errors
    /// It is not valid BSON.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Malformed> {
        let elements = Elements::of(record)?;
        let id = match elements.find(b"_id")? {
            Some(Value::ObjectId(id)) => *id,
            _ => [0; 12],
        };
        let revision = match elements.find(b"revision")? {
            Some(Value::Int64(revision)) => Revision(revision),
            // Somebody has edited it by hand.
            Some(Value::Int32(revision)) => Revision(revision.into()),
            Some(Value::Double(revision)) => Revision(revision as i64),
            _ => Revision::default(),
        };
        self.leaf.json.push(b',');
        write_record(self.collection, record, &mut self.leaf.json)?;
        self.leaf.end(ObjectId::from_bytes(id), revision);
        self.split();
        Ok(())
    }

    /// What is encoded and was not taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.leaf.json.len() + self.full_bytes
    }

    /// The leaves that are full.
    pub fn take(&mut self) -> Vec<Leaf> {
        self.full_bytes = 0;
        std::mem::take(&mut self.full)
    }

    /// All leaves that were not taken.
    pub fn finish(mut self) -> Vec<Leaf> {
        if !self.leaf.records.is_empty() {
            self.full.push(self.leaf.seal());
        }
        self.full
    }

    fn copy(&mut self, place: &Place, json: &[u8]) {
        self.leaf.push(place, json);
        self.split();
    }

    fn split(&mut self) {
        /// Small enough to be written anew when one record changes, and large enough to be few.
        const FULL: usize = 16 << 10;
        if self.leaf.json.len() >= FULL {
            let leaf = std::mem::take(&mut self.leaf).seal();
            self.full_bytes += leaf.bytes();
            self.full.push(leaf);
        }
    }
}

/// A leaf that is being filled.
#[derive(Debug, Default)]
struct Copied {
    records: Vec<Place>,
    json: Vec<u8>,
}

impl Copied {
    fn push(&mut self, place: &Place, json: &[u8]) {
        self.json.extend_from_slice(json);
        self.end(place.id, place.revision);
    }

    fn end(&mut self, id: ObjectId, revision: Revision) {
        // A record has 16 MB at most, and its JSON a few times that.
        let end = u32::try_from(self.json.len()).unwrap_or(u32::MAX);
        self.records.push(Place { id, revision, end });
    }

    fn seal(self) -> Leaf {
        Leaf { records: self.records.into(), json: self.json.into_boxed_slice().into() }
    }
}

/// The leaves of a list with changed records in their places. Leaves without any stay what they are.
pub(super) fn merge<'a>(
    collection: Collection,
    leaves: &[Leaf],
    changed: impl Iterator<Item = (ObjectId, &'a [u8])>,
) -> Result<Vec<Leaf>, Malformed> {
    let mut merged = Vec::with_capacity(leaves.len() + 1);
    let mut changed = changed.peekable();
    for (index, leaf) in leaves.iter().enumerate() {
        // What comes after the last record goes into the last leaf.
        let is_last = index + 1 == leaves.len();
        let here = |id: &ObjectId| is_last || leaf.last().is_some_and(|last| *id <= last);
        if !changed.peek().is_some_and(|(id, _)| here(id)) {
            merged.push(leaf.clone());
            continue;
        }
        let mut encoder = Encoder::new(collection);
        for (place, json) in leaf.each() {
            while let Some((_, record)) = changed.next_if(|(id, _)| *id < place.id) {
                encoder.push(record)?;
            }
            match changed.next_if(|(id, _)| *id == place.id) {
                Some((_, record)) => encoder.push(record)?,
                None => encoder.copy(place, json),
            }
        }
        while let Some((_, record)) = changed.next_if(|(id, _)| here(id)) {
            encoder.push(record)?;
        }
        merged.extend(encoder.finish());
    }
    let mut rest = Encoder::new(collection);
    changed.try_for_each(|(_, record)| rest.push(record))?;
    merged.extend(rest.finish());
    Ok(merged)
}
