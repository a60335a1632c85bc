//! What the parts of a sync cost, each beside its floor: what the same machine needs at least for the same
//! bytes, be it memory, redb by itself or MongoDB's driver by itself.
//!
//! `cargo bench --bench floors` measures all, `cargo bench --bench floors -- commit` what has that in its name.

mod compare;
mod dataset;
mod embedded;
mod mongo;
mod planner;
mod raw_redb;
mod request;
mod sample;
mod transcoder;

#[path = "../../src/dataset/reference.rs"]
mod reference;
#[expect(dead_code, reason = "the tests use the rest")]
mod testing;

use compare::{Case, Comparison};
use divan::Bencher;
// Under the name by which `reference` knows it.
use viveka_sync::model;

const COMPARISONS: [&[Comparison]; 6] = [
    request::COMPARISONS,
    planner::COMPARISONS,
    transcoder::COMPARISONS,
    dataset::COMPARISONS,
    embedded::COMPARISONS,
    mongo::COMPARISONS,
];

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
    let asked = |option| std::env::args().any(|argument| argument == option);
    // `cargo bench` says `--bench`. As a test each way runs once, which divan has done.
    if asked("--bench") && !asked("--test") {
        compare::print_table(comparisons());
    }
}

#[divan::bench(args = comparisons().flat_map(Comparison::cases))]
fn floors(bencher: Bencher<'_, '_>, case: Case) {
    case.measure(bencher);
}

fn comparisons() -> impl Iterator<Item = &'static Comparison> {
    COMPARISONS.into_iter().flatten()
}
