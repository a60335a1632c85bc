//! What is sent: one capture, or many in one batch.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::capture::{Capture, Place};
use super::merge::Origins;
use crate::phone::Route;

/// A request to be sent, with the key under which it is sent again.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub source: Source,
    pub route: Route,
    pub at: DateTime<Utc>,
    pub key: String,
    pub body: Bytes,
}

/// Where a payload comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// One capture, as it stands.
    Capture(Place),
    /// Captures that were merged.
    Merged(Origins),
}

impl From<Capture> for Payload {
    fn from(capture: Capture) -> Self {
        let Capture { place, route, at, key, body } = capture;
        Self { source: Source::Capture(place), route, at, key, body }
    }
}

impl Payload {
    /// How many captures it holds.
    pub(super) fn captures(&self) -> usize {
        match &self.source {
            Source::Capture(_) => 1,
            Source::Merged(origins) => origins.captures(),
        }
    }

    /// Where the value that a JSON pointer leads to came from, and its pointer there.
    pub(super) fn origin(&self, pointer: &str) -> (Option<&Place>, String) {
        match &self.source {
            Source::Capture(place) => (Some(place), pointer.to_owned()),
            Source::Merged(origins) => {
                origins.of(pointer).map_or((None, pointer.to_owned()), |(place, pointer)| (Some(place), pointer))
            }
        }
    }
}
