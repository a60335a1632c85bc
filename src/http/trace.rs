//! What is told of a request when it is done: one line in the log, and the fields of its span.
//!
//! No bodies, no tokens, no amounts: of a body that was refused, where and how it is wrong (`fault`), and not a word of
//! it. What a stranger chose (the idempotency key) is quoted and cut.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::field::Empty;
use tracing::{Level, Span};

use super::error::ApiError;
use super::fault::Fault;
use crate::metrics::{self, Labels, Phase, Replay, Route};
use crate::model::{ClientId, IdempotencyKey, Revision};

/// What came of a request, gathered by all who work on it. It is told when the last of them is done, which is when
/// the answer is sent; or later, when the phone hung up and the work went on.
#[derive(Debug)]
pub struct Trace {
    id: String,
    route: Route,
    method: &'static str,
    span: Span,
    begun: Instant,
    client: OnceLock<ClientId>,
    key: OnceLock<IdempotencyKey>,
    operations: OnceLock<usize>,
    revision: OnceLock<Revision>,
    executed: AtomicBool,
    replay: OnceLock<Replay>,
    received: OnceLock<usize>,
    spent: [AtomicU64; Phase::COUNT],
    answer: OnceLock<Answered>,
}

/// How a request was answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    after: Duration,
    /// Bytes of the body; `None` where they are not known before it is sent.
    length: Option<u64>,
    error: Option<ApiError>,
}

/// The longest part of a key that is told.
const MOST_OF_A_KEY: usize = 64;

/// A request's span. What is not known yet is filled in when it is done.
macro_rules! span {
    ($level:expr, $route:expr, $method:expr, $id:expr) => {
        tracing::span!(
            $level,
            "request",
            // For a collector alone: the names of OpenTelemetry's conventions for a server's spans.
            otel.name = cfg!(feature = "otel").then(|| format!("{} {}", $method, $route.text())),
            otel.kind = cfg!(feature = "otel").then_some("server"),
            request.id = $id,
            http.request.method = $method,
            http.route = $route.text(),
            client.id = Empty,
            idempotency.key = Empty,
            batch.operations = Empty,
            batch.revision = Empty,
            batch.replayed = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            problem.at = Empty,
            problem.code = Empty,
            problem.count = Empty,
            http.request.body.size = Empty,
            http.response.body.size = Empty,
            time.read_ms = Empty,
            time.parse_ms = Empty,
            time.wait_ms = Empty,
            time.plan_ms = Empty,
            time.execute_ms = Empty,
            time.dataset_ms = Empty,
            time.encode_ms = Empty,
            time.answer_ms = Empty,
        )
    };
}

impl Trace {
    /// Begins with a request.
    pub fn begin(id: String, route: Route, method: &'static str) -> Self {
        let span = match route {
            // Many a second, of which nothing is told at the usual level.
            Route::ReadyToSync | Route::Health | Route::Other => span!(Level::DEBUG, route, method, &id),
            _ => span!(Level::INFO, route, method, &id),
        };
        Self {
            id,
            route,
            method,
            span,
            begun: Instant::now(),
            client: OnceLock::new(),
            key: OnceLock::new(),
            operations: OnceLock::new(),
            revision: OnceLock::new(),
            executed: AtomicBool::new(false),
            replay: OnceLock::new(),
            received: OnceLock::new(),
            spent: Default::default(),
            answer: OnceLock::new(),
        }
    }

    /// The request's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The span in which all work on the request is done.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Whose request it is.
    pub fn client(&self, client: ClientId) {
        let _ = self.client.set(client);
    }

    /// How long its body was as it came, in bytes.
    pub fn received(&self, bytes: usize) {
        let _ = self.received.set(bytes);
    }

    /// Under which key its batch comes.
    pub fn key(&self, key: &IdempotencyKey) {
        let _ = self.key.set(key.clone());
    }

    /// How many operations its batch has.
    pub fn operations(&self, operations: usize) {
        let _ = self.operations.set(operations);
    }

    /// The store has executed its batch, now or earlier.
    pub fn executed(&self, revision: Revision) {
        self.executed.store(true, Ordering::Relaxed);
        self.shows(revision);
    }

    /// Which revision it is answered with; the first that is told counts.
    pub fn shows(&self, revision: Revision) {
        let _ = self.revision.set(revision);
    }

    /// Its batch had been committed before.
    pub fn replayed(&self, how: Replay) {
        let _ = self.replay.set(how);
    }

