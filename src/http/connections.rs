//! Ends connections on which nothing is asked for.
//!
//! actix limits how long the first head of a connection may take, and how long a connection may be silent after an
//! answer. It limits neither a later head that has begun nor a body that nobody reads, so a stranger could hold
//! connections for ever. Here each connection counts the seconds since its last answer; what a request that is in
//! flight may take is its handler's affair.

use std::any::Any;
use std::io::ErrorKind;
use std::mem::{self, MaybeUninit};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use socket2::{SockRef, Socket};
use tokio::time::{MissedTickBehavior, interval};

/// How long a connection may be silent after an answer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The connections of one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    all: Arc<Mutex<Vec<Weak<Connection>>>>,
    /// Idle seconds after which nothing more is read. What is on its way to the phone is still sent.
    longest_idle: u32,
}

/// A connection, for as long as actix has it.
#[derive(Debug)]
struct Connection {
    /// The connection's own socket once more, to end it by. actix only lends it, and the number of a descriptor that may
    /// have been closed meanwhile is nothing to act on. So each connection takes two descriptors.
    socket: Socket,
    /// Seconds since a request was in flight, or [`Connection::BUSY`].
    idle: AtomicU32,
}

/// A request whose head has come and whose answer is not yet handed over in full.
#[derive(Debug)]
pub struct InFlight(Arc<Connection>);

/// The body of an answer, which is in flight until it is handed over or dropped.
#[derive(Debug)]
pub struct Answer {
    body: BoxBody,
    _in_flight: Option<InFlight>,
}

impl Connections {
    const TICK: Duration = Duration::from_secs(1);
    /// How many seconds later nothing more is sent either.
    const FAREWELL: u32 = 285;

    /// None yet. Each may be silent for [`KEEP_ALIVE`], and then take so long to send the head of a request.
    pub fn new(slowest_head: Duration) -> Self {
        let longest_idle = u32::try_from((KEEP_ALIVE + slowest_head).as_secs()).unwrap_or(u32::MAX / 2);
        Self { all: Arc::default(), longest_idle }
    }

    /// Takes note of a new connection. `data` is what its requests find of it.
    pub fn add(&self, connection: &dyn Any, data: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        let socket = SockRef::from(stream);
        match socket.try_clone() {
            Ok(socket) => {
                let connection = Arc::new(Connection { socket, idle: AtomicU32::new(0) });
                self.lock().push(Arc::downgrade(&connection));
                data.insert(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection that cannot be watched is not served");
                // Fails if the phone has gone already.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Ends those that are idle for too long, for ever.
    pub async fn watch(self) {
        let mut due = interval(Self::TICK);
        // A process that was held up has not given anybody less time.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // New ones need not wait for all others to be looked at.
            let mut watched = mem::take(&mut *self.lock());
            watched.retain(|connection| {
                connection.upgrade().inspect(|connection| connection.tick(self.longest_idle)).is_some()
            });
            let mut added = self.lock();
            watched.append(&mut added);
            *added = watched;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    const BUSY: u32 = u32::MAX;

    fn tick(&self, longest_idle: u32) {
        let one_more = |idle| (idle != Self::BUSY).then(|| idle + 1);
        let before = self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let end = match before {
            // For actix it is a phone that will ask for nothing more: it sends what is left to be sent, and closes.
            Ok(idle) if idle == longest_idle => Shutdown::Read,
            // From here on the kernel resets whoever still sends, and nobody can be slow in taking an answer.
            Ok(idle) if idle == longest_idle + Connections::FAREWELL => Shutdown::Both,
            _ => return,
        };
        // Fails if the phone has gone already.
        let _ = self.socket.shutdown(end);
    }
}

impl InFlight {
    /// Begins a request; `None` if nobody took note of its connection.
    pub fn begin(request: &ServiceRequest) -> Option<Self> {
        let connection = request.conn_data::<Arc<Connection>>()?;
        connection.idle.store(Connection::BUSY, Ordering::Relaxed);
        Some(Self(Arc::clone(connection)))
    }
}

impl InFlight {
    /// Whether the phone has closed its side. It has hung up then: one that waits for an answer keeps its side open, though
    /// TCP would let it go on listening.
    pub fn is_abandoned(&self) -> bool {
        match self.0.socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle.store(0, Ordering::Relaxed);
    }
}

impl Answer {
    /// The body of the answer to this request.
    pub fn new(body: BoxBody, in_flight: Option<InFlight>) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// Counts a request as in flight where there is no envelope to do so.
///
/// # Errors
/// None of ours.
pub async fn in_flight(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Answer>, actix_web::Error> {
    let in_flight = InFlight::begin(&request);
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Answer::new(body.boxed(), in_flight)))
}
