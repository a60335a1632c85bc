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

/// Sends the bytes and gives all answers up to the server's end of the connection or, of an honest request, its answer.
///
/// A request that is not honest may wait for bytes that never come: our end of the connection is closed behind it.
pub fn exchange(address: &str, bytes: &[u8], is_honest: bool) -> Result<Vec<Reply>, String> {
    let stream = TcpStream::connect(address).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    std::thread::scope(|scope| {
        // Beside the reading: a server may answer before it has heard the end, and does not hear more then.
        scope.spawn(|| {
            let _ = (&stream).write_all(bytes);
            if !is_honest {
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
        let heard = read(&stream, is_honest);
        let _ = stream.shutdown(Shutdown::Both); // ends the writing
        heard
    })
}

fn read(mut stream: &TcpStream, is_honest: bool) -> Result<Vec<Reply>, String> {
    let start = Instant::now();
    let mut heard = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while start.elapsed() < DEADLINE {
        match stream.read(&mut chunk) {
            Ok(length @ 1..) => heard.extend(&chunk[..length]),
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                return Err(format!("no end within {DEADLINE:?} ({error}) of {}", heard.escape_ascii()));
            }
            _ if is_honest => return Err(format!("the connection ended with {}", heard.escape_ascii())),
            _ => return replies(&heard),
        }
        if is_honest
            && let Ok(replies) = replies(&heard)
            && replies.iter().any(|reply| reply.status >= 200)
        {
            return Ok(replies);
        }
    }
    Err(format!("no end within {DEADLINE:?} of {}", heard.escape_ascii()))
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
