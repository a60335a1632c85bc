//! Everything of one client, as the answer's `data` shows it.
//!
//! A dataset is encoded once and then shared: by the answers that show it, by the caches that keep it, and by
//! the datasets that commits make of it, which are new only in the leaves with changed records.

#[cfg(test)]
mod equality;
mod leaf;
mod normalize;
mod number;
#[cfg(test)]
mod reference;
mod schema;
mod text;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::oid::ObjectId;
use bytes::Bytes;

use crate::model::{Collection, Revision};
pub use leaf::{Encoder, Leaf};
pub use normalize::write_record;
pub use walk::Malformed;

/// All records of one client at one moment, as JSON. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    lists: [Arc<Vec<Leaf>>; Collection::ALL.len()],
}

/// Whole records by their ids, as a store keeps them: what a commit made or changed.
pub type Records = BTreeMap<(Collection, ObjectId), Vec<u8>>;

impl Dataset {
    /// Adds the next records of a collection, which come in `_id` order.
    pub fn push(&mut self, collection: Collection, leaf: Leaf) {
        Arc::make_mut(&mut self.lists[collection as usize]).push(leaf);
    }

    /// The same records, with some of them new or in a new version.
    ///
    /// # Errors
    /// A record that is not valid BSON.
    pub fn with(&self, changed: &Records) -> Result<Self, Malformed> {
        let mut dataset = self.clone();
        for collection in Collection::ALL {
            let all = (collection, ObjectId::from_bytes([0; 12]))..=(collection, ObjectId::from_bytes([255; 12]));
            let mut changed = changed.range(all).map(|((_, id), record)| (*id, record.as_slice())).peekable();
            if changed.peek().is_some() {
                let list = &mut dataset.lists[collection as usize];
                *list = Arc::new(leaf::merge(collection, list, changed)?);
            }
        }
        Ok(dataset)
    }

    /// The records whose last commit is later than this one.
    pub fn since(&self, revision: Revision) -> Self {
        let changed = |leaf: &Leaf| leaf.since(revision);
        Self { lists: self.lists.each_ref().map(|list| Arc::new(list.iter().filter_map(changed).collect())) }
    }

    /// Whether the records of each collection come in the order that [`Dataset::with`] relies upon: those with ids of
    /// another kind first, then those with ours, each once.
    pub fn is_in_order(&self) -> bool {
        let other = ObjectId::from_bytes([0; 12]);
        self.lists.iter().all(|list| {
            let mut ids = list.iter().flat_map(Leaf::ids).skip_while(|id| *id == other);
            let mut last = other;
            ids.all(|id| std::mem::replace(&mut last, id) < id)
        })
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.leaves().map(Leaf::bytes).sum()
    }

    /// The length of its JSON, in bytes.
    pub fn json_length(&self) -> usize {
        self.pieces().map(|piece| piece.len()).sum()
    }

    /// The JSON object `{itemGroups: [..], items: [..], ..}` in normalised form, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let lists = Collection::ALL.into_iter().zip(&self.lists);
        let lists = lists.flat_map(|(collection, list)| {
            let leaves = list.iter().enumerate().map(|(index, leaf)| leaf.piece(index == 0));
            std::iter::once(opening(collection)).chain(leaves)
        });
        lists.chain(std::iter::once(Bytes::from_static(CLOSING)))
    }

    fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.lists.iter().flat_map(|list| list.iter())
    }
}

/// What stands before the first record of a collection: the end of the list before it, too.
pub fn opening(collection: Collection) -> Bytes {
    Bytes::from_static(match collection {
        Collection::ItemGroups => b"{\"itemGroups\":[",
        Collection::Items => b"],\"items\":[",
        Collection::ClientCustomers => b"],\"clientCustomers\":[",
        Collection::Invoices => b"],\"invoices\":[",
        Collection::Payments => b"],\"payments\":[",
        Collection::PurchaseHistories => b"],\"purchaseHistory\":[",
    })
}

/// What stands after the last record.
pub const CLOSING: &[u8] = b"]}";

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};
    use proptest::prelude::*;

    use super::*;

    fn record(id: u8, revision: i64, text: &str) -> Vec<u8> {
        let id = ObjectId::from_bytes([id; 12]);
        RawDocumentBuf::try_from(&doc! {"_id": id, "name": text, "revision": revision}).unwrap().into_bytes()
    }

    fn fresh(records: &BTreeMap<(usize, u8), (i64, String)>) -> Dataset {
        let mut dataset = Dataset::default();
        for collection in Collection::ALL {
            let mut encoder = Encoder::new(collection);
            for ((_, id), (revision, text)) in records.iter().filter(|((list, _), _)| *list == collection as usize) {
                encoder.push(&record(*id, *revision, text)).unwrap();
            }
            encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
        }
        dataset
    }

    fn json(dataset: &Dataset) -> Vec<u8> {
        let json: Vec<u8> = dataset.pieces().flatten().collect();
        assert_eq!(json.len(), dataset.json_length());
        json
    }

    #[test]
    fn ids_of_another_kind_come_first_and_ours_once_each_in_their_order() {
        let in_order = |ids: &[Option<u8>]| {
            let mut dataset = Dataset::default();
            for id in ids {
                let mut encoder = Encoder::new(Collection::Items);
                let other = || bson::rawdoc! { "_id": "made elsewhere" }.into_bytes();
                encoder.push(&id.map_or_else(other, |id| record(id, 1, "x"))).unwrap();
                encoder.finish().into_iter().for_each(|leaf| dataset.push(Collection::Items, leaf));
            }
            dataset.is_in_order()
        };
        assert!(in_order(&[]) && in_order(&[None, None, Some(1), Some(2), Some(9)]));
        for wrong in [&[Some(2), Some(1)][..], &[Some(1), Some(1)], &[Some(1), None], &[None, Some(1), None, Some(2)]] {
            assert!(!in_order(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn opening_names_are_those_of_the_contract() {
        for (index, collection) in Collection::ALL.into_iter().enumerate() {
            let name = format!("{}\"{}\":[", if index == 0 { "{" } else { "]," }, collection.data_name());
            assert_eq!(opening(collection), name);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// What commits make of a dataset is what reading it anew would give, byte for byte.
        #[test]
        fn changed_datasets_are_fresh_ones(
            commits in prop::collection::vec(
                prop::collection::vec((0..6_usize, any::<u8>(), 0..3000_usize), 1..60), 1..8),
        ) {
            let (mut all, mut dataset) = (BTreeMap::new(), Dataset::default());
            for (revision, commit) in (1..).zip(commits) {
                let before = dataset.clone();
                let mut changed = Records::new();
                for (list, id, length) in commit {
                    let text = "x".repeat(length);
                    let key = (Collection::ALL[list], ObjectId::from_bytes([id; 12]));
                    changed.insert(key, record(id, revision, &text));
                    all.insert((list, id), (revision, text));
                }
                dataset = dataset.with(&changed).unwrap();
                prop_assert_eq!(json(&dataset), json(&fresh(&all)));
                let newest: BTreeMap<_, _> =
                    all.iter().filter(|(_, (made, _))| *made == revision).map(|(k, v)| (*k, v.clone())).collect();
                prop_assert_eq!(json(&dataset.since(Revision(revision - 1))), json(&fresh(&newest)));
                prop_assert_eq!(json(&before.since(Revision(revision - 1))), json(&Dataset::default()));
                prop_assert_eq!(json(&dataset.since(Revision(0))), json(&dataset));
            }
        }
    }
}
