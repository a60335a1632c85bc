//! A server on the loopback address that publishes a key set, and what goes wrong with such servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

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
}

impl KeyServer {
    /// One that publishes this set.
    pub fn start(set: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ends) = (AtomicU32::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { answer: Mutex::new(with_status("200 OK", set)), asked, ends });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&listener)
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
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
            let _ = stream.and_then(|stream| self.serve_one(stream));
        }
    }

    fn serve_one(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
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
