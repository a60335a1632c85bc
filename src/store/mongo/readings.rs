//! Datasets that are being read, so that who wants one that is about to be kept can wait for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::ClientId;

/// Whose datasets are being read.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<HashMap<ClientId, watch::Receiver<()>>>);

/// A dataset that is being read, until this is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    readings: Arc<Readings>,
    client: ClientId,
    /// Whoever waits hears it go.
    _over: watch::Sender<()>,
}

impl Readings {
    /// How long somebody waits for another's reading: much longer than most take.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Begins to read a client's dataset, or waits until another has read it: `None` then. If it was in vain, because it
    /// failed or could not be kept, everybody reads for themselves.
    pub async fn begin(self: &Arc<Self>, client: ClientId) -> Option<Reading> {
        let mut other = match self.of_clients().entry(client) {
            Entry::Occupied(other) => other.get().clone(),
            Entry::Vacant(nobody) => {
                let (over, other) = watch::channel(());
                nobody.insert(other);
                return Some(Reading { readings: Arc::clone(self), client, _over: over });
            }
        };
        // Nothing is ever sent: it fails when the reading is over.
        let _ = timeout(Self::PATIENCE, other.changed()).await;
        None
    }

    fn of_clients(&self) -> MutexGuard<'_, HashMap<ClientId, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readings.of_clients().remove(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn who_comes_second_waits_and_has_nobody_wait() {
        let [one, other] = [(); 2].map(|()| ClientId::for_operator(clock::new_id()));
        let readings = Arc::new(Readings::default());
        let first = readings.begin(one).await.unwrap();
        drop(readings.begin(other).await.unwrap());
        let (second, ()) = join(readings.begin(one), async { drop(first) }).await;
        assert!(second.is_none());
        assert!(readings.of_clients().is_empty());
        assert!(readings.begin(one).await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let client = ClientId::for_operator(clock::new_id());
        let readings = Arc::new(Readings::default());
        let _hangs = readings.begin(client).await.unwrap();
        assert!(readings.begin(client).await.is_none());
    }
}
