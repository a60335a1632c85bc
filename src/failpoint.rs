//! Named points of a batch's way at which a test can have the process stand still, to kill it exactly there.
//!
//! `viveka-sync` itself never arms one, and no setting does: the fault driver (`faults/`) runs the server from
//! the library and arms a point before it serves. Not armed, a point costs one relaxed load.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// A point of a batch's way, in the order in which a batch passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// What the planner reads is loaded.
    BeforePlanning = 1,
    /// The plan is made, and nothing of it is written.
    AfterPlanning,
    /// Something of the plan is written, and something is not. A batch passes this point several times.
    MidApply,
    /// The batch is committed, and nobody was told.
    AfterCommit,
}

/// The armed point; 0 is none.
static ARMED: AtomicU8 = AtomicU8::new(0);
/// How many more times the armed point is passed, the last time for ever.
static PASSES: AtomicU32 = AtomicU32::new(0);

/// Arms a point: the thread that reaches it for the `nth` time (from 1 on) stays there for as long as the
/// process lives, and standard error gets the line [`halt_line`].
pub fn arm(point: Point, nth: u32) {
    PASSES.store(nth, Ordering::Relaxed);
    ARMED.store(point as u8, Ordering::Release);
}

/// What standard error gets when a thread stands still at this point.
pub fn halt_line(point: Point) -> String {
    format!("halted at {point}")
}

/// Tells that a batch has come to this point.
#[inline]
pub fn reached(point: Point) {
    if ARMED.load(Ordering::Relaxed) == point as u8 {
        count_down(point);
    }
}

#[cold]
fn count_down(point: Point) {
    let last = PASSES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1);
    if last {
        // Straight to the file: a log might wait for a thread that now stands still.
        eprintln!("{}", halt_line(point));
        loop {
            std::thread::park();
        }
    }
}

impl Point {
    /// All points, in the order of a batch's way.
    pub const ALL: [Self; 4] = [Self::BeforePlanning, Self::AfterPlanning, Self::MidApply, Self::AfterCommit];
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforePlanning => "before-planning",
            Self::AfterPlanning => "after-planning",
            Self::MidApply => "mid-apply",
            Self::AfterCommit => "after-commit",
        })
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|point| point.to_string() == name).ok_or_else(|| format!("no point {name}"))
    }
}
