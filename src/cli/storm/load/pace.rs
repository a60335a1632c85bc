//! When a phone sends its next sync.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// How fast a phone sends.
#[derive(Debug, Clone)]
pub enum Pace {
    /// The next one when the last one is done: as fast as the server answers.
    Closed,
    /// At times that are set beforehand, whatever the server does. A phone that is still busy then sends late, and the
    /// time it was due counts: else a server that stalls would be asked less, and look better than it is.
    Open {
        /// When the next one is due.
        next: Instant,
        /// From one to the next.
        every: Duration,
        /// From when on none is due.
        until: Instant,
    },
}

impl Pace {
    /// The pace of one of many phones that send so many syncs each second together, each at its own moment.
    pub fn open(rate: f64, phone: u32, phones: u32, begin: Instant, duration: Duration) -> Self {
        let every = Duration::from_secs_f64(f64::from(phones) / rate);
        Self::Open { next: begin + every.mul_f64(f64::from(phone) / f64::from(phones)), every, until: begin + duration }
    }

    /// Waits until the next sync is due, and says when that was; `None` if the load has ended.
    pub async fn next(&mut self, ended: &CancellationToken) -> Option<Instant> {
        let due = match self {
            Self::Closed => Instant::now(),
            Self::Open { next, every, until } if *next < *until => {
                let due = *next;
                tokio::select! {
                    biased;
                    () = ended.cancelled() => return None,
                    () = sleep_until(due.into()) => {}
                }
                *next += *every;
                due
            }
            // The load lasts as long as it was to last, also when its last sync was due a while before.
            Self::Open { until, .. } => {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = sleep_until((*until).into()) => {}
                }
                return None;
            }
        };
        (!ended.is_cancelled()).then_some(due)
    }

    /// How many were due until now and never sent.
    pub fn not_begun(&self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { next, every, until } => {
                let late = Instant::now().min(*until).saturating_duration_since(*next);
                if late.is_zero() { 0 } else { (late.as_secs_f64() / every.as_secs_f64()).ceil() as u64 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_pace_says_when_a_sync_was_due_however_late_it_is() {
        let begin = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let never = CancellationToken::new();
        let mut pace = Pace::open(10.0, 1, 2, begin, Duration::from_secs(5));
        let due = |millis| Some(begin + Duration::from_millis(millis));
        assert_eq!([pace.next(&never).await, pace.next(&never).await], [due(100), due(300)]);
        assert_eq!(pace.not_begun(), 23);
        while pace.next(&never).await.is_some() {}
        assert_eq!(pace.not_begun(), 0);
    }

    #[tokio::test]
    async fn nothing_is_due_when_the_load_has_ended() {
        let ended = CancellationToken::new();
        ended.cancel();
        let later = Instant::now() + Duration::from_secs(3_600);
        for mut pace in [Pace::Closed, Pace::open(1.0, 0, 1, later, Duration::from_secs(1))] {
            assert_eq!(pace.next(&ended).await, None);
            assert_eq!(pace.not_begun(), 0);
        }
    }
}
