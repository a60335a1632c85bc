//! How many requests a client may make: a bucket of tokens for each, refilled at an even rate.
//!
//! A request takes its token before its body is read, so one that is refused has cost little and applied nothing.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::model::ClientId;

/// How fast a client's bucket is refilled, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests each minute, in the long run.
    pub per_minute: NonZeroU32,
    /// Requests at once, after a pause.
    pub burst: NonZeroU32,
}

/// The buckets of all clients.
pub struct Buckets {
    rate: Rate,
    limiter: RateLimiter<ClientId, DefaultKeyedStateStore<ClientId>, DefaultClock, StateInformationMiddleware>,
    taken: AtomicUsize,
}

/// What a client was told of its bucket when it took a token, or found none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    rate: Rate,
    /// Tokens that are left.
    remaining: u32,
    /// Until there is a token, if there is none.
    wait: Option<Duration>,
}

impl Rate {
    /// How long it takes to refill so much of a bucket.
    fn refill(self, tokens: u32) -> Duration {
        self.token() * tokens
    }

    fn token(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.get()
    }
}

impl Buckets {
    /// After so many requests, buckets that are full again are forgotten: a full one is as good as none.
    const SWEEP: usize = 4096;

    /// All buckets are full.
    pub fn new(rate: Rate) -> Self {
        let quota = Quota::with_period(rate.token()).expect("a minute has a length").allow_burst(rate.burst);
        let limiter = RateLimiter::keyed(quota).with_middleware();
        Self { rate, limiter, taken: AtomicUsize::new(0) }
    }

    /// How fast they are refilled, and what each holds.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token of a client's bucket, if there is one.
    pub fn take(&self, client: &ClientId) -> Allowance {
        if self.taken.fetch_add(1, Ordering::Relaxed) % Self::SWEEP == Self::SWEEP - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let (remaining, wait) = match self.limiter.check_key(client) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(DefaultClock::default().now()))),
        };
        Allowance { rate: self.rate, remaining, wait }
    }
}

impl Allowance {
    /// Whole seconds until there is a token, if there was none.
    pub fn refused_for(&self) -> Option<u64> {
        self.wait.map(|wait| whole_seconds(wait).max(1))
    }

    /// Tells it in the header fields of draft-ietf-httpapi-ratelimit-headers-10: the bucket is a quota of `q` requests
    /// in the `w` seconds that refill it; `r` are left, and in `t` seconds it is full, or the next request is possible.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Rate { burst, .. } = self.rate;
        let used = self.rate.refill(burst.get().saturating_sub(self.remaining));
        let (window, rest) = (whole_seconds(self.rate.refill(burst.get())), whole_seconds(self.wait.unwrap_or(used)));
        let policy = format!("\"client\";q={burst};w={window}");
        let state = format!("\"client\";r={};t={rest}", self.remaining);
        for (name, value) in [(POLICY, policy), (LIMIT, state)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Never sooner than said.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientId {
        ClientId::from_verified_claim(&format!("{number:024x}")).unwrap()
    }

    fn buckets(per_minute: u32, burst: u32) -> Buckets {
        let [per_minute, burst] = [per_minute, burst].map(|number| NonZeroU32::new(number).unwrap());
        Buckets::new(Rate { per_minute, burst })
    }

    #[test]
    fn a_bucket_holds_its_burst_and_no_more() {
        let buckets = buckets(1, 3);
        let taken: Vec<_> = (0..5).map(|_| buckets.take(&client(1))).collect();
        let left: Vec<_> = taken.iter().map(|allowance| allowance.remaining).collect();
        assert_eq!(left, [2, 1, 0, 0, 0]);
        assert!(taken[..3].iter().all(|allowance| allowance.refused_for().is_none()));
        assert!(taken[3..].iter().all(|allowance| (58..=60).contains(&allowance.refused_for().unwrap())), "{taken:?}");
        assert_eq!(buckets.take(&client(2)).remaining, 2, "each client has its own");
    }

    #[test]
    fn what_is_told_adds_up() {
        let mut headers = HeaderMap::new();
        buckets(60, 10).take(&client(1)).tell(&mut headers);
        assert_eq!(headers.get(POLICY).unwrap(), "\"client\";q=10;w=10");
        assert_eq!(headers.get(LIMIT).unwrap(), "\"client\";r=9;t=1");
    }

    #[test]
    fn idle_clients_are_forgotten() {
        // Each bucket is full again after a microsecond.
        let buckets = buckets(60_000_000, 1);
        for number in 0..3 * Buckets::SWEEP as u32 {
            buckets.take(&client(number));
        }
        assert!(buckets.limiter.len() <= 2 * Buckets::SWEEP, "{}", buckets.limiter.len());
    }
}
