//! A phone: a client of the API, as the program's own tools use it against a server, near or far.
//!
//! It sends and hands back bytes and looks into neither, so that thousands of phones in one process cost little more
//! than their connections, of which all phones of a [`Server`] share one pool.

mod address;
mod answer;
mod arriving;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, ClientBuilder};

pub use address::{Address, AddressError};
pub use answer::Answer;
pub use arriving::Arriving;

/// A server, as a phone sees it: where it is, and the connections to it. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Server {
    http: Client,
    address: Arc<Address>,
    patience: Duration,
}

/// A phone that is logged in. Clones are the same phone, and cheap.
#[derive(Clone)]
pub struct Phone {
    server: Server,
    authorization: HeaderValue,
}

/// What a phone can ask for, all by POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/api/readytosync`: is the token still good?
    Ready,
    /// `/api/sync`: here is the queue; give me the truth back.
    Sync,
    /// `/api/sync/validate`: what would come of this queue?
    Validate,
    /// `/api/sync/reconcile`: is this in the books?
    Reconcile,
}

/// Why there is no answer, in one line. What became of the request is unknown, but for the first two.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The key holds what no header can carry. Nothing was sent.
    #[error("the idempotency key cannot be sent: it holds control characters")]
    Key,
    /// There is no connection. Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The answer took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// The connection was lost before the answer was there.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// A token that no header can carry.
#[derive(Debug, thiserror::Error)]
#[error("the token is not one: it holds characters that no token has")]
pub struct TokenError;

/// How long a connection may take to come about: to all addresses of a name together, one after the other.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses is kept: less than the 5 seconds after which the server closes it.
const IDLE: Duration = Duration::from_secs(4);

impl Server {
    /// The server at an address. Each request is given up after `patience`, its answer read to the end included.
    ///
    /// # Errors
    /// [`AddressError`], if this machine has no certificates to know an https server by.
    pub fn at(address: Address, patience: Duration) -> Result<Self, AddressError> {
        let http = http(&address, patience).build().map_err(|error| AddressError::Certificates(reason(error)))?;
        Ok(Self { http, address: Arc::new(address), patience })
    }

    /// A phone that shows this token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn phone(&self, token: &str) -> Result<Phone, TokenError> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| TokenError)?;
        authorization.set_sensitive(true);
        Ok(Phone { server: self.clone(), authorization })
    }

    /// How the server is, which it tells everybody: `GET /api/health`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn health(&self) -> Result<Answer, SendError> {
        self.get("/api/health").await
    }

    /// How much a request may hold, which it tells everybody: `GET /api/sync/limits`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn limits(&self) -> Result<Answer, SendError> {
        self.get("/api/sync/limits").await
    }

    async fn get(&self, path: &str) -> Result<Answer, SendError> {
        let answer = async { Answer::read(self.http.get(self.address.below(path)).send().await?).await };
        answer.await.map_err(|error| self.why(error))
    }

    fn why(&self, error: reqwest::Error) -> SendError {
        if error.is_connect() {
            SendError::Connect(reason(error))
        } else if error.is_timeout() {
            SendError::Late(self.patience)
        } else {
            SendError::Lost(reason(error))
        }
    }
}

impl Phone {
    /// Sends a batch, with its idempotency key if it has one. Without a body it is a pull.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn sync(&self, batch: impl Into<Bytes>, key: Option<&str>) -> Result<Answer, SendError> {
        self.send(Route::Sync, batch, key).await
    }

    /// Asks what would come of a batch.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn validate(&self, batch: impl Into<Bytes>, key: Option<&str>) -> Result<Answer, SendError> {
        self.send(Route::Validate, batch, key).await
    }

    /// Asks whether the token is still good.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn ready(&self) -> Result<Answer, SendError> {
        self.send(Route::Ready, Bytes::new(), None).await
    }

    /// Sends any request. An answer is an answer, whatever its status is.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, route: Route, body: impl Into<Bytes>, key: Option<&str>) -> Result<Answer, SendError> {
        let response = self.respond(route, body.into(), key).await?;
        Answer::read(response).await.map_err(|error| self.server.why(error))
    }

    /// Sends any request, and leaves the body of the answer to be taken in as it comes.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn begin(&self, route: Route, body: impl Into<Bytes>, key: Option<&str>) -> Result<Arriving, SendError> {
        Ok(Arriving::new(self.respond(route, body.into(), key).await?, self.server.clone()))
    }

    async fn respond(&self, route: Route, body: Bytes, key: Option<&str>) -> Result<reqwest::Response, SendError> {
        let url = self.server.address.of(route);
        let mut request = self.server.http.post(url).header(AUTHORIZATION, self.authorization.clone());
        if let Some(key) = key {
            request = request.header("x-idempotency-key", HeaderValue::from_str(key).map_err(|_| SendError::Key)?);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request.body(body).send().await.map_err(|error| self.server.why(error))
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone").field("address", &self.server.address).finish_non_exhaustive()
    }
}

impl Route {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Sync, Self::Validate, Self::Reconcile];

    /// The path below the server's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Ready => "/api/readytosync",
            Self::Sync => "/api/sync",
            Self::Validate => "/api/sync/validate",
            Self::Reconcile => "/api/sync/reconcile",
        }
    }
}

/// How requests to an address are made.
fn http(address: &Address, patience: Duration) -> ClientBuilder {
    // An error says that the process has one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(CONNECT.min(patience))
        .timeout(patience)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        // A token is for this server alone, and what is measured is this server.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if address.is_secure() { builder } else { builder.tls_certs_only([]) }
}

/// The innermost cause: the outer ones only say that a request failed.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::thread;

    use super::*;

    /// One that takes connections and never answers the handshake of TCP: its queue is full.
    fn silent(port: u16) -> (socket2::Socket, Vec<socket2::Socket>) {
        let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), port)).into();
        let full = stream();
        full.bind(&address).unwrap();
        full.listen(0).unwrap();
        let waiting = (0..4).map(|_| {
            let one = stream();
            one.set_nonblocking(true).unwrap();
            // Most of them are under way for ever.
            let _ = one.connect(&address);
            one
        });
        let waiting = waiting.collect();
        (full, waiting)
    }

    /// One that refuses, one that is silent, and one that answers.
    #[tokio::test]
    async fn all_addresses_of_a_name_are_tried_within_the_time() {
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = live.local_addr().unwrap().port();
        let _silent = silent(port);
        let answering = thread::spawn(move || {
            let (mut connection, _) = live.accept().unwrap();
            let _ = connection.read(&mut [0; 1024]).unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        });
        let address: Address = format!("http://shop.test:{port}").parse().unwrap();
        let patience = Duration::from_secs(3);
        let addresses = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 1]].map(|host| SocketAddr::from((host, port)));
        let http = http(&address, patience).resolve_to_addrs("shop.test", &addresses).build().unwrap();
        let server = Server { http, address: Arc::new(address), patience };
        assert_eq!(server.health().await.unwrap().status, 200);
        answering.join().unwrap();
    }
}
