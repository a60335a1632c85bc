//! Counts and digests of a client's records, by which two stores are compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Chunk, Part};

/// What the records of one part come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many there are.
    pub records: u64,
    /// Their bytes as BSON.
    pub bytes: u64,
    /// SHA-256 over these bytes in the order of the part, in hex. BSON says its own length, so no two lists of
    /// records have the same bytes.
    pub sha256: String,
}

/// The sums of all parts that have records.
pub type Sums = BTreeMap<Part, Sum>;

/// Sums that grow with the records that pass.
#[derive(Default)]
pub struct Tally(BTreeMap<Part, Growing>);

#[derive(Default)]
struct Growing {
    records: u64,
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    /// Adds records, in their order.
    pub fn add(&mut self, chunk: &Chunk) {
        for record in &chunk.records {
            self.add_record(chunk.part, record.as_bytes());
        }
    }

    /// Adds one record by its bytes.
    pub fn add_record(&mut self, part: Part, record: &[u8]) {
        let growing = self.0.entry(part).or_default();
        growing.records += 1;
        growing.bytes += record.len() as u64;
        growing.hash.update(record);
    }

    /// The sums of all that was added.
    pub fn finish(self) -> Sums {
        let sum = |(part, Growing { records, bytes, hash }): (Part, Growing)| {
            (part, Sum { records, bytes, sha256: hex::encode(hash.finalize()) })
        };
        self.0.into_iter().map(sum).collect()
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").field("parts", &self.0.len()).finish()
    }
}

/// SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn sums_depend_on_bytes_and_order_and_not_on_chunks() {
        let records = [rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }, rawdoc! { "_id": 3 }];
        let sum = |chunks: &[&[usize]]| {
            let mut tally = Tally::default();
            for chunk in chunks {
                let records = chunk.iter().map(|index| records[*index].clone()).collect();
                tally.add(&Chunk { part: Part::Receipts, records });
            }
            tally.finish()
        };
        assert_eq!(sum(&[&[0, 1, 2]]), sum(&[&[0], &[1, 2]]));
        assert_ne!(sum(&[&[0, 1, 2]]), sum(&[&[0, 2, 1]]));
        assert_eq!(sum(&[&[0, 1]])[&Part::Receipts].records, 2);
        assert!(sum(&[]).is_empty());
    }
}
