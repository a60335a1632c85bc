//! HTTP: who is calling, what they send, what they hear. The only place, with `server.rs`, that knows
//! actix.

pub mod auth;
mod body;
mod encoding;
mod envelope;
mod error;
mod health;
mod hs256;
mod idempotency;
mod ready;
mod reconcile;
mod sync;
mod synced;
mod validate;

use std::future::Future;
use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::store::Store;
use auth::Tokens;
pub use envelope::envelope;
use error::ApiError;
use idempotency::Replays;

/// All routes, on one screen.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(post("/api/readytosync").route(web::post().to(ready::ready)))
        .service(post("/api/sync").route(web::post().to(sync::sync)))
        .service(post("/api/sync/validate").route(web::post().to(validate::validate)))
        .service(post("/api/sync/reconcile").route(web::post().to(reconcile::reconcile)))
        .service(get("/api/health").route(web::get().to(health::health)).route(web::head().to(health::health)))
        .default_service(web::to(|| refuse(ApiError::NotFound)));
}

/// What all requests share.
#[derive(Clone)]
pub struct App {
    store: Arc<dyn Store>,
    tokens: Arc<Tokens>,
    replays: Arc<Replays>,
    limits: Limits,
    runtime: Handle,
    tasks: TaskTracker,
    computations: Arc<Semaphore>,
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
}

impl App {
    /// Puts the parts together. `runtime` is the main one: it outlives the actix workers.
    pub fn new(
        store: Arc<dyn Store>,
        tokens: Tokens,
        limits: Limits,
        replay_cache_bytes: u64,
        runtime: Handle,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            tokens: Arc::new(tokens),
            replays: Arc::new(Replays::new(replay_cache_bytes)),
            limits,
            runtime,
            tasks: TaskTracker::new(),
            computations: Arc::new(Semaphore::new(2 * cores)),
        }
    }

    /// Waits for all work that requests have started, so that a stop cuts nothing off.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs work on the main runtime, to its end, whatever becomes of the request.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, ApiError> {
        let task = self.tasks.spawn_on(work.in_current_span(), &self.runtime);
        task.await.map_err(|e| ApiError::Internal(format!("a task failed: {e}")))
    }

    /// Runs a computation on this many bytes: here if they are few, else where it holds up no worker.
    async fn compute<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        const LARGE: usize = 64 << 10;
        if bytes < LARGE { Ok(work()) } else { self.blocking(work).await }
    }

    /// Runs a computation that would hold up a worker.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        // More at once would only share the cores and hold more in memory.
        let _permit = self.computations.acquire().await.map_err(|e| ApiError::Internal(e.to_string()))?;
        let task = self.tasks.spawn_blocking_on(work, &self.runtime);
        task.await.map_err(|e| ApiError::Internal(format!("a computation failed: {e}")))
    }
}

fn post(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(|| refuse(ApiError::MethodNotAllowed("POST"))))
}

fn get(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(|| refuse(ApiError::MethodNotAllowed("GET, HEAD"))))
}

async fn refuse(error: ApiError) -> Result<&'static str, ApiError> {
    Err(error)
}
