//! The body of an answer, which holds its request's place and memory until it is sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

use super::Admitted;

/// Bytes that are handed out piece by piece, as fast as the phone takes them, so that what waits to be
/// sent is here and counted, and not in a connection's buffer.
#[derive(Debug)]
pub struct HeldBody {
    pieces: VecDeque<Bytes>,
    left: u64,
    _held_by: Admitted,
}

impl HeldBody {
    const PIECE: usize = 32 << 10;

    /// The body of the answer to this request.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>, admitted: Admitted) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left, _held_by: admitted }
    }
}

impl MessageBody for HeldBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = match self.pieces.front_mut() {
            Some(first) if first.len() > Self::PIECE => Some(first.split_to(Self::PIECE)),
            _ => self.pieces.pop_front(),
        };
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(Ok))
    }
}
