//! Everything of one client, as the answer's `data` shows it.

#[cfg(test)]
mod equality;
mod normalize;
mod number;
#[cfg(test)]
mod reference;
mod text;
mod walk;

use bson::RawDocumentBuf;

use crate::model::{Collection, Revision};

pub use normalize::write_record;
pub use walk::Malformed;

/// One consistent snapshot of one client's records, as the store keeps them.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// The client's commit counter in this snapshot.
    pub revision: Revision,
    records: [Vec<RawDocumentBuf>; Collection::ALL.len()],
}

impl Dataset {
    /// A snapshot without records so far.
    pub fn new(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Adds a record; those of one collection come in `_id` order.
    pub fn push(&mut self, collection: Collection, record: RawDocumentBuf) {
        self.records[collection as usize].push(record);
    }

    /// The records of one collection in `_id` order.
    pub fn records(&self, collection: Collection) -> &[RawDocumentBuf] {
        &self.records[collection as usize]
    }

    /// What the records take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        // A record is a vector, and the allocator's own words stand before its bytes.
        const RECORD: usize = 48;
        self.records.iter().flatten().map(|record| record.as_bytes().len() + RECORD).sum()
    }

    /// Appends the JSON object `{itemGroups: [..], items: [..], ..}` in normalised form.
    ///
    /// # Errors
    /// A record that is not valid BSON.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        for (index, collection) in Collection::ALL.into_iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_list(collection, self.records(collection), out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Appends `"items":[..]`.
fn write_list(collection: Collection, records: &[RawDocumentBuf], out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.push(b'"');
    out.extend_from_slice(collection.data_name().as_bytes());
    out.extend_from_slice(b"\":[");
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_record(collection, record.as_bytes(), out)?;
    }
    out.push(b']');
    Ok(())
}
