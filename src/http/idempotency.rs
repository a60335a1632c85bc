//! Idempotency in front of the store: the key of a request, requests in flight that share one
//! execution, and finished answers that are served again byte for byte.
//!
//! All of it is for speed. The truth is the receipt that the store writes with the batch.

use std::future::Future;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use moka::future::Cache;
use moka::ops::compute::Op;

use super::error::ApiError;
use crate::batch::Fingerprint;
use crate::model::{ClientId, IdempotencyKey, Revision};

/// A finished answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The whole JSON.
    pub body: Bytes,
    /// The client's revision that its dataset shows.
    pub revision: Revision,
    /// Whether the batch had been committed by an earlier request.
    pub replayed: bool,
}

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
}

/// Answers in flight and finished, bounded in bytes, and the newest revision that is known of a client.
#[derive(Debug)]
pub struct Replays {
    answers: Cache<Slot, Answer>,
    revisions: Cache<(u64, ClientId), Revision>,
}

impl Replays {
    const MOST_CLIENTS: u64 = 100_000;
    /// What an entry takes beside its body, roughly.
    const OVERHEAD: usize = 512;

    /// Keeps finished answers of at most this many bytes.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &Slot, answer: &Answer| u32::try_from(answer.body.len() + Self::OVERHEAD).unwrap_or(u32::MAX);
        Self {
            answers: Cache::builder().weigher(weigh).max_capacity(bytes).build(),
            revisions: Cache::new(Self::MOST_CLIENTS),
        }
    }

    /// The newest revision that was seen of a client in this epoch of the store.
    pub async fn newest(&self, epoch: u64, client: ClientId) -> Revision {
        self.revisions.get(&(epoch, client)).await.unwrap_or_default()
    }

    /// Notes a revision that was seen of a client, so that answers from before it are not served again.
    pub async fn saw(&self, epoch: u64, client: ClientId, revision: Revision) {
        let newer = |known: Option<moka::Entry<(u64, ClientId), Revision>>| {
            let is_newer = known.is_none_or(|known| *known.value() < revision);
            std::future::ready(if is_newer { Op::Put(revision) } else { Op::Nop })
        };
        self.revisions.entry((epoch, client)).and_compute_with(newer).await;
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
        work: impl Future<Output = Result<Answer, ApiError>>,
    ) -> Result<Answer, Arc<ApiError>> {
        if let Some(finished) = self.answers.get(&slot).await {
            if self.is_fresh(&slot, &finished).await {
                return Ok(Answer { replayed: true, ..finished });
            }
            self.answers.invalidate(&slot).await;
        }
        let entry = self.answers.entry(slot).or_try_insert_with(work).await?;
        let leads = entry.is_fresh();
        let answer = entry.into_value();
        Ok(Answer { replayed: answer.replayed || !leads, ..answer })
    }

    async fn is_fresh(&self, slot: &Slot, answer: &Answer) -> bool {
        self.revisions.get(&(slot.epoch, slot.client)).await.is_some_and(|known| known <= answer.revision)
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
