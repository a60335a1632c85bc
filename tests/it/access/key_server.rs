//! A server on the loopback address that publishes a key set, and what goes wrong with such servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::issuer::key_file;

/// It answers every request in the same way, until told another one.
pub struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Mutex<String>,
    asked: AtomicU32,
    ends: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl KeyServer {
    /// One that publishes this set.
    pub fn start(set: &str) -> Self {
        Self::start_with(set, None)
    }

    /// One that does so over https, under the name of `localhost`.
    pub fn start_https(set: &str) -> Self {
        let certificate = CertificateDer::from_pem_file(key_file("localhost.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(key_file("localhost.key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Self::start_with(set, Some(Arc::new(config.with_single_cert(vec![certificate], key).unwrap())))
    }

    fn start_with(set: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ends) = (AtomicU32::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { answer: Mutex::new(with_status("200 OK", set)), asked, ends, tls });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&listener)
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}/keys", self.address.port()),
            None => format!("http://{}/keys", self.address),
        }
    }

    /// Publishes another set from now on.
    pub fn publish(&self, set: &str) {
        self.answer("200 OK", set);
    }

    /// Answers with this status and body from now on.
    pub fn answer(&self, status: &str, body: &str) {
        *self.shared.answer.lock().unwrap() = with_status(status, body);
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::Acquire)
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ends.load(Ordering::Acquire) {
                return;
            }
            // Whoever hangs up asks again.
            let _ = stream.and_then(|stream| self.greet(stream));
        }
    }

    fn greet(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        match &self.tls {
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(tls)).expect("a TLS configuration");
                let mut stream = StreamOwned::new(connection, stream);
                self.serve_one(&mut stream)?;
                stream.conn.send_close_notify();
                stream.flush()
            }
            None => self.serve_one(stream),
        }
    }

    fn serve_one(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        let answer = self.answer.lock().unwrap().clone();
        self.asked.fetch_add(1, Ordering::AcqRel);
        stream.write_all(answer.as_bytes())
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn with_status(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
