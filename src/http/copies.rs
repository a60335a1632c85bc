//! Batches that are being worked on, with their bodies: a copy of one need not be read again.
//!
//! A phone that hears nothing sends its batch again, and again, and reading it would take as long each time. A copy is one
//! byte by byte, under the same key, of the same client; so it is the same batch, whatever is in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::Batch;
use crate::model::{ClientId, IdempotencyKey};

/// Which batch it is said to be.
type Name = (ClientId, IdempotencyKey);

/// The batches that are being worked on.
#[derive(Debug, Default)]
pub struct Copies(Mutex<HashMap<Name, Arc<Original>>>);

#[derive(Debug)]
struct Original {
    body: Vec<u8>,
    batch: Arc<Batch>,
}

/// A batch as it was received.
#[derive(Debug)]
pub struct Received {
    /// What was read.
    pub batch: Arc<Batch>,
    /// If it is the first of its kind.
    pub in_work: Option<InWork>,
}

/// Has copies of a batch found, until this is dropped.
#[derive(Debug)]
pub struct InWork {
    copies: Arc<Copies>,
    name: Name,
}

impl Copies {
    /// The batch in this body, if it is being worked on.
    pub fn find(&self, client: ClientId, key: &IdempotencyKey, body: &[u8]) -> Option<Arc<Batch>> {
        let original = self.originals().get(&(client, key.clone())).map(Arc::clone)?;
        // Not under the lock, which all requests take.
        (original.body == body).then(|| Arc::clone(&original.batch))
    }

    /// Has copies of a batch found from now on; `None` if another batch has its name already.
    pub fn begin(
        self: &Arc<Self>,
        client: ClientId,
        key: IdempotencyKey,
        body: Vec<u8>,
        batch: Arc<Batch>,
    ) -> Option<InWork> {
        let name = (client, key);
        match self.originals().entry(name.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(Arc::new(Original { body, batch })),
        };
        Some(InWork { copies: Arc::clone(self), name })
    }

    fn originals(&self) -> MutexGuard<'_, HashMap<Name, Arc<Original>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        // What may be large is freed once the lock is.
        let original = self.copies.originals().remove(&self.name);
        drop(original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_copy_has_client_key_and_every_byte_of_a_batch_in_work() {
        let copies = Arc::new(Copies::default());
        let [client, stranger] = [(); 2].map(|()| ClientId::for_operator(clock::new_id()));
        let [key, other_key] = ["k-1", "k-2"].map(|key| IdempotencyKey::new(key).unwrap());
        let body = br#"{"item":{"create":[{"name":"Tea","price":1}]}}"#;
        let batch = Arc::new(Batch::parse(body, &client, 10).unwrap());

        let in_work = copies.begin(client, key.clone(), body.to_vec(), Arc::clone(&batch)).unwrap();
        assert!(Arc::ptr_eq(&copies.find(client, &key, body).unwrap(), &batch));
        assert!(copies.find(stranger, &key, body).is_none());
        assert!(copies.find(client, &other_key, body).is_none());
        assert!(copies.find(client, &key, &body[..body.len() - 1]).is_none());
        assert!(copies.begin(client, key.clone(), b"{}".to_vec(), batch).is_none());
        assert!(copies.find(client, &key, body).is_some(), "the first one stays");

        drop(in_work);
        assert!(copies.find(client, &key, body).is_none() && copies.originals().is_empty());
    }
}
