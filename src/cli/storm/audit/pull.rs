//! Pulls a client's books through the API, and reads them while they come.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Books;
use crate::phone::{Phone, Route};

/// How many pieces of an answer are held at once.
const PIECES: usize = 16;
/// How long to wait before a pull that failed is made again, if the server says nothing.
const PAUSE: Duration = Duration::from_millis(500);

/// Everything of the phone's client. Pulls again until it is there, but begins no pull when `patience` is over.
///
/// # Errors
/// Why it could not be had, in one line.
pub async fn pull(phone: &Phone, patience: Duration) -> Result<Books, String> {
    let deadline = Instant::now() + patience;
    loop {
        let (wait, why) = match once(phone).await {
            Ok(books) => return Ok(books),
            Err(failure) => failure,
        };
        if Instant::now() + wait > deadline {
            return Err(why);
        }
        sleep(wait).await;
    }
}

/// Pulls once; or says how long to wait, and what was wrong.
async fn once(phone: &Phone) -> Result<Books, (Duration, String)> {
    let failed = |error: &dyn std::fmt::Display| (PAUSE, error.to_string());
    let mut answer = phone.begin(Route::Sync, Bytes::new(), None).await.map_err(|error| failed(&error))?;
    let head = answer.head();
    if head.status != 200 {
        let why = format!("the pull was answered with {}", head.status);
        return Err((head.retry_after.unwrap_or(PAUSE), why));
    }
    let (pieces, arriving) = channel(PIECES);
    let reading = spawn_blocking(move || Books::read(Pieces { arriving, piece: Bytes::new() }));
    let broken = loop {
        match answer.piece().await {
            Ok(Some(piece)) => {
                // A reader that has gone has found an error, which it tells below.
                if pieces.send(Ok(piece)).await.is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    if let Some(why) = &broken {
        // Else the reader would take the end of a cut body for the end of the books.
        let _ = pieces.send(Err(io::Error::other(why.clone()))).await;
    }
    drop(pieces);
    let read = reading.await.map_err(|error| failed(&error))?;
    match (read, broken) {
        (_, Some(why)) => Err((PAUSE, why)),
        (Ok(books), None) => Ok(books),
        (Err(error), None) => Err(failed(&format_args!("the answer to the pull cannot be read: {error}"))),
    }
}

/// The body of an answer as something to read from, on a thread that may wait.
struct Pieces {
    arriving: Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.arriving.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
