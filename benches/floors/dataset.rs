//! Bringing a dataset that is kept up to date.

use divan::{black_box, black_box_drop};
use viveka_sync::dataset::{Dataset, Encoder};
use viveka_sync::model::Collection;

use crate::compare::{Comparison, Round, Way, round};
use crate::embedded::Books;
use crate::sample::{self, Queue};

/// One piece of JSON would have to be copied at least. A dataset is in leaves, of which only those with changed
/// records are made anew, so that the cost is to follow the commit and not the shop.
pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        work: "a commit of 20 operations into a kept dataset of 2,800 records",
        floor: Way { name: "memcpy of its JSON", prepare: || copy(1) },
        beside: &[Way { name: "Dataset::with", prepare: || update(1) }],
    },
    Comparison {
        work: "a commit of 20 operations into a kept dataset of 28,000 records",
        floor: Way { name: "memcpy of its JSON", prepare: || copy(10) },
        beside: &[Way { name: "Dataset::with", prepare: || update(10) }],
    },
];

fn copy(times: i32) -> Option<Round> {
    let json: Vec<u8> = dataset(times).pieces().flatten().collect();
    let mut out = Vec::with_capacity(json.len());
    round(move || {
        out.clear();
        out.extend_from_slice(black_box(&json));
        black_box(&out);
    })
}

fn update(times: i32) -> Option<Round> {
    let dataset = dataset(times);
    let changed = Books::of(1, 0).rows_of_a_commit(Queue::Small).records();
    round(move || black_box_drop(dataset.with(black_box(&changed)).expect("the records are valid")))
}

fn dataset(times: i32) -> Dataset {
    let shop = sample::shop_of(&sample::client(0), times);
    let mut dataset = Dataset::default();
    for collection in Collection::ALL {
        let mut encoder = Encoder::new(collection);
        for (_, record) in shop.iter().filter(|(of, _)| *of == collection) {
            encoder.push(sample::raw(record).as_bytes()).expect("the shop is valid");
        }
        encoder.finish().into_iter().for_each(|leaf| dataset.push(collection, leaf));
    }
    dataset
}
