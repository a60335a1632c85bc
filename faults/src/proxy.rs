//! A TCP proxy that treats what passes through it badly: it cuts connections, truncates what is sent, delays it,
//! and sends whole requests a second time. Its dice come from the seed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What passes through, as far as the proxy must know it to send a whole request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One request on each connection, which is whole once the answer begins.
    Http,
    /// MongoDB's messages, each with its length in front. One that belongs to a transaction is never sent twice:
    /// TCP does not do that, and a driver does it only under a new number.
    MongoWithTransactions,
    /// The same, where every message may come twice and late.
    Mongo,
}

/// A proxy that listens until it is dropped.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Mutex<String>,
    protocol: Protocol,
    dice: Mutex<ChaCha8Rng>,
    is_calm: AtomicBool,
    is_closed: AtomicBool,
    faults: AtomicU32,
    connections: AtomicUsize,
}

/// What happens to one piece of data.
enum Treatment {
    Forward,
    Delay(Duration),
    Cut,
    Truncate(usize),
}

impl Proxy {
    /// Listens on a port of its own, calm at first, and forwards to `upstream`.
    pub fn start(protocol: Protocol, upstream: &str, dice: ChaCha8Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            protocol,
            dice: Mutex::new(dice),
            is_calm: AtomicBool::new(true),
            is_closed: AtomicBool::new(false),
            faults: AtomicU32::new(0),
            connections: AtomicUsize::new(0),
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared }
    }

    /// Where it listens, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets everything pass from now on, or not.
    pub fn set_calm(&self, is_calm: bool) {
        self.shared.is_calm.store(is_calm, Ordering::Relaxed);
    }

    /// Forwards new connections to this address.
    pub fn set_upstream(&self, address: &str) {
        address.clone_into(&mut self.shared.upstream.lock().expect("no holder of this lock panics"));
    }

    /// Takes the dice of a new round.
    pub fn set_dice(&self, dice: ChaCha8Rng) {
        *self.shared.dice.lock().expect("no holder of this lock panics") = dice;
    }

    /// How many faults it has made since it was last asked.
    pub fn take_faults(&self) -> u32 {
        self.shared.faults.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn treat(&self, length: usize) -> Treatment {
        if self.is_calm.load(Ordering::Relaxed) {
            return Treatment::Forward;
        }
        let mut dice = self.dice.lock().expect("no holder of this lock panics");
        // A batch is two pieces for a phone, and some dozens between the server and MongoDB.
        let pieces = if self.protocol == Protocol::Http { 100 } else { 1500 };
        let treatment = match dice.random_range(0..pieces) {
            0..=2 => Treatment::Cut,
            3..=5 => Treatment::Truncate(dice.random_range(0..length)),
            6..=25 => Treatment::Delay(Duration::from_millis(dice.random_range(1..120))),
            _ => return Treatment::Forward,
        };
        self.faults.fetch_add(1, Ordering::Relaxed);
        treatment
    }

    /// Whether to send a request again, and after how long.
    fn duplicate(&self) -> Option<Duration> {
        if self.is_calm.load(Ordering::Relaxed) {
            return None;
        }
        let mut dice = self.dice.lock().expect("no holder of this lock panics");
        let often = if self.protocol == Protocol::Http { 8 } else { 60 };
        let after = dice.random_ratio(1, often).then(|| Duration::from_millis(dice.random_range(0..300)))?;
        self.faults.fetch_add(1, Ordering::Relaxed);
        Some(after)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let upstream = self.upstream.lock().expect("no holder of this lock panics").clone();
        TcpStream::connect(upstream)
    }

    /// Sends a whole request on a connection of its own, and lets the answer go nowhere.
    fn send_again(self: &Arc<Self>, request: Vec<u8>, after: Duration) {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(after);
            let Ok(mut stream) = shared.connect() else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            if stream.write_all(&request).is_ok() {
                let _ = stream.read(&mut [0; 1]);
            }
        });
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        // A bound, so that no storm can take all threads; who finds it full is cut off.
        if shared.connections.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            continue;
        }
        let Ok(upstream) = shared.connect() else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = serve(&stream, &upstream, &shared);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Pumps both ways until either end or the dice close the connection, which closes both.
fn serve(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let request = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = match shared.protocol {
                Protocol::Http => pump(client, server, shared, |piece| remember(&request, piece)),
                Protocol::Mongo | Protocol::MongoWithTransactions => pump_messages(client, server, shared),
            };
            close(client, server);
        });
        // The answer has begun, so the request is whole.
        let answered = |_: &[u8]| {
            let request = std::mem::take(&mut *request.lock().expect("no holder of this lock panics"));
            if !request.is_empty()
                && request.len() < LARGEST_REQUEST
                && let Some(after) = shared.duplicate()
            {
                shared.send_again(request, after);
            }
        };
        let _ = pump(server, client, shared, answered);
        close(client, server);
    });
    Ok(())
}

fn remember(request: &Mutex<Vec<u8>>, piece: &[u8]) {
    let mut request = request.lock().expect("no holder of this lock panics");
    if request.len() < LARGEST_REQUEST {
        request.extend_from_slice(piece);
    }
}

fn pump(mut from: &TcpStream, to: &TcpStream, shared: &Shared, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        see(&buffer[..length]);
        pass(&buffer[..length], to, shared)?;
    }
}

fn pump_messages(mut from: &TcpStream, to: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    loop {
        let mut message = vec![0; 4];
        from.read_exact(&mut message)?;
        let length = i32::from_le_bytes([message[0], message[1], message[2], message[3]]);
        let length = usize::try_from(length).ok().filter(|length| (16..LARGEST_MESSAGE).contains(length));
        message.resize(length.ok_or(io::ErrorKind::InvalidData)?, 0);
        from.read_exact(&mut message[4..])?;
        pass(&message, to, shared)?;
        if shared.protocol == Protocol::Mongo
            && let Some(after) = shared.duplicate()
        {
            shared.send_again(message, after);
        }
    }
}

/// Treats one piece; an error means that the connection is to be closed.
fn pass(piece: &[u8], mut to: &TcpStream, shared: &Shared) -> io::Result<()> {
    match shared.treat(piece.len()) {
        Treatment::Forward => to.write_all(piece),
        Treatment::Delay(time) => {
            thread::sleep(time);
            to.write_all(piece)
        }
        Treatment::Truncate(length) => {
            to.write_all(&piece[..length])?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Treatment::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn close(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

const MOST_CONNECTIONS: usize = 256;
const LARGEST_REQUEST: usize = 256 << 10;
const LARGEST_MESSAGE: usize = 48 << 20;
