//! All records of a client, read on the way to a commit: with what it wrote they are the dataset after it.

use bson::oid::ObjectId;
use bson::raw::RawDocument;

use crate::dataset::{Dataset, Encoder, Malformed, Records};
use crate::model::Collection;

/// All records of a client as a database keeps them, those of each collection one after the other in `_id` order.
#[derive(Debug, Default)]
pub(super) struct Whole {
    records: [Vec<u8>; Collection::ALL.len()],
    /// Whether one of them has an id of another kind than ours, whose place among them is not known here.
    has_others: bool,
}

impl Whole {
    /// Adds the next record of a collection, and its id if that is of the kind that ours are of.
    pub fn push(&mut self, collection: Collection, id: Option<ObjectId>, record: &RawDocument) {
        self.records[collection as usize].extend_from_slice(record.as_bytes());
        self.has_others |= id.is_none();
    }

    /// Whether these can be put in their places, and all of it has so many bytes at most.
    pub fn can_be_shown_with(&self, written: &Records, most: usize) -> bool {
        let lengths = self.records.iter().chain(written.values()).map(Vec::len);
        !self.has_others && lengths.sum::<usize>() <= most
    }

    /// The dataset once these are written.
    ///
    /// # Errors
    /// A record that is not valid BSON.
    pub fn dataset_with(&self, written: &Records) -> Result<Dataset, Malformed> {
        let mut dataset = Dataset::default();
        for (collection, records) in Collection::ALL.into_iter().zip(&self.records) {
            let (mut encoder, mut rest) = (Encoder::new(collection), records.as_slice());
            while let Some(record) = first(&mut rest) {
                encoder.push(record)?;
            }
            encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
        }
        dataset.with(written)
    }
}

/// Takes off the first of records that follow one another: a document of BSON begins with its length.
fn first<'a>(records: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = records.first_chunk().map_or(usize::MAX, |length| u32::from_le_bytes(*length) as usize);
    let (first, rest) = records.split_at(length.min(records.len()));
    let is_there = !records.is_empty();
    *records = rest;
    is_there.then_some(first)
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

    fn json(dataset: &Dataset) -> String {
        String::from_utf8(dataset.pieces().flatten().collect()).unwrap()
    }

    #[test]
    fn what_was_there_and_what_a_commit_wrote_are_the_dataset() {
        let [tea, sugar, better_tea] = [record(1, "Tea"), record(2, "Sugar"), record(1, "Better tea")];
        let before = items(&[&tea, &sugar]);
        assert_eq!(json(&before.dataset_with(&Records::new()).unwrap()).matches("\"name\"").count(), 2);

        let written = Records::from([((Collection::Items, better_tea.0), better_tea.1.into_bytes())]);
        let json = json(&before.dataset_with(&written).unwrap());
        assert!(json.contains("Better tea") && json.contains("Sugar") && !json.contains("\"Tea"), "{json}");
    }

    #[test]
    fn what_is_large_or_has_no_place_is_not_shown() {
        let tea = record(1, "Tea");
        let bytes = tea.1.as_bytes().len();
        let mut whole = items(&[&tea, &tea]);
        let written = Records::from([((Collection::Items, tea.0), tea.1.into_bytes())]);
        assert!(whole.can_be_shown_with(&written, 3 * bytes) && !whole.can_be_shown_with(&written, 3 * bytes - 1));
        whole.push(Collection::Payments, None, &rawdoc! { "_id": true });
        assert!(!whole.can_be_shown_with(&Records::new(), 10 * bytes));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let mut cut = items(&[&record(1, "Tea")]);
        cut.records[Collection::Items as usize].pop();
        assert!(cut.dataset_with(&Records::new()).is_err());
    }
}
