//! Waiting for a condition with a deadline, and for a future from a thread that may already run a runtime.

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks `probe` again and again until it gives a value; panics with `what` when `within` has passed.
pub fn eventually<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Runs a future to its end on a thread and a runtime of its own, so that async tests may call it too.
pub fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    let run = || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime").block_on(future)
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// How long `eventually` rests between two questions.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
