//! Sends bytes as they are, and reads what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// An answer, byte for byte.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    head: String,
    /// The body as it came, perhaps compressed.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Sends the bytes and gives all answers, up to the server's end of the connection or its honest last one.
///
/// A request that is not honest may wait for bytes that never come: our end of the connection is closed behind it.
pub fn exchange(address: &str, bytes: &[u8], is_honest: bool) -> Result<Vec<Reply>, String> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    // A server that has refused the request may close before it has heard the end of it.
    let _ = stream.write_all(bytes);
    if !is_honest {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut heard = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => heard.extend(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(format!("no end of the answer within {DEADLINE:?}: {error}")),
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("no end of the answer within {DEADLINE:?}"));
        }
    }
    let replies = replies(&heard)?;
    if is_honest && replies.iter().all(|reply| reply.status < 200) {
        return Err(format!("no answer but {}", heard.escape_ascii()));
    }
    Ok(replies)
}

/// All answers of a connection, one after the other.
fn replies(mut bytes: &[u8]) -> Result<Vec<Reply>, String> {
    let mut replies = vec![];
    while !bytes.is_empty() {
        let broken = || format!("no HTTP: {}", bytes.escape_ascii());
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or_else(broken)?;
        let reply = Reply { status, head, body: vec![] };
        let length: usize = reply.header("content-length").map_or(Ok(0), str::parse).map_err(|_| broken())?;
        let body = bytes.get(end + 4..end + 4 + length).ok_or_else(broken)?;
        replies.push(Reply { body: body.to_vec(), ..reply });
        bytes = &bytes[end + 4 + length..];
    }
    Ok(replies)
}

/// How long a request may take from its first byte to the last of its answer, in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);
