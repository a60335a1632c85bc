//! Whose batches are under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::ClientId;

/// How many batches of each client are between their coming and their answer.
#[derive(Debug, Default)]
pub(super) struct Underway(Mutex<HashMap<ClientId, usize>>);

/// A batch that is under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Way {
    underway: Arc<Underway>,
    client: ClientId,
    /// Whether no other batch of the client was under way when this one came.
    pub is_alone: bool,
}

impl Underway {
    /// Takes note of a batch.
    pub fn begin(self: &Arc<Self>, client: ClientId) -> Way {
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        *count += 1;
        Way { underway: Arc::clone(self), client, is_alone: *count == 1 }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ClientId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.underway.counts().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_batch_is_alone_if_no_other_of_its_client_is_under_way() {
        let underway = Arc::new(Underway::default());
        let [one, other] = [(); 2].map(|()| ClientId::for_operator(clock::new_id()));
        let first = underway.begin(one);
        let second = underway.begin(one);
        assert!(first.is_alone && !second.is_alone && underway.begin(other).is_alone);
        drop(first);
        assert!(!underway.begin(one).is_alone);
        drop(second);
        assert!(underway.begin(one).is_alone);
        assert!(underway.counts().is_empty());
    }
}
