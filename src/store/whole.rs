//! All records of a client, read on the way to a commit: with what it writes they are the dataset after it.

use bson::oid::ObjectId;
use bson::raw::RawDocument;

use super::MOST_READ_ON_THE_WAY;
use crate::dataset::{Dataset, Encoder, Records};
use crate::model::Collection;

/// A dataset that is encoded while it is read.
#[derive(Debug)]
pub(super) struct Whole {
    encoders: [Encoder; Collection::ALL.len()],
    /// What was read, in bytes.
    bytes: usize,
    /// Whether there is a record that cannot be shown, or whose place is not known here. Who reads the dataset in another
    /// way knows.
    is_odd: bool,
}

impl Default for Whole {
    fn default() -> Self {
        Self { encoders: Collection::ALL.map(Encoder::new), bytes: 0, is_odd: false }
    }
}

impl Whole {
    /// Adds the next record of a collection, in `_id` order, and its id if that is of the kind that ours are of.
    pub fn push(&mut self, collection: Collection, id: Option<ObjectId>, record: &RawDocument) {
        self.bytes += record.as_bytes().len();
        if self.bytes > MOST_READ_ON_THE_WAY {
            return;
        }
        let encoded = self.encoders[collection as usize].push(record.as_bytes());
        self.is_odd |= id.is_none() || encoded.is_err();
    }

    /// The dataset once these records are written; none if something is odd, or if all of it has more than so many bytes,
    /// or more than may be read on the way.
    pub fn dataset_with(self, written: &Records, most: usize) -> Option<Dataset> {
        let bytes = self.bytes + written.values().map(Vec::len).sum::<usize>();
        if self.is_odd || bytes > most.min(MOST_READ_ON_THE_WAY) {
            return None;
        }
        let mut dataset = Dataset::default();
        for (collection, encoder) in Collection::ALL.into_iter().zip(self.encoders) {
            encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
        }
        dataset.with(written).ok()
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn record(id: u8, name: &str) -> (ObjectId, RawDocumentBuf) {
        let id = ObjectId::from_bytes([id; 12]);
        (id, rawdoc! { "_id": id, "name": name })
    }

    fn items(records: &[&(ObjectId, RawDocumentBuf)]) -> Whole {
        let mut whole = Whole::default();
        records.iter().for_each(|(id, record)| whole.push(Collection::Items, Some(*id), record));
        whole
    }

    fn written((id, record): (ObjectId, RawDocumentBuf)) -> Records {
        Records::from([((Collection::Items, id), record.into_bytes())])
    }

    #[test]
    fn what_was_there_and_what_is_written_are_the_dataset() {
        let before = items(&[&record(1, "Tea"), &record(2, "Sugar")]);
        let dataset = before.dataset_with(&written(record(1, "Better tea")), usize::MAX).unwrap();
        let json = String::from_utf8(dataset.pieces().flatten().collect()).unwrap();
        assert_eq!(json.matches("\"name\"").count(), 2);
        assert!(json.contains("Better tea") && json.contains("Sugar"), "{json}");
    }

    #[test]
    fn what_is_large_or_odd_is_not_shown() {
        let tea = record(1, "Tea");
        let (bytes, written) = (tea.1.as_bytes().len(), written(tea.clone()));
        assert!(items(&[&tea, &tea]).dataset_with(&written, 3 * bytes).is_some());
        assert!(items(&[&tea, &tea]).dataset_with(&written, 3 * bytes - 1).is_none());

        let mut foreign = items(&[&tea]);
        foreign.push(Collection::Payments, None, &rawdoc! { "_id": true });
        assert!(foreign.dataset_with(&written, usize::MAX).is_none());

        let mut bytes = tea.1.into_bytes();
        let kind_of_name = bytes.iter().position(|byte| *byte == b'n').unwrap() - 1;
        bytes[kind_of_name] = 0x7e;
        let mut broken = Whole::default();
        broken.push(Collection::Items, Some(tea.0), RawDocument::from_bytes(&bytes).unwrap());
        assert!(broken.dataset_with(&written, usize::MAX).is_none());
    }
}
