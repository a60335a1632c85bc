//! Brings payloads to the server, one after the other, and comes again when it is asked to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::guard;
use super::outcome::{Outcome, Verdict};
use super::pass::{Cut, Pass};
use super::payload::{Payload, Source};
use crate::cli::interruption::Interruption;
use crate::phone::{Answer, Phone, Route, SendError};

/// Sends for one client.
#[derive(Debug)]
pub(super) struct Courier {
    pub phone: Phone,
    /// How many times something is sent again, under the same key, before it is given up.
    pub retries: u32,
    /// Asks what would come of a batch instead of sending it.
    pub only_asks: bool,
    /// Whether to stop.
    pub interruption: Interruption,
}

/// A request that was sent until it was settled or given up.
pub(super) struct Delivery {
    pub last: Result<Answer, SendError>,
    pub attempts: u32,
    pub time: Duration,
}

/// The longest pause that a server's `Retry-After` is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Courier {
    /// Sends payloads in order, as far as nothing ends it, and tells of each that was sent.
    pub(super) async fn deliver_all(&self, payloads: &[Payload], mut tell: impl FnMut(usize, &Outcome)) -> Pass {
        let mut pass = Pass::default();
        for (place, payload) in payloads.iter().enumerate() {
            pass.cut = pass.cut.or(self.interruption.is_asked().then_some(Cut::Interrupted));
            if pass.cut.is_some() {
                break;
            }
            let outcome = self.deliver(payload).await;
            tell(place, &outcome);
            pass.cut = Cut::after(&outcome);
            pass.outcomes.push(outcome);
        }
        pass.outcomes.resize_with(payloads.len(), || Outcome::not_sent(Verdict::Unsent));
        pass
    }

    async fn deliver(&self, payload: &Payload) -> Outcome {
        let route = match (self.only_asks, payload.route) {
            (false, route) => route,
            (true, Route::Sync) => Route::Validate,
            (true, _) => return Outcome::not_sent(Verdict::Skipped),
        };
        if let (Route::Sync, Source::Merged(origins)) = (route, &payload.source)
            && let Some(outcome) = guard::obstacle(self, origins).await
        {
            return outcome;
        }
        let Delivery { last, attempts, time } = self.send(route, &payload.body, Some(&payload.key)).await;
        Outcome::of(route, last, attempts, time)
    }

    /// Sends a request until it is settled: after a pause again, with the same key, if the server asks for that or
    /// the answer is lost, and nobody asks to stop.
    pub(super) async fn send(&self, route: Route, body: &Bytes, key: Option<&str>) -> Delivery {
        let mut attempts = 1;
        loop {
            let begun = Instant::now();
            let last = tokio::select! {
                last = self.phone.send(route, body.clone(), key) => last,
                () = self.interruption.insisted() => Err(SendError::Lost("the replay was interrupted".to_owned())),
            };
            let time = begun.elapsed();
            let comes_again = match pause(&last, attempts) {
                Some(pause) if attempts <= self.retries => self.rest(pause).await,
                _ => false,
            };
            if !comes_again {
                return Delivery { last, attempts, time };
            }
            attempts += 1;
        }
    }

    /// Waits; false if somebody asks to stop.
    async fn rest(&self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => true,
            () = self.interruption.asked() => false,
        }
    }
}

/// How long to wait before a request is sent again; `None` if it is settled.
fn pause(last: &Result<Answer, SendError>, attempts: u32) -> Option<Duration> {
    /// Doubled each time, up to 16 seconds.
    const SHORTEST: Duration = Duration::from_millis(500);
    let growing = SHORTEST * (1 << (attempts - 1).min(5));
    match last {
        Ok(answer) if answer.asks_to_come_again() => {
            Some(answer.retry_after.map_or(growing, |asked| asked.min(LONGEST_PAUSE)))
        }
        Ok(_) | Err(SendError::Key) => None,
        Err(_) => Some(growing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, seconds: Option<u64>) -> Result<Answer, SendError> {
        let retry_after = seconds.map(Duration::from_secs);
        Ok(Answer { status, replayed: false, retry_after, request_id: None, body: Bytes::new() })
    }

    #[test]
    fn the_server_says_how_long_to_wait_and_else_pauses_grow() {
        let seconds = |last, attempts| pause(&last, attempts).map(|pause| pause.as_secs_f64());
        assert_eq!(seconds(answer(503, Some(3)), 1), Some(3.0));
        assert_eq!(seconds(answer(429, Some(900)), 4), Some(60.0));
        assert_eq!(seconds(answer(409, None), 1), Some(0.5));
        assert_eq!(seconds(answer(500, None), 2), Some(1.0));
        assert_eq!(seconds(Err(SendError::Late(Duration::ZERO)), 100), Some(16.0));
    }

    #[test]
    fn what_is_settled_is_not_sent_again() {
        for status in [200, 400, 401, 403, 413, 422] {
            assert_eq!(pause(&answer(status, Some(1)), 1), None, "{status}");
        }
    }
}
