//! Reading a request: its fingerprint, and from bytes to a typed batch.

use divan::{black_box, black_box_drop};
use serde_json::Value;
use sha2::{Digest, Sha256};
use viveka_sync::batch::{Batch, Fingerprint};

use crate::compare::{Comparison, Round, Way, round};
use crate::sample::{self, MAX_OPERATIONS, Queue};

/// A fingerprint is a SHA-256 of the body's canonical form. A batch is read with `serde_json`.
pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        work: "fingerprint of 20 operations",
        floor: Way { name: "SHA-256", prepare: || hash(Queue::Small) },
        beside: &[Way { name: "Fingerprint::of", prepare: || fingerprint(Queue::Small) }],
    },
    Comparison {
        work: "fingerprint of 500 operations",
        floor: Way { name: "SHA-256", prepare: || hash(Queue::Large) },
        beside: &[Way { name: "Fingerprint::of", prepare: || fingerprint(Queue::Large) }],
    },
    Comparison {
        work: "reading 20 operations",
        floor: Way { name: "serde_json", prepare: || json(Queue::Small) },
        beside: &[
            Way { name: "Fingerprint::of", prepare: || fingerprint(Queue::Small) },
            Way { name: "Batch::parse", prepare: || parse(Queue::Small) },
        ],
    },
    Comparison {
        work: "reading 500 operations",
        floor: Way { name: "serde_json", prepare: || json(Queue::Large) },
        beside: &[
            Way { name: "Fingerprint::of", prepare: || fingerprint(Queue::Large) },
            Way { name: "Batch::parse", prepare: || parse(Queue::Large) },
        ],
    },
];

fn hash(queue: Queue) -> Option<Round> {
    let body = queue.body();
    round(move || black_box_drop(Sha256::digest(black_box(&body))))
}

fn json(queue: Queue) -> Option<Round> {
    let body = queue.body();
    round(move || black_box_drop(serde_json::from_slice::<Value>(black_box(&body)).expect("valid JSON")))
}

fn fingerprint(queue: Queue) -> Option<Round> {
    let body: Value = serde_json::from_slice(&queue.body()).expect("valid JSON");
    round(move || black_box_drop(Fingerprint::of(black_box(&body))))
}

fn parse(queue: Queue) -> Option<Round> {
    let (body, client) = (queue.body(), sample::client(0));
    round(move || black_box_drop(Batch::parse(black_box(&body), &client, MAX_OPERATIONS).expect("a valid batch")))
}
