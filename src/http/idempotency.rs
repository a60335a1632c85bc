//! Idempotency in front of the store: the key of a request, requests in flight that share one
//! execution, and finished answers that are served again byte for byte.
//!
//! All of it is for speed. The truth is the receipt that the store writes with the batch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::header::HeaderMap;
use moka::future::Cache;
use moka::ops::compute::Op;
use tokio::sync::watch;

use super::answer::{Answer, View};
use super::error::ApiError;
use crate::batch::Fingerprint;
use crate::metrics::{self, CacheName, Lookup};
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

/// What came of a request, for all who sent it.
pub type Shared = Result<Answer, Unshared>;

/// Answers in flight and finished, bounded in bytes, and the newest revision that is known of a client.
#[derive(Debug)]
pub struct Replays {
    in_flight: Mutex<HashMap<Slot, watch::Receiver<Option<Shared>>>>,
    finished: Cache<Slot, Answer>,
    newest: Cache<(u64, ClientId), Newest>,
}

/// The newest revision that is known of a client, and the answers that show it.
#[derive(Debug, Clone, Default)]
struct Newest {
    revision: Revision,
    slots: Vec<Slot>,
}

/// What a request has to do for its answer.
pub enum Part {
    /// Nothing: this is it.
    Finished(Answer),
    /// To wait for another that does the work.
    Waits(Waiting),
    /// The work, and to tell the others of it.
    Leads(Lead),
}

/// Waits for who leads.
pub struct Waiting(watch::Receiver<Option<Shared>>);

/// Has others wait, until this is dropped. Do the work on a task of its own: were it dropped in the middle, a waiter
/// would do it again, and the receipt would have to catch that.
pub struct Lead {
    replays: Arc<Replays>,
    slot: Slot,
    tell: watch::Sender<Option<Shared>>,
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
            in_flight: Mutex::default(),
            finished: Cache::builder().weigher(weigh).max_capacity(bytes).build(),
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
            self.finished.invalidate(&slot).await;
        }
    }

    /// What a request has to do: nothing, if there is a finished answer that is still fresh; to wait, if another does
    /// the work; else the work.
    pub async fn join(self: &Arc<Self>, slot: Slot) -> Part {
        let lead = match self.in_flight().entry(slot) {
            Entry::Occupied(leads) => return Part::Waits(Waiting(leads.get().clone())),
            Entry::Vacant(nobody) => {
                let (slot, (tell, told)) = (nobody.key().clone(), watch::channel(None));
                nobody.insert(told);
                Lead { replays: Arc::clone(self), slot, tell }
            }
        };
        let Some(finished) = self.find(&lead.slot).await else { return Part::Leads(lead) };
        lead.tell(Ok(finished.clone()));
        Part::Finished(finished)
    }

    /// Says how much is kept.
    pub async fn measure(&self) {
        self.finished.run_pending_tasks().await;
        metrics::CACHE_BYTES.set(CacheName::Replay, self.finished.weighted_size());
    }

    /// A finished answer that is still fresh.
    async fn find(&self, slot: &Slot) -> Option<Answer> {
        let finished = self.finished.get(slot).await;
        let fresh = match finished {
            Some(answer) if self.is_fresh(slot, &answer).await => Some(answer),
            Some(_) => {
                self.finished.invalidate(slot).await;
                None
            }
            None => None,
        };
        let lookup = if fresh.is_some() { Lookup::Hit } else { Lookup::Miss };
        metrics::LOOKUPS.count((CacheName::Replay, lookup));
        fresh
    }

    async fn is_fresh(&self, slot: &Slot, answer: &Answer) -> bool {
        let newest = self.newest.get(&(slot.epoch, slot.client)).await;
        newest.is_some_and(|newest| newest.revision <= answer.revision())
    }

    /// Keeps a finished answer, until a later revision is seen.
    async fn keep(&self, slot: &Slot, answer: Answer) {
        let revision = answer.revision();
        self.finished.insert(slot.clone(), answer).await;
        let add = |known: Option<moka::Entry<(u64, ClientId), Newest>>| {
            let known = known.map(moka::Entry::into_value).filter(|known| known.revision == revision);
            std::future::ready(match known {
                Some(mut newest) if newest.slots.len() < Self::MOST_ANSWERS => {
                    newest.slots.push(slot.clone());
                    Op::Put(newest)
                }
                _ => Op::Nop,
            })
        };
        self.newest.entry((slot.epoch, slot.client)).and_compute_with(add).await;
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Slot, watch::Receiver<Option<Shared>>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What came of the work; `None` if it was left.
    pub async fn over(mut self) -> Option<Shared> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Lead {
    /// Tells the others what came of the work. Errors are not kept.
    pub async fn done(self, shared: Shared) {
        if let Ok(answer) = &shared {
            self.replays.keep(&self.slot, answer.clone()).await;
        }
        self.tell(shared);
    }

    fn tell(self, shared: Shared) {
        self.tell.send_replace(Some(shared));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Before the sender goes: who waits asks again then, and must not find this slot taken.
        self.replays.in_flight().remove(&self.slot);
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
    use futures_util::future::join;

    use super::super::encoding::Coding;
    use super::*;
    use crate::batch::Batch;
    use crate::clock;
    use crate::store::Wanted;

    fn slot() -> Slot {
        let client = ClientId::for_operator(clock::new_id());
        let batch = Batch::parse(b"{}", &client, 1).unwrap();
        let view = View { wanted: Wanted::Nothing, coding: Coding::Identity };
        Slot { epoch: 1, client, key: IdempotencyKey::new("k").unwrap(), fingerprint: batch.fingerprint.clone(), view }
    }

    async fn lead(replays: &Arc<Replays>, slot: &Slot) -> Lead {
        let Part::Leads(lead) = replays.join(slot.clone()).await else { panic!("nobody else leads") };
        lead
    }

    async fn wait(replays: &Arc<Replays>, slot: &Slot) -> Waiting {
        let Part::Waits(waiting) = replays.join(slot.clone()).await else { panic!("another one leads") };
        waiting
    }

    #[tokio::test]
    async fn who_waits_hears_what_came_of_it_and_errors_are_not_kept() {
        let (replays, slot) = (Arc::new(Replays::new(1 << 20)), slot());
        let leads = lead(&replays, &slot).await;
        let (early, late) = (wait(&replays, &slot).await, wait(&replays, &slot).await);
        let (early, ()) = join(early.over(), leads.done(Err(Unshared::Error(ApiError::Overloaded)))).await;
        for heard in [early, late.over().await] {
            assert!(matches!(heard, Some(Err(Unshared::Error(ApiError::Overloaded)))));
        }
        lead(&replays, &slot).await;
    }

    #[tokio::test]
    async fn work_that_is_left_is_taken_over() {
        let (replays, slot) = (Arc::new(Replays::new(1 << 20)), slot());
        let leads = lead(&replays, &slot).await;
        let waiting = wait(&replays, &slot).await;
        let hears = async {
            let heard = waiting.over().await;
            // At once, and not after waiting for nobody again.
            drop(lead(&replays, &slot).await);
            heard
        };
        let (heard, ()) = join(hears, async { drop(leads) }).await;
        assert!(heard.is_none());
        assert!(replays.in_flight().is_empty());
    }

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