    /// Runs a part of the work and takes note of its time.
    pub fn during<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.spent(phase, begun.elapsed());
        done
    }

    /// Waits for a part of the work and takes note of its time.
    pub async fn during_async<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.spent(phase, begun.elapsed());
        done
    }

    /// How it is answered. `length` is that of the answer's body, in bytes, where it is known.
    pub fn answered(&self, status: u16, length: Option<u64>, error: Option<ApiError>) {
        let after = self.begun.elapsed();
        metrics::REQUESTS.count((self.route, metrics::Status::of(status)));
        // How long the phone took to send is its network's affair.
        metrics::REQUEST_TIME.took(self.route, after.saturating_sub(self.spent_on(Phase::Read)));
        if let Some(error) = &error {
            metrics::REJECTS.count(metrics::Code::of(error.code()));
        }
        let _ = self.answer.set(Answered { status, after, length, error });
    }

    /// How long ago it began.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Nobody waits for its answer any more.
    pub fn abandoned(&self) {
        metrics::HANGUPS.count(self.route);
    }

    fn spent(&self, phase: Phase, time: Duration) {
        metrics::PHASES.took(phase, time);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spent[phase.index()].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn spent_on(&self, phase: Phase) -> Duration {
        Duration::from_nanos(self.spent[phase.index()].load(Ordering::Relaxed))
    }

    /// The time of a phase in milliseconds, if there was any.
    fn time(&self, phase: Phase) -> Option<f64> {
        let spent = self.spent_on(phase);
        (!spent.is_zero()).then(|| milliseconds(spent))
    }

    /// How loud the request is told, and in which words.
    ///
    /// Quiet is what comes often and changes nothing: whether a token is good, whether the server can work, pulls,
    /// answers that were kept for a retry, and refusals that pass. So is what anybody can send without a token.
    fn verdict(&self) -> (Level, &'static str) {
        let executed = self.executed.load(Ordering::Relaxed);
        let Some(answer) = self.answer.get() else {
            return match executed {
                true => (Level::INFO, "done, and nobody waited for the answer"),
                false => (Level::DEBUG, "nobody waited for the answer"),
            };
        };
        let known = self.client.get().is_some() && !matches!(self.route, Route::ReadyToSync | Route::Health);
        match &answer.error {
            Some(error) if error.inside().is_some() => (Level::ERROR, "request failed"),
            // The phone was told to come back for it.
            Some(_) if executed => (Level::INFO, "done, after the answer"),
            Some(error) if known && !error.passes() => (Level::INFO, "request refused"),
            Some(_) => (Level::DEBUG, "request refused"),
            None if executed => (Level::INFO, "answered"),
            None => (Level::DEBUG, "answered"),
        }
    }

    /// What went wrong inside. What the phone was told may hold its own words, which are not for the log.
    fn error(&self) -> Option<&str> {
        self.answer.get()?.error.as_ref()?.inside()
    }

    fn describe(&self, span: &Span) {
        let (answer, refusal) = (self.answer.get(), self.answer.get().and_then(|answer| answer.error.as_ref()));
        let fault = refusal.and_then(Fault::of);
        let key = self.key.get().map(|key| &key.as_str()[..key.as_str().len().min(MOST_OF_A_KEY)]);
        tracing::record_all!(
            span,
            client.id = self.client.get().map(tracing::field::display),
            idempotency.key = key,
            batch.operations = self.operations.get(),
            batch.revision = self.revision.get().map(|revision| revision.0),
            batch.replayed = self.replay.get().map(|how| how.text()),
            http.response.status_code = answer.map(|answer| answer.status),
            error.type = refusal.map(ApiError::code),
            problem.at = fault.as_ref().map(|fault| fault.at.as_str()),
            problem.code = fault.as_ref().and_then(|fault| fault.code),
            problem.count = fault.as_ref().map(|fault| fault.count),
            http.request.body.size = self.received.get(),
            http.response.body.size = answer.and_then(|answer| answer.length),
            time.read_ms = self.time(Phase::Read),
            time.parse_ms = self.time(Phase::Parse),
            time.wait_ms = self.time(Phase::Wait),
            time.plan_ms = self.time(Phase::Plan),
            time.execute_ms = self.time(Phase::Execute),
            time.dataset_ms = self.time(Phase::Dataset),
            time.encode_ms = self.time(Phase::Encode),
            time.answer_ms = answer.map(|answer| milliseconds(answer.after)),
        );
    }
}

/// Tells what came of the request.
impl Drop for Trace {
    fn drop(&mut self) {
        if self.answer.get().is_none() {
            self.abandoned();
        }
        let (level, what) = self.verdict();
        let is_logged = match level {
            Level::ERROR => true,
            Level::INFO => tracing::enabled!(Level::INFO),
            _ => tracing::enabled!(Level::DEBUG),
        };
        // A collector is told of all spans, whatever the log says of them.
        if !is_logged && !cfg!(feature = "otel") {
            return;
        }
        let span = match level {
            Level::ERROR if self.span.is_disabled() => span!(Level::ERROR, self.route, self.method, &self.id),
            _ => self.span.clone(),
        };
        self.describe(&span);
        let _within = span.entered();
        match level {
            Level::ERROR => tracing::error!(error = self.error(), "{what}"),
            Level::INFO => tracing::info!(error = self.error(), "{what}"),
            _ => tracing::debug!(error = self.error(), "{what}"),
        }
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
