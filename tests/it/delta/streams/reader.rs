//! A phone that takes an answer as slowly as the test wants: bytes are read when it says so, and not before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::Phone;

/// An answer that is under way.
pub struct SlowReader {
    stream: TcpStream,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// What has come of the body, as it came.
    raw: Vec<u8>,
}

/// How an answer ended.
pub enum End {
    /// It is whole: the body, without its chunks.
    Whole(Vec<u8>),
    /// The connection ended before the body did; what had come of it.
    BrokenOff(Vec<u8>),
}

impl End {
    /// The body, if it is whole.
    pub fn whole(self) -> Option<Vec<u8>> {
        if let Self::Whole(body) = self { Some(body) } else { None }
    }
}

impl SlowReader {
    /// Asks for the whole dataset, and reads as far as the end of the answer's head.
    pub fn pull(phone: &Phone) -> Self {
        let head = "POST /api/sync HTTP/1.1\r\nContent-Length: 0\r\n";
        let address = phone.url.trim_start_matches("http://").parse::<std::net::SocketAddr>().expect("an address");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        // What the kernel takes off the server's hands is little.
        socket.set_recv_buffer_size(READ).expect("a small buffer");
        socket.connect(&address.into()).expect("the server listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(READ_DEADLINE)).expect("a deadline");
        let rest = format!("Host: server\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n", phone.token);
        stream.write_all(format!("{head}{rest}").as_bytes()).expect("the server takes it");
        let mut reader = Self { stream, head: String::new(), raw: Vec::new() };
        while reader.head.is_empty() {
            assert!(reader.read(), "no head: {}", String::from_utf8_lossy(&reader.raw));
            if let Some(end) = reader.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                reader.head = String::from_utf8_lossy(&reader.raw[..end]).to_ascii_lowercase();
                reader.raw.drain(..end + 4);
            }
        }
        reader
    }

    /// Reads so many bytes of the body in all, or to its end.
    pub fn read_up_to(&mut self, bytes: usize) {
        while self.raw.len() < bytes && self.read() {}
    }

    /// Reads all that is left, as fast as it comes.
    pub fn finish(mut self) -> End {
        while self.read() {}
        match self.head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            Some(length) if length.parse() == Ok(self.raw.len()) => End::Whole(self.raw),
            Some(_) => End::BrokenOff(self.raw),
            None => self.dechunked(),
        }
    }

    /// The next bytes, if there are any.
    fn read(&mut self) -> bool {
        let mut bytes = vec![0; READ];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.raw.extend_from_slice(&bytes[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error} after {} bytes of the body", self.raw.len()),
        }
    }

    fn dechunked(&self) -> End {
        assert!(self.head.contains("transfer-encoding: chunked"), "{}", self.head);
        let (mut rest, mut body) = (&self.raw[..], Vec::new());
        while let Some(line) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
            let length =
                std::str::from_utf8(&rest[..line]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
            let length = length.expect("the length of a chunk");
            let Some(chunk) = rest.get(line + 2..line + 2 + length + 2) else { break };
            body.extend_from_slice(&chunk[..length]);
            rest = &rest[line + 2 + length + 2..];
            if length == 0 {
                assert!(rest.is_empty(), "bytes after the final chunk");
                return End::Whole(body);
            }
        }
        End::BrokenOff(body)
    }
}

/// How much is read at once.
const READ: usize = 64 << 10;

/// How long the next bytes may take.
const READ_DEADLINE: Duration = Duration::from_secs(60);
