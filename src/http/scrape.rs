//! `GET /metrics`, on a port of its own: what the server counts, for Prometheus.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, HttpServer, rt, web};
use tokio::runtime::Handle;
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use super::connections::{Connections, in_flight};
use super::{App, KEEP_ALIVE, health};
use crate::metrics::{self, Exposition};

/// Answers those who read the metrics, on one thread.
pub struct Scrapes {
    server: ServerHandle,
    _tasks: [AbortOnDropHandle<()>; 3],
}

impl Scrapes {
    const MOST_CONNECTIONS: usize = 16;
    /// How long one may take to send the head of a request.
    const SLOWEST_HEAD: Duration = Duration::from_secs(5);
    /// How often histograms are added up, whether anybody reads them or not.
    const ADD_UP_EVERY: Duration = Duration::from_secs(5);

    /// Begins to answer. Call it on the main runtime.
    ///
    /// # Errors
    /// What the operating system has against it.
    pub fn serve(listener: TcpListener, exposition: Exposition, app: App) -> io::Result<Self> {
        let adding_up = add_up(exposition.clone());
        let (app, exposition) = (web::Data::new(app), web::Data::new(exposition));
        let routes = move || {
            let metrics = web::resource("/metrics").route(web::get().to(scrape));
            actix_web::App::new()
                .app_data(app.clone())
                .app_data(exposition.clone())
                .wrap(from_fn(in_flight))
                .service(metrics)
        };
        let connections = Connections::new(Self::SLOWEST_HEAD);
        let watching = connections.clone().watch();
        let server = HttpServer::new(routes)
            .on_connect(move |connection, data| connections.add(connection, data))
            .workers(1)
            .max_connections(Self::MOST_CONNECTIONS)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(Self::SLOWEST_HEAD)
            .listen(listener)?
            .disable_signals()
            .run();
        let handle = server.handle();
        let serving = async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "metrics cannot be read any more");
            }
        };
        let runtime = Handle::current();
        let tasks =
            [runtime.spawn(serving), runtime.spawn(adding_up), runtime.spawn(watching)].map(AbortOnDropHandle::new);
        Ok(Self { server: handle, _tasks: tasks })
    }

    /// Ends it, whoever is reading.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn add_up(exposition: Exposition) {
    let mut due = interval(Scrapes::ADD_UP_EVERY);
    loop {
        due.tick().await;
        exposition.add_up();
    }
}

/// How long the store may take to say that it can work. A scrape has ten seconds, if nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(3);

async fn scrape(app: web::Data<App>, exposition: web::Data<Exposition>) -> HttpResponse {
    measure(&app).await;
    HttpResponse::Ok().content_type(Exposition::MEDIA_TYPE).body(exposition.text())
}

/// What is not counted as it happens is looked at when somebody wants to know.
async fn measure(app: &App) {
    app.admission.measure();
    app.replays.measure().await;
    app.store.measure();
    let health = rt::time::timeout(PATIENCE, health::ask(app)).await;
    metrics::STORE_UP.set((), u64::from(matches!(health, Ok(Ok(_)))));
}
