//! HTTP: who is calling, what they send, what they hear. The only place, with `server.rs`, that knows
//! actix.

mod access;
mod admission;
mod answer;
pub mod auth;
mod body;
mod connections;
mod copies;
mod cors;
mod data;
mod encoding;
mod envelope;
mod error;
mod fault;
mod health;
mod idempotency;
mod limits;
mod manners;
mod openapi;
mod rate;
mod ready;
mod reconcile;
mod scrape;
mod sessions;
mod streamed;
mod sync;
mod synced;
mod trace;
mod validate;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::batch::reading_footprint;
use crate::metrics::Phase;
use crate::store::Store;
pub use access::Access;
pub use admission::Capacity;
use admission::{Admission, Admitted};
pub use connections::{Connections, KEEP_ALIVE};
use copies::Copies;
pub use cors::{Origins, cors};
pub use envelope::{envelope, gate};
use error::ApiError;
use idempotency::Replays;
pub use rate::Rate;
pub use scrape::Scrapes;
pub use sessions::Sessions;

/// All routes, on one screen.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(post("/api/readytosync").route(web::post().to(ready::ready)))
        .service(post("/api/sync").route(web::post().to(sync::sync)))
        .service(get("/api/sync/data", "GET").route(web::get().to(data::data)))
        .service(post("/api/sync/validate").route(web::post().to(validate::validate)))
        .service(post("/api/sync/reconcile").route(web::post().to(reconcile::reconcile)))
        .service(get("/api/sync/limits", "GET").route(web::get().to(limits::limits)))
        .service(
            get("/api/health", "GET, HEAD").route(web::get().to(health::health)).route(web::head().to(health::health)),
        )
        .configure(openapi::routes)
        .default_service(web::to(|| refuse(ApiError::NotFound)));
}

/// What all requests share.
#[derive(Clone)]
pub struct App {
    store: Arc<dyn Store>,
    access: Arc<Access>,
    replays: Arc<Replays>,
    copies: Arc<Copies>,
    limits: Limits,
    admission: Arc<Admission>,
    health: health::Pulse,
    docs: Arc<openapi::Docs>,
    runtime: Handle,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// The limits of one batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, in bytes after decompression.
    pub max_body_bytes: usize,
    /// Most operations.
    pub max_operations: usize,
    /// Whether a batch that writes must have an idempotency key.
    pub require_idempotency_key: bool,
    /// A dataset that is larger is sent while it is read, in bytes.
    pub most_held: usize,
    /// How long a body may take to arrive.
    pub longest_upload: Duration,
    /// How long it may pause meanwhile.
    pub longest_pause: Duration,
}

impl Limits {
    /// What such a dataset takes in memory, roughly: its beginning, and what its readers have read ahead.
    fn stream_footprint(&self) -> usize {
        const AHEAD: usize = 8 << 20;
        self.most_held + AHEAD
    }
}

impl App {
    /// Puts the parts together. `runtime` is the main one: it outlives the actix workers.
    pub fn new(
        store: Arc<dyn Store>,
        access: Access,
        limits: Limits,
        capacity: Capacity,
        replay_cache_bytes: u64,
        runtime: Handle,
    ) -> Self {
        let tasks = TaskTracker::new();
        Self {
            store,
            access: Arc::new(access),
            replays: Arc::new(Replays::new(replay_cache_bytes)),
            copies: Arc::default(),
            limits,
            admission: Arc::new(Admission::new(capacity, tasks.clone())),
            health: health::Pulse::default(),
            docs: Arc::new(openapi::Docs::new(limits)),
            runtime,
            tasks,
            stopping: CancellationToken::new(),
        }
    }

    /// Refuses what comes from now on.
    pub fn refuse_more(&self) {
        self.stopping.cancel();
        self.tasks.close();
    }

    /// Waits, once more is refused, until all that came before is done: requests, the work of those whose
    /// phones hung up, and answers that are being sent.
    pub async fn finish(&self) {
        self.tasks.wait().await;
    }

    /// Takes note of a request, which is in flight until the token is dropped; `None` if the server is
    /// about to stop.
    fn begin(&self) -> Option<TaskTrackerToken> {
        // In this order: who has a token before the flag is up is waited for.
        let token = self.tasks.token();
        (!self.is_stopping()).then_some(token)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Runs work on the main runtime, to its end, whatever becomes of the request.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, ApiError> {
        let task = self.tasks.spawn_on(work.in_current_span(), &self.runtime);
        task.await.map_err(|_| ApiError::Internal("a task failed".to_owned()))
    }

    /// Runs a computation that would hold up a worker, when it is its client's turn.
    async fn compute<T: Send + 'static>(
        &self,
        admitted: &Admitted,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = admitted.turn_to_compute().await?;
        // A computation cannot be stopped: it keeps its turn and its memory also when nobody waits for it.
        let holder = admitted.clone();
        let work = move || {
            let _holds = (turn, holder);
            work()
        };
        let task = self.tasks.spawn_blocking_on(work, &self.runtime);
        task.await.map_err(|_| ApiError::Internal("a computation failed".to_owned()))
    }

    /// Reads a body as JSON with a function that is given it and the most operations, within the request's memory.
    async fn parse<T: Send + 'static>(
        &self,
        admitted: &Admitted,
        body: Vec<u8>,
        read: impl FnOnce(Vec<u8>, usize) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        /// From here on it is moved off the workers.
        const LARGE: usize = 64 << 10;
        let (large, most, holder) = (body.len() >= LARGE, self.limits.max_operations, admitted.clone());
        let parse = move || {
            holder.hold(body.capacity() + reading_footprint(&body, most))?;
            Ok(holder.trace().during(Phase::Parse, || read(body, most)))
        };
        if large { self.compute(admitted, parse).await? } else { parse() }
    }
}

fn post(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(|| refuse(ApiError::MethodNotAllowed("POST"))))
}

fn get(path: &str, methods: &'static str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(move || refuse(ApiError::MethodNotAllowed(methods))))
}

async fn refuse(error: ApiError) -> Result<&'static str, ApiError> {
    Err(error)
}
