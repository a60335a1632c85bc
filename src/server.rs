//! Puts the parts together, listens, and stops without cutting anything off.

mod keys;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{HttpServer, web};
use futures_util::future::{BoxFuture, join};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, Config, ConfigError};
pub use crate::http::auth::Tokens;
use crate::http::auth::{KeyError, Keys, Verifier};
use crate::http::{self, Access, App, Capacity, Connections, Limits, Rate, Scrapes, Sessions};
use crate::metrics::{self, Engine, Exposition, InstallError, Version};
use crate::store::embedded::{EmbeddedStore, OpenError};
use crate::store::mongo::{MongoOptions, MongoStore};
use crate::store::{Store, StoreError};
use crate::telemetry::{self, Telemetry};
pub use keys::{SessionWish, mint, present_tokens, tokens};

/// Why a server did not start or did not go on, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// MongoDB answers and cannot be used.
    #[error("cannot use MONGO_URL: {0}")]
    Mongo(StoreError),
    /// The data directory holds no secret and takes none.
    #[error("cannot keep a secret in DATA_DIR: {0}")]
    Secret(io::Error),
    /// There is no secret to make tokens with, and the command makes none.
    #[error("no JWT_SECRET is set, and DATA_DIR holds no secret: {0}")]
    NoSecret(io::Error),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Metrics cannot be recorded.
    #[error(transparent)]
    Metrics(#[from] InstallError),
    /// The operating system failed the server.
    #[error("the server failed: {0}")]
    Io(#[from] io::Error),
}

/// How long a phone may take nothing of an answer.
#[cfg(target_os = "linux")]
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// How much of an answer is gathered for one write, in bytes. Each write wakes the phone's side; more at once would only take
/// memory.
const WRITTEN_AT_ONCE: usize = 64 << 10;
/// How long a stop goes on to answer in any case, so that who has connected just now hears of it.
const SHORTEST_DRAIN: Duration = Duration::from_millis(500);
/// How long it waits for what is in flight.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);
/// How long it waits from then on for answers to be on their way.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// The client of the token that a development start prints.
pub const DEMO_CLIENT: &str = "64b000000000000000000001";

/// Settings that a server starts with: they fit together, and the keys and files that they name can be used. What is
/// left to the start: whether its ports are free, its store can be opened, and JWKS_URL answers.
pub struct Prepared {
    config: Config,
    keys: Keys,
    telemetry: Telemetry,
}

impl Prepared {
    /// Checks the settings, and begins to log as they say. Nothing is made, and nobody is asked.
    ///
    /// # Errors
    /// [`ServeError`], which names the setting.
    pub async fn of(config: Config) -> Result<Self, ServeError> {
        let telemetry = telemetry::start(&config)?;
        config.check()?;
        let keys = Keys::open(keys::sources(&config)?).await.map_err(|e: KeyError| ConfigError(e.to_string()))?;
        for advice in config.advice() {
            tracing::warn!("{advice}");
        }
        Ok(Self { config, keys, telemetry })
    }
}

/// Serves until the process is told to stop. Call it on the main, multi-threaded runtime.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(Prepared { config, keys, telemetry }: Prepared) -> Result<(), ServeError> {
    let served = start(config, keys).await;
    telemetry.finish();
    served
}

async fn start(config: Config, keys: Keys) -> Result<(), ServeError> {
    let (listener, address) = listen(config.host, config.port)?;
    // Before anything is counted.
    let scrapes = listen_for_scrapes(&config)?;
    let (keys, demo_token) = match keys::development_secret(&config)? {
        Some(secret) => (keys.and_secret(&secret), tokens(&config)?.mint(DEMO_CLIENT, 30)),
        None => (keys, None),
    };
    let access = access(&config, keys).await;
    let (store, unusable) = open_store(&config).await?;
    let limits = Limits {
        max_body_bytes: config.max_body_bytes,
        max_operations: config.max_operations,
        require_idempotency_key: config.require_idempotency_key,
        most_held: config.dataset_memory().most_held(),
        longest_upload: Duration::from_secs(config.http.body_seconds as u64),
        longest_pause: Duration::from_secs(config.http.body_pause_seconds as u64),
    };
    let capacity = Capacity {
        requests: config.max_requests,
        batches: config.max_concurrent_batches,
        memory: config.memory_budget_bytes,
    };
    let app = App::new(store, access, limits, capacity, config.replay_cache_bytes, Handle::current());

    let scrapes =
        scrapes.map(|(listener, exposition)| Scrapes::serve(listener, exposition, app.clone())).transpose()?;
    let data = web::Data::new(app.clone());
    let origins = origins(&config);
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(data.clone())
            .wrap(from_fn(http::gate))
            .wrap(http::cors(&origins))
            .wrap(from_fn(http::envelope))
            .configure(http::routes)
    });
    let slowest_head = Duration::from_secs(config.http.head_seconds as u64);
    let connections = Connections::new(slowest_head);
    let _watching = AbortOnDropHandle::new(Handle::current().spawn(connections.clone().watch()));
    let server = server.on_connect(move |connection, data| {
        connections.add(connection, data);
        // Only Linux can be told.
        #[cfg(target_os = "linux")]
        give_up_on_silence(connection);
    });
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let server = server
        .workers(workers)
        .max_connections(config.max_connections.div_ceil(workers))
        // An answer goes out in more than one write, and the kernel would keep the last one back until the phone
        // has acknowledged those before it: 40 ms.
        .tcp_nodelay(true)
        .h1_write_buffer_size(WRITTEN_AT_ONCE)
        .keep_alive(http::KEEP_ALIVE)
        .client_request_timeout(slowest_head)
        .shutdown_timeout(LAST_BYTES.as_secs())
        .listen(listener)?
        .disable_signals()
        .run();
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopper = Handle::current().spawn(stop_on_signal(app, server.handle(), terminate, interrupt));
    tracing::info!(address = %address, "listening");
    if let Some(token) = demo_token {
        tell_demo(&config, address, &token);
    }
    tokio::select! {
        stopped = server => stopped?,
        error = unusable => return Err(ServeError::Mongo(error)),
    }
    stopper.abort();
    if let Some(scrapes) = scrapes {
        scrapes.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn listen(host: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = SocketAddr::new(host, port);
    let listener = TcpListener::bind(address).map_err(|e| ServeError::Listen(address, e))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Begins to record and listens for those who read the metrics, if the settings name a port for them.
fn listen_for_scrapes(config: &Config) -> Result<Option<(TcpListener, Exposition)>, ServeError> {
    let Some(port) = config.observability.metrics_port.0 else { return Ok(None) };
    let (listener, address) = listen(config.observability.metrics_host, port)?;
    let exposition = metrics::install()?;
    let engine = if config.mongo_url().is_some() { Engine::MongoDb } else { Engine::Embedded };
    metrics::BUILD.set((Version::This, engine), 1);
    tracing::info!(address = %address, "metrics can be read");
    Ok(Some((listener, exposition)))
}

/// Ends a connection whose phone has stopped to take what is sent to it, so that an answer does not hold its
/// memory for ever.
#[cfg(target_os = "linux")]
fn give_up_on_silence(connection: &dyn std::any::Any) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(LONGEST_SILENCE)) {
        tracing::debug!(%error, "cannot limit how long a phone may be silent");
    }
}

