//! Ends connections on which nothing is asked for.
//!
//! actix limits how long the first head of a connection may take, and how long a connection may be silent after an
//! answer. It limits neither a later head that has begun, nor a body that nobody reads, nor an answer that is read byte
//! by byte, so a stranger could hold connections for ever. Here each connection counts the seconds since its last answer,
//! and those that an answer takes.

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

/// How long a phone may take to read an answer: it holds memory, and one that is sent while it is read also a snapshot,
/// and with it what others have changed since.
pub(super) const LONGEST_ANSWER: Duration = Duration::from_secs(600);

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
    /// What goes on, and for how many seconds: [`Connection::IDLE`] and the other two are zero seconds of theirs.
    clock: AtomicU32,
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
                let connection = Arc::new(Connection { socket, clock: AtomicU32::new(Connection::IDLE) });
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
    /// No request is in flight.
    const IDLE: u32 = 0;
    /// One is handled. How long that may take is its handler's affair.
    const WORKING: u32 = 1 << 30;
    /// Its answer is being sent, as fast as the phone takes it.
    const SENDING: u32 = 2 << 30;

    fn begins(&self, what: u32) {
        self.clock.store(what, Ordering::Relaxed);
    }

    fn tick(&self, longest_idle: u32) {
        const SENT: u32 = Connection::SENDING + LONGEST_ANSWER.as_secs() as u32;
        let end = match self.clock.fetch_add(1, Ordering::Relaxed) {
            // For actix it is a phone that will ask for nothing more: it sends what is left to be sent, and closes.
            idle if idle == longest_idle => Shutdown::Read,
            // From here on the kernel resets whoever still sends, and nobody can be slow in taking an answer.
            idle if idle == longest_idle + Connections::FAREWELL => Shutdown::Both,
            SENT => Shutdown::Both,
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
        connection.begins(Connection::WORKING);
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
        self.0.begins(Connection::IDLE);
    }
}

impl Answer {
    /// The body of the answer to this request.
    pub fn new(body: BoxBody, in_flight: Option<InFlight>) -> Self {
        in_flight.as_ref().inspect(|in_flight| in_flight.0.begins(Connection::SENDING));
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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const LONGEST_IDLE: u32 = 15;

    /// A connection, and the phone's end of it.
    fn connection() -> (Arc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let phone = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        phone.set_nonblocking(true).unwrap();
        (Arc::new(Connection { socket: socket.into(), clock: AtomicU32::new(Connection::IDLE) }), phone)
    }

    fn pass(connection: &Connection, seconds: u32) {
        (0..seconds).for_each(|_| connection.tick(LONGEST_IDLE));
    }

    /// Whether the server still would send.
    fn is_open(phone: &mut TcpStream) -> bool {
        phone.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn an_idle_connection_is_read_no_more_and_then_ended() {
        let (connection, mut phone) = connection();
        pass(&connection, LONGEST_IDLE);
        phone.write_all(b"a").unwrap();
        pass(&connection, 1);
        assert!(is_open(&mut phone), "what is left to be sent is sent");
        pass(&connection, Connections::FAREWELL - 1);
        assert!(is_open(&mut phone));
        pass(&connection, 1);
        assert!(!is_open(&mut phone));
    }

    #[test]
    fn an_answer_that_is_read_byte_by_byte_has_an_end() {
        let (connection, mut phone) = connection();
        let in_flight = InFlight(Arc::clone(&connection));
        connection.begins(Connection::WORKING);
        pass(&connection, 10_000);
        assert!(is_open(&mut phone), "the handler has its own limits");
        let answer = Answer::new(BoxBody::new("answer"), Some(in_flight));
        pass(&connection, LONGEST_ANSWER.as_secs() as u32);
        assert!(is_open(&mut phone));
        pass(&connection, 1);
        assert!(!is_open(&mut phone));
        drop(answer);
        assert_eq!(connection.clock.load(Ordering::Relaxed), Connection::IDLE);
    }
}
