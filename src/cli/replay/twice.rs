//! Sends everything a second time, as a phone does that lost all answers, and sees that nothing doubled.

use super::books::Books;
use super::courier::Courier;
use super::outcome::{Outcome, Verdict};
use super::pass::Pass;
use super::payload::Payload;
use super::screen::Screen;

/// What came of the second time.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub outcomes: Vec<Outcome>,
    /// The books before and after, if both could be pulled.
    pub books: Option<BeforeAndAfter>,
    /// What should not be, each in a line.
    pub findings: Vec<String>,
}

/// The books around a pass.
#[derive(Debug)]
pub(super) struct BeforeAndAfter {
    pub before: Books,
    pub after: Books,
}

/// Sends all payloads again, between two looks at the books.
pub(super) async fn send_again(courier: &Courier, payloads: &[Payload], first: &Pass, screen: &Screen) -> Again {
    if let Some(cut) = first.cut {
        return Again { findings: vec![format!("not sent a second time: {cut}")], ..Again::default() };
    }
    let before = Books::pull(courier).await;
    let pass = screen.show_pass(courier, payloads, "sending again").await;

    let pairs = payloads.iter().zip(first.outcomes.iter().zip(&pass.outcomes));
    let mut findings: Vec<_> = pairs.filter_map(|(payload, (first, second))| doubt(payload, first, second)).collect();
    findings.extend(pass.rest());
    let Pass { outcomes, cut } = pass;
    if cut.is_some() {
        return Again { outcomes, books: None, findings };
    }
    let books = match (before, Books::pull(courier).await) {
        (Ok(before), Ok(after)) => Some(BeforeAndAfter { before, after }),
        (before, after) => {
            findings.extend(before.err().into_iter().chain(after.err()));
            None
        }
    };
    findings.extend(books.as_ref().and_then(BeforeAndAfter::doubt));
    Again { outcomes, books, findings }
}

/// What is wrong with the second answer, beside the first.
fn doubt(payload: &Payload, first: &Outcome, second: &Outcome) -> Option<String> {
    let wanted = match first.verdict {
        Verdict::Applied => Verdict::Replayed,
        same => same,
    };
    let told = |outcome: &Outcome| (outcome.told.code.clone(), outcome.told.revision, outcome.told.summary);
    let is_receipt = wanted == Verdict::Replayed;
    if second.verdict == Verdict::Unsent {
        None
    } else if second.verdict != wanted {
        Some(format!("{} was {} first, and then not {wanted} but {}", payload.key, first.verdict, second.verdict))
    } else if is_receipt && told(first) != told(second) {
        Some(format!("{} was replayed with another receipt than its first", payload.key))
    } else {
        None
    }
}

impl BeforeAndAfter {
    /// Whether the second pass left everything as it was.
    pub(super) fn are_equal(&self) -> bool {
        self.before == self.after
    }

    fn doubt(&self) -> Option<String> {
        let Self { before, after } = self;
        (!self.are_equal()).then(|| {
            format!(
                "the books changed the second time: revision {} became {}, {} records became {}",
                before.revision,
                after.revision,
                before.records(),
                after.records()
            )
        })
    }
}
