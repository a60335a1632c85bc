//! Idempotency in front of the store: the key of a request, requests in flight that share one
//! execution, and finished answers that are served again byte for byte.
//!
//! All of it is for speed. The truth is the receipt that the store writes with the batch.

use std::future::Future;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use moka::future::Cache;
use moka::ops::compute::Op;

use super::answer::{Answer, View};
use super::error::ApiError;
use crate::batch::Fingerprint;
use crate::metrics::{self, CacheName, Lookup, Replay};
use crate::model::{ClientId, IdempotencyKey, Revision};
use crate::store::Outcome;

/// What makes two requests the same. Another payload under the same key is another slot, and the store
/// tells which of the two was first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Of which time of the store: what was answered before it was away may not hold any more.
    pub epoch: u64,
    /// Whose batch.
    pub client: ClientId,
    /// Under which key.
    pub key: IdempotencyKey,
    /// With which payload.
    pub fingerprint: Fingerprint,
    /// And how it is to be answered.
    pub view: View,
}

/// Why there is no answer that can be shared.
#[derive(Debug, Clone)]
pub enum Unshared {
    /// There is none.
    Error(ApiError),
    /// It is too large to be held. This came of the batch, for all who waited.
    Large(Arc<Outcome>),
}

impl From<ApiError> for Unshared {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

/// Answers in flight and finished, bounded in bytes, and the newest revision that is known of a client.
#[derive(Debug)]
pub struct Replays {
    answers: Cache<Slot, Answer>,
    newest: Cache<(u64, ClientId), Newest>,
}

/// The newest revision that is known of a client, and the answers that show it.
#[derive(Debug, Clone, Default)]
struct Newest {
    revision: Revision,
    slots: Vec<Slot>,
}

impl Replays {
    const MOST_CLIENTS: u64 = 100_000;
    /// Answers of one client that go at once when they are stale. What are more go by their age.
    const MOST_ANSWERS: usize = 100;
    /// What an entry takes beside its body, roughly.
    const OVERHEAD: usize = 512;

    /// Keeps finished answers of at most this many bytes.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &Slot, answer: &Answer| u32::try_from(answer.length() + Self::OVERHEAD).unwrap_or(u32::MAX);
        Self {
            answers: Cache::builder().weigher(weigh).max_capacity(bytes).build(),
            newest: Cache::new(Self::MOST_CLIENTS),
        }
    }

    /// The newest revision that was seen of a client in this epoch of the store.
    pub async fn newest(&self, epoch: u64, client: ClientId) -> Revision {
        self.newest.get(&(epoch, client)).await.map_or_else(Revision::default, |newest| newest.revision)
    }

    /// Notes a revision that was seen of a client. Answers from before it are not served again, so they go.
    pub async fn saw(&self, epoch: u64, client: ClientId, revision: Revision) {
        let mut stale = Vec::new();
        let newer = |known: Option<moka::Entry<(u64, ClientId), Newest>>| {
            let known = known.map(moka::Entry::into_value);
            std::future::ready(match known {
                Some(known) if known.revision >= revision => Op::Nop,
                known => {
                    stale = known.unwrap_or_default().slots;
                    Op::Put(Newest { revision, slots: Vec::new() })
                }
            })
        };
        self.newest.entry((epoch, client)).and_compute_with(newer).await;
        for slot in stale {
            self.answers.invalidate(&slot).await;
        }
    }

    /// Notes a finished answer, which is to go when a later revision is seen.
    async fn finished(&self, slot: Slot, revision: Revision) {
        let client = (slot.epoch, slot.client);
        let add = |known: Option<moka::Entry<(u64, ClientId), Newest>>| {
            let known = known.map(moka::Entry::into_value).filter(|known| known.revision == revision);
            std::future::ready(match known {
                Some(mut newest) if newest.slots.len() < Self::MOST_ANSWERS => {
                    newest.slots.push(slot);
                    Op::Put(newest)
                }
                _ => Op::Nop,
            })
        };
        self.newest.entry(client).and_compute_with(add).await;
    }

