//! The rules, from a snapshot and a batch to a plan.

use divan::{black_box, black_box_drop};
use viveka_sync::plan::{Decision, Planner, Snapshot, SyncPlanner};

use crate::compare::{Comparison, Round, Way, round};
use crate::embedded::Books;
use crate::sample::{self, Queue};

/// A plan must at least be allocated and filled, as a copy of it is. Both ways free what they have made.
pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        work: "planning 20 operations",
        floor: Way { name: "copy of the plan", prepare: || copy(Queue::Small) },
        beside: &[Way { name: "SyncPlanner::plan", prepare: || plan(Queue::Small) }],
    },
    Comparison {
        work: "planning 500 operations",
        floor: Way { name: "copy of the plan", prepare: || copy(Queue::Large) },
        beside: &[Way { name: "SyncPlanner::plan", prepare: || plan(Queue::Large) }],
    },
];

fn copy(queue: Queue) -> Option<Round> {
    let (planner, snapshot) = prepared(queue);
    let decision = decide(&planner, &snapshot);
    round(move || black_box_drop(black_box(&decision).clone()))
}

fn plan(queue: Queue) -> Option<Round> {
    let (planner, snapshot) = prepared(queue);
    round(move || black_box_drop(decide(&planner, black_box(&snapshot))))
}

fn decide(planner: &SyncPlanner, snapshot: &Snapshot) -> Decision {
    planner.plan(snapshot).expect("the shop has all that the batch names")
}

fn prepared(queue: Queue) -> (SyncPlanner, Snapshot) {
    let planner = sample::planner(&queue.batch(), "plan").inner;
    let snapshot = Books::of(1, 0).snapshot(&planner.reads());
    (planner, snapshot)
}
