//! The body of an answer, which holds its request's place and memory until it is sent.

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
    left: Bytes,
    _held_by: Admitted,
}

impl HeldBody {
    const PIECE: usize = 32 << 10;

    /// The body of the answer to this request.
    pub fn new(bytes: Bytes, admitted: Admitted) -> Self {
        Self { left: bytes, _held_by: admitted }
    }
}

impl MessageBody for HeldBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.left.len().min(Self::PIECE);
        let piece = self.left.split_to(piece);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}