    /// Serves a finished answer while it is fresh, waits for one in flight, or does the work.
    ///
    /// Call it on a task of its own: were the leader's future dropped, a waiter would do the work again,
    /// and the receipt would have to catch that.
    ///
    /// # Errors
    /// What the work said, to all who waited for it. Errors are not kept.
    pub async fn share(
        &self,
        slot: Slot,
        work: impl Future<Output = Result<Answer, Unshared>>,
    ) -> Result<Answer, Unshared> {
        if let Some(finished) = self.answers.get(&slot).await {
            if self.is_fresh(&slot, &finished).await {
                metrics::LOOKUPS.count((CacheName::Replay, Lookup::Hit));
                return Ok(finished.or_replayed(Some(Replay::Cache)));
            }
            self.answers.invalidate(&slot).await;
        }
        metrics::LOOKUPS.count((CacheName::Replay, Lookup::Miss));
        let mut leads = false;
        let work = async {
            leads = true;
            work.await
        };
        match self.answers.entry(slot.clone()).or_try_insert_with(work).await {
            Ok(entry) => {
                let answer = entry.into_value();
                if leads {
                    self.finished(slot, answer.revision()).await;
                }
                Ok(answer.or_replayed((!leads).then_some(Replay::Coalesced)))
            }
            Err(error) => Err(Arc::unwrap_or_clone(error)),
        }
    }

    /// Says how much is kept.
    pub async fn measure(&self) {
        self.answers.run_pending_tasks().await;
        metrics::CACHE_BYTES.set(CacheName::Replay, self.answers.weighted_size());
    }

    async fn is_fresh(&self, slot: &Slot, answer: &Answer) -> bool {
        let newest = self.newest.get(&(slot.epoch, slot.client)).await;
        newest.is_some_and(|newest| newest.revision <= answer.revision())
    }
}

/// The idempotency key of a request, from `X-Idempotency-Key` or the standard `Idempotency-Key`, bare or
/// as a quoted string (RFC 9651, 3.3.3).
///
/// # Errors
/// [`ApiError::KeyInvalid`] if it is no key, or if there are two different ones.
pub fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut found = None;
    for value in ["X-Idempotency-Key", "Idempotency-Key"].into_iter().flat_map(|name| headers.get_all(name)) {
        let key = value.to_str().ok().and_then(|value| unquote(value.trim())).and_then(|key| IdempotencyKey::new(&key));
        let key = key.ok_or(ApiError::KeyInvalid("The idempotency key must be 1 to 255 visible ASCII characters"))?;
        match found {
            Some(other) if other != key => {
                return Err(ApiError::KeyInvalid("The request has two different idempotency keys"));
            }
            _ => found = Some(key),
        }
    }
    Ok(found)
}

/// Takes the quotes off; `None` if they do not close.
fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            character => key.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn key_of(headers: &[(&str, &str)]) -> Result<Option<String>, ()> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        key(&map).map(|key| key.map(|key| key.to_string())).map_err(|_| ())
    }

    #[test]
    fn a_key_comes_by_either_name_bare_or_quoted() {
        assert_eq!(key_of(&[]), Ok(None));
        assert_eq!(key_of(&[("x-idempotency-key", "k-1")]), Ok(Some("k-1".into())));
        assert_eq!(key_of(&[("idempotency-key", r#""k-1""#)]), Ok(Some("k-1".into())));
        assert_eq!(key_of(&[("idempotency-key", r#""k\"\\""#)]), Ok(Some(r#"k"\"#.into())));
        assert_eq!(key_of(&[("x-idempotency-key", "k"), ("idempotency-key", r#""k""#)]), Ok(Some("k".into())));
    }

    #[test]
    fn two_keys_and_none_keys_are_refused() {
        for headers in [
            &[("x-idempotency-key", "k"), ("idempotency-key", "l")][..],
            &[("x-idempotency-key", "k"), ("x-idempotency-key", "l")],
            &[("idempotency-key", "")],
            &[("idempotency-key", r#""""#)],
            &[("idempotency-key", r#""k"#)],
            &[("idempotency-key", r#""k"l"#)],
            &[("idempotency-key", r#""k\n""#)],
            &[("idempotency-key", "a b")],
            &[("idempotency-key", r#""a b""#)],
        ] {
            assert_eq!(key_of(headers), Err(()), "{headers:?}");
        }
    }
}
