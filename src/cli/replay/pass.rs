//! One time through all payloads, as far as it came.

use std::fmt;

use super::outcome::{Outcome, Verdict};
use super::payload::Payload;

/// What came of payloads that were sent one after the other.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// One for each payload; those that were not sent are the last ones.
    pub outcomes: Vec<Outcome>,
    /// What ended it, though there may have been nothing left to send.
    pub cut: Option<Cut>,
}

/// Why nothing more is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nobody knows what came of a payload, and the next must not overtake it.
    Unsettled,
    /// The server does not let the caller in, whatever is sent.
    NotLetIn,
    /// Somebody asked for it.
    Interrupted,
}

impl Cut {
    /// Whether what came of a payload is the end.
    pub(super) fn after(outcome: &Outcome) -> Option<Self> {
        match outcome.verdict {
            Verdict::Unsettled => Some(Self::Unsettled),
            Verdict::Refused if outcome.refuses_the_caller() => Some(Self::NotLetIn),
            _ => None,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsettled => "what came of the last one that was sent is not known",
            Self::NotLetIn => "the server does not let this caller in",
            Self::Interrupted => "the replay was interrupted",
        })
    }
}

impl Pass {
    /// Each kind of what is not good, in a line.
    pub(super) fn findings(&self, payloads: &[Payload]) -> Vec<String> {
        let kinds = [self.finding(payloads, Verdict::Refused), self.finding(payloads, Verdict::Unsettled), self.rest()];
        kinds.into_iter().flatten().collect()
    }

    /// How many were not sent, and why; `None` if all were.
    pub(super) fn rest(&self) -> Option<String> {
        let count = self.count(Verdict::Unsent);
        self.cut.filter(|_| count > 0).map(|cut| format!("{count} not sent: {cut}"))
    }

    fn finding(&self, payloads: &[Payload], verdict: Verdict) -> Option<String> {
        let mut pairs = payloads.iter().zip(&self.outcomes);
        let (payload, outcome) = pairs.find(|(_, outcome)| outcome.verdict == verdict)?;
        let (key, reason) = (&payload.key, outcome.told.reason());
        Some(match self.count(verdict) {
            1 => format!("1 {verdict}: {key}: {reason}"),
            count => format!("{count} {verdict}, the first of them {key}: {reason}"),
        })
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
    }
}
