//! Datasets that are being read, so that who wants one that is about to be kept can wait for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::ClientId;
use crate::store::waiting::Waiting;

/// Whose datasets are being read, in which time of the store.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<Others>);

type Others = HashMap<(u64, ClientId), watch::Receiver<()>>;

/// A dataset that is being read, until this is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    readings: Arc<Readings>,
    of: (u64, ClientId),
    /// Whoever waits hears it go.
    _over: watch::Sender<()>,
}

impl Readings {
    /// How long somebody waits for another's reading: much longer than most take.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Begins to read a client's dataset. If another is reading it, waits until that is over, or has taken too long, and
    /// gives `None`. If it was in vain, because it failed or could not be kept, everybody reads for themselves.
    pub async fn begin(self: &Arc<Self>, epoch: u64, client: ClientId) -> Option<Reading> {
        let of = (epoch, client);
        let mut other = match self.others().entry(of) {
            Entry::Occupied(other) => other.get().clone(),
            Entry::Vacant(nobody) => {
                let (over, other) = watch::channel(());
                nobody.insert(other);
                return Some(Reading { readings: Arc::clone(self), of, _over: over });
            }
        };
        let _waiting = Waiting::begin();
        // Nothing is ever sent: it fails when the reading is over.
        let _ = timeout(Self::PATIENCE, other.changed()).await;
        None
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readings.others().remove(&self.of);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;
    use crate::clock;

    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn who_comes_second_waits_and_has_nobody_wait() {
        let [one, other] = [(); 2].map(|()| ClientId::for_operator(clock::new_id()));
        let readings = Arc::new(Readings::default());
        let first = readings.begin(1, one).await.unwrap();
        drop(readings.begin(1, other).await.unwrap());
        drop(readings.begin(2, one).await.unwrap());
        assert!(timeout(SOON, readings.begin(1, one)).await.is_err(), "it waits");
        let over = timeout(Readings::PATIENCE / 2, join(readings.begin(1, one), async { drop(first) }));
        assert!(over.await.unwrap().0.is_none());
        assert!(readings.others().is_empty());
        assert!(readings.begin(1, one).await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let client = ClientId::for_operator(clock::new_id());
        let readings = Arc::new(Readings::default());
        let _hangs = readings.begin(1, client).await.unwrap();
        assert!(timeout(LATER, readings.begin(1, client)).await.unwrap().is_none());
    }
}
