//! From the records of a shop as the database keeps them to the answer's JSON.

use divan::black_box;
use viveka_sync::dataset::write_record;
use viveka_sync::model::Collection;

use crate::compare::{Comparison, Round, Way, round};
use crate::{reference, sample};

/// No way could cost less than to copy the same bytes. The driver's reader is the plain way.
pub const COMPARISONS: &[Comparison] = &[Comparison {
    work: "JSON of 2,800 records",
    floor: Way { name: "memcpy", prepare: || write(|_, record, out| out.extend_from_slice(record)) },
    beside: &[
        Way { name: "write_record", prepare: || write(walk) },
        Way { name: "the driver's reader", prepare: || write(read) },
    ],
}];

fn walk(collection: Collection, record: &[u8], out: &mut Vec<u8>) {
    write_record(collection, record, out).expect("the shop is valid");
}

fn read(collection: Collection, record: &[u8], out: &mut Vec<u8>) {
    let record = bson::raw::RawDocument::from_bytes(record).expect("the shop is valid");
    reference::write_record(collection, record, out).expect("the shop is valid");
}

fn write(write: fn(Collection, &[u8], &mut Vec<u8>)) -> Option<Round> {
    let shop = sample::shop(&sample::client(0));
    let shop: Vec<_> = shop.iter().map(|(collection, record)| (*collection, sample::raw(record))).collect();
    let mut out = Vec::with_capacity(4 << 20);
    round(move || {
        out.clear();
        shop.iter().for_each(|(collection, record)| write(*collection, record.as_bytes(), &mut out));
        black_box(&out);
    })
}
