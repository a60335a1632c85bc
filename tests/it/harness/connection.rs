//! A connection that is spoken to byte by byte, as a slow network would.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::client::Phone;

/// A connection to a server.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to the server of this phone.
    pub fn open(phone: &Phone) -> Self {
        let stream = TcpStream::connect(phone.url.trim_start_matches("http://")).expect("the server listens");
        stream.set_read_timeout(Some(READ_DEADLINE)).expect("a deadline");
        Self { stream, received: Vec::new() }
    }

    /// Sends an empty sync.
    pub fn send_pull(&mut self, phone: &Phone) {
        self.send_head(phone, "Content-Length: 0\r\n");
    }

    /// Sends the head of a sync with a key and a body of this length, and none of the body; waits until the server
    /// has the request in hand.
    pub fn begin_sync(&mut self, phone: &Phone, key: &str, length: usize) {
        let headers = format!("X-Idempotency-Key: {key}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n");
        self.send_head(phone, &headers);
        let (head, _) = self.answer();
        assert!(head.starts_with("http/1.1 100"), "{head}");
    }

    /// Sends the head of a sync whose body comes in chunks, and waits until the server has the request in hand.
    pub fn begin_chunked_sync(&mut self, phone: &Phone) {
        self.send_head(phone, "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n");
        let (head, _) = self.answer();
        assert!(head.starts_with("http/1.1 100"), "{head}");
    }

    fn send_head(&mut self, phone: &Phone, headers: &str) {
        let token = &phone.token;
        let head = format!("POST /api/sync HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {token}\r\n{headers}\r\n");
        self.send(head.as_bytes());
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what is sent");
    }

    /// Breaks the connection off, so that the other side hears of it at once.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// Sends bytes as they are, if the server still takes any.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether an answer has begun to come.
    pub fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let come = matches!(self.stream.peek(&mut [0]), Ok(1));
        self.stream.set_nonblocking(false).expect("a socket");
        come
    }

    /// Whether the server has hung up, once all that it sent has been read.
    pub fn is_over(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let mut chunk = [0; 4096];
        let end = loop {
            match self.stream.read(&mut chunk) {
                Ok(length @ 1..) => self.received.extend_from_slice(&chunk[..length]),
                end => break end,
            }
        };
        self.stream.set_nonblocking(false).expect("a socket");
        !matches!(end, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The next answer: its head in lower case, and its body.
    pub fn answer(&mut self) -> (String, String) {
        loop {
            if let Some(answer) = self.take_answer() {
                return answer;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(length @ 1..) => self.received.extend_from_slice(&chunk[..length]),
                end => panic!("the answer broke off ({end:?}): {}", String::from_utf8_lossy(&self.received)),
            }
        }
    }

    /// Takes an answer off what has come, if all of it has.
    fn take_answer(&mut self) -> Option<(String, String)> {
        let end = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let body = self.received.get(end..end + length)?;
        let body = String::from_utf8_lossy(body).into_owned();
        self.received.drain(..end + length);
        Some((head, body))
    }
}

/// How long an answer may take.
const READ_DEADLINE: Duration = Duration::from_secs(40);