/// Who may come in, and how often.
async fn access(config: &Config, keys: Keys) -> Access {
    let verifier = Verifier::begin(keys).await;
    let moment = Duration::from_secs(config.auth.session_cache_seconds as u64);
    let sessions = config.auth.session_check.then(|| Sessions::new(moment));
    Access::new(verifier, sessions, rate(config))
}

fn rate(config: &Config) -> Option<Rate> {
    let per_minute = NonZeroU32::new(config.http.rate_limit_per_minute)?;
    Some(Rate { per_minute, burst: NonZeroU32::new(config.http.rate_limit_burst).unwrap_or(per_minute) })
}

fn origins(config: &Config) -> http::Origins {
    match &config.http.cors_origins {
        config::Origins::Same => http::Origins::Same,
        config::Origins::Any => http::Origins::Any,
        config::Origins::Of(origins) => http::Origins::Of(origins.clone()),
    }
}

/// The store, and what waits for it to turn out to be unusable. One that is away may well come; then the
/// server answers 503 until it does.
async fn open_store(config: &Config) -> Result<(Arc<dyn Store>, BoxFuture<'static, StoreError>), ServeError> {
    let memory = config.dataset_memory();
    match config.mongo_url() {
        Some(url) => {
            let options = MongoOptions {
                url: url.to_owned(),
                database: config.mongo_db_name.clone(),
                receipt_days: config.receipt_days,
                sole_writer: config.sole_writer,
                memory,
            };
            let store = MongoStore::open(options).await.map_err(ServeError::Mongo)?;
            let unusable = Box::pin(store.unusable());
            Ok((Arc::new(store), unusable))
        }
        None => {
            let store = EmbeddedStore::open(&config.data_dir, config.receipt_days, memory)?;
            Ok((Arc::new(store), Box::pin(std::future::pending())))
        }
    }
}

/// SIGTERM and Ctrl-C let what is in flight finish, while whatever else comes hears that the server is
/// stopping; a second one does not wait for it.
async fn stop_on_signal(app: App, server: ServerHandle, mut terminate: Signal, mut interrupt: Signal) {
    let mut signal = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    signal().await;
    app.refuse_more();
    tracing::info!("stopping, when what is in flight is done");
    tokio::select! {
        (finished, ()) = join(timeout(LONGEST_DRAIN, app.finish()), sleep(SHORTEST_DRAIN)) => {
            if finished.is_err() {
                tracing::warn!("some requests are still not done; their retries will find out what came of them");
            }
            // Only asks; that the server has stopped is seen where it is awaited.
            drop(server.stop(true));
            signal().await;
        }
        () = signal() => {}
    }
    tracing::info!("stopping at once");
    drop(server.stop(false));
}

fn tell_demo(config: &Config, address: SocketAddr, token: &str) {
    if config.auth.session_check {
        tracing::info!("SESSION_CHECK is on: mint tokens before the start, with `token --client ID --session`");
    } else {
        tracing::info!("no JWT_SECRET is set; for development, paste this:\n\n{}\n", demo(address, token));
    }
}

/// A line that sends a whole offline day: a new item, an invoice for it, and a payment on that.
fn demo(address: SocketAddr, token: &str) -> String {
    let day = r#"{"item":{"create":[{"_id":1,"name":"Masala tea","price":12.5,"stock":100}]},"invoice":{"create":[{"_id":1,"products":[{"productId":1,"quantity":2}]}]},"payment":{"create":[{"invoiceId":1,"amount":25}]}}"#;
    format!(
        "curl -s http://{address}/api/sync -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -H \"X-Idempotency-Key: $(date +%s%N)\" -d '{day}'"
    )
}
