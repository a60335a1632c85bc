//! Answers that are sent while they are read.

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::web::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tracing::Instrument;

use super::App;
use super::admission::Admitted;
use super::connections::LONGEST_ANSWER;
use super::encoding::{Coding, Encoder};
use super::error::ApiError;
use crate::store::{DataStream, StoreError};

/// What is sent in one piece, in bytes: enough to be worth a turn to compute when it is compressed.
const PIECE: usize = 64 << 10;
/// Pieces that wait for the phone.
const WAITING: usize = 2;

/// The body of an answer whose dataset is read as fast as the phone takes it. If that fails in the middle, the
/// body breaks off, which HTTP tells from its end.
pub fn body(head: Bytes, data: DataStream, coding: Coding, admitted: Admitted, app: &App) -> BoxBody {
    let (parts, taken) = mpsc::channel(WAITING);
    let sending = Sending { admitted, app: app.clone(), parts, waiting: Vec::new() };
    app.tasks.spawn_on(sending.run(head, data, coding).in_current_span(), &app.runtime);
    BodyStream::new(stream::unfold(Some(taken), next)).boxed()
}

/// What is handed to the connection. Only the end makes a body complete: a sender that is gone without it, for
/// whatever reason, breaks the body off.
enum Part {
    Piece(Bytes),
    End,
}

type Parts = Receiver<Part>;

async fn next(parts: Option<Parts>) -> Option<(Result<Bytes, BrokenOff>, Option<Parts>)> {
    let mut parts = parts?;
    match parts.recv().await {
        Some(Part::Piece(piece)) => Some((Ok(piece), Some(parts))),
        Some(Part::End) => None,
        None => Some((Err(BrokenOff), None)),
    }
}

/// The body broke off. What happened is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokenOff;

/// Why nothing more is sent.
enum Ended {
    /// The phone has gone.
    Gone,
    /// The dataset cannot be read to its end.
    Failed(String),
}

struct Sending {
    admitted: Admitted,
    app: App,
    parts: Sender<Part>,
    waiting: Vec<u8>,
}

impl Sending {
    async fn run(mut self, head: Bytes, data: DataStream, coding: Coding) {
        match timeout(LONGEST_ANSWER, self.send(head, data, coding)).await {
            Ok(Ok(()) | Err(Ended::Gone)) => {}
            Ok(Err(Ended::Failed(error))) => tracing::error!(error, "an answer broke off"),
            Err(_) => tracing::debug!("a phone takes its answer too slowly; it broke off"),
        }
    }

    async fn send(&mut self, head: Bytes, data: DataStream, coding: Coding) -> Result<(), Ended> {
        let mut encoder = Encoder::new(coding).map_err(|e| Ended::Failed(e.to_string()))?;
        let head = stream::once(std::future::ready(Ok::<_, StoreError>(head)));
        let closing = stream::once(std::future::ready(Ok(Bytes::from_static(b"}"))));
        let mut parts = head.chain(data).chain(closing);
        while let Some(part) = parts.next().await {
            self.waiting.extend_from_slice(&part.map_err(|e| Ended::Failed(e.to_string()))?);
            if self.waiting.len() >= PIECE {
                encoder = self.pass_on(encoder).await?;
            }
        }
        encoder = self.pass_on(encoder).await?;
        let end = encoder.finish().map_err(|e| Ended::Failed(e.to_string()))?;
        self.give(end).await?;
        self.parts.send(Part::End).await.map_err(|_| Ended::Gone)
    }

    async fn pass_on(&mut self, mut encoder: Encoder) -> Result<Encoder, Ended> {
        let part = std::mem::take(&mut self.waiting);
        if let Encoder::Identity(_) = encoder {
            self.give(part).await?;
            return Ok(encoder);
        }
        let encode = move || encoder.push(&part).map(|encoded| (encoder, encoded));
        let encoded = self.app.compute(&self.admitted, encode).await;
        let failed = |e: ApiError| Ended::Failed(e.inside().unwrap_or("overloaded").to_owned());
        let (encoder, encoded) = encoded.map_err(failed)?.map_err(|e| Ended::Failed(e.to_string()))?;
        self.give(encoded).await?;
        Ok(encoder)
    }

    async fn give(&self, piece: Vec<u8>) -> Result<(), Ended> {
        // An empty piece would be the end of the body.
        if piece.is_empty() {
            Ok(())
        } else {
            self.parts.send(Part::Piece(piece.into())).await.map_err(|_| Ended::Gone)
        }
    }
}
