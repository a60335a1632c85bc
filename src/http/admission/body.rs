//! The body of an answer, which holds what it must until it is sent: its request's place and memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

/// Bytes that are handed out piece by piece, as fast as the phone takes them, so that what waits to be
/// sent is here and counted, or shared by all who are sent it, and not in a connection's buffer.
#[derive(Debug)]
pub struct HeldBody<H> {
    pieces: VecDeque<Bytes>,
    left: u64,
    _held: H,
}

impl<H> HeldBody<H> {
    const PIECE: usize = 32 << 10;

    /// A body that holds this: the request that it answers, or nothing.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>, held: H) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left, _held: held }
    }
}

impl<H: Unpin> MessageBody for HeldBody<H> {
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
