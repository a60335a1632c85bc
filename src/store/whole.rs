//! All records of a client, read on the way to a commit: with what it writes they are the dataset after it.

use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use bson::raw::RawDocument;

use super::MOST_READ_ON_THE_WAY;
use super::records::Change;
use crate::dataset::{Dataset, Encoder, Records};
use crate::model::Collection;

/// A dataset that is encoded while it is read.
#[derive(Debug)]
pub(super) struct Whole {
    encoders: [Encoder; Collection::ALL.len()],
    /// What was read, in bytes.
    bytes: usize,
    /// Whether a record was left out. Who reads the dataset in another way says why, or shows it.
    has_gaps: bool,
}

impl Default for Whole {
    fn default() -> Self {
        Self { encoders: Collection::ALL.map(Encoder::new), bytes: 0, has_gaps: false }
    }
}

impl Whole {
    /// Adds the next record of a collection, in `_id` order, and its id if that is of the kind that ours are of: the place
    /// of others among what is written is not known here. What is too much to be shown is not held.
    pub fn push(&mut self, collection: Collection, id: Option<ObjectId>, record: &RawDocument) {
        self.bytes += record.as_bytes().len();
        if id.is_none() || self.bytes > MOST_READ_ON_THE_WAY {
            self.leave_out();
        }
        if !self.has_gaps && self.encoders[collection as usize].push(record.as_bytes()).is_err() {
            self.leave_out();
        }
    }

    /// Leaves out a record, and with it all of them: nobody may be shown a part.
    pub fn leave_out(&mut self) {
        self.has_gaps = true;
        self.encoders = Collection::ALL.map(Encoder::new);
    }

    /// Whether all of it is here, and has so many bytes at most with these changes.
    pub fn can_be_shown_with(&self, changes: &[Change<RawDocumentBuf>], most: usize) -> bool {
        let changed: usize = changes.iter().map(|change| change.fields.as_bytes().len()).sum();
        !self.has_gaps && self.bytes + changed <= most
    }

    /// The dataset once these records are written; none if one of them is not valid BSON.
    pub fn dataset_with(self, written: &Records) -> Option<Dataset> {
        let mut dataset = Dataset::default();
        for (collection, encoder) in Collection::ALL.into_iter().zip(self.encoders) {
            encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
        }
        dataset.with(written).ok()
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::store::records::{ChangeKind, Table};

    fn record(id: u8, name: &str) -> (ObjectId, RawDocumentBuf) {
        let id = ObjectId::from_bytes([id; 12]);
        (id, rawdoc! { "_id": id, "name": name })
    }

    fn items(records: &[&(ObjectId, RawDocumentBuf)]) -> Whole {
        let mut whole = Whole::default();
        records.iter().for_each(|(id, record)| whole.push(Collection::Items, Some(*id), record));
        whole
    }

    fn held(whole: &Whole) -> usize {
        whole.encoders.iter().map(Encoder::bytes).sum()
    }

    #[test]
    fn what_was_there_and_what_is_written_are_the_dataset() {
        let (id, better_tea) = record(1, "Better tea");
        let written = Records::from([((Collection::Items, id), better_tea.into_bytes())]);
        let dataset = items(&[&record(1, "Tea"), &record(2, "Sugar")]).dataset_with(&written).unwrap();
        let json = String::from_utf8(dataset.pieces().flatten().collect()).unwrap();
        assert_eq!(json.matches("\"name\"").count(), 2);
        assert!(json.contains("Better tea") && json.contains("Sugar"), "{json}");
    }

    #[test]
    fn what_has_gaps_is_not_shown() {
        let tea = record(1, "Tea");
        assert!(items(&[&tea]).can_be_shown_with(&[], usize::MAX));
        let mut foreign = items(&[&tea]);
        foreign.push(Collection::Payments, None, &rawdoc! { "_id": true });

        let mut bytes = tea.1.as_bytes().to_vec();
        let kind_of_name = bytes.iter().position(|byte| *byte == b'n').unwrap() - 1;
        bytes[kind_of_name] = 0x7e;
        let mut broken = items(&[&tea]);
        broken.push(Collection::Items, Some(tea.0), RawDocument::from_bytes(&bytes).unwrap());

        for gaps in [foreign, broken] {
            assert!(!gaps.can_be_shown_with(&[], usize::MAX));
            assert_eq!(held(&gaps), 0);
        }
    }

    #[test]
    fn what_is_too_much_is_not_shown() {
        let (id, tea) = record(1, "Tea");
        let bytes = tea.as_bytes().len();
        let changes =
            [Change { table: Table::Data(Collection::Items), id, kind: ChangeKind::Insert, fields: tea.clone() }];
        let whole = items(&[&(id, tea.clone()), &(id, tea)]);
        assert!(whole.can_be_shown_with(&changes, 3 * bytes) && !whole.can_be_shown_with(&changes, 3 * bytes - 1));

        let large = record(1, &"x".repeat(MOST_READ_ON_THE_WAY / 2));
        assert!(held(&items(&[&large])) > 0);
        let much = items(&[&large, &large]);
        assert!(held(&much) == 0 && !much.can_be_shown_with(&[], usize::MAX));
    }
}
