//! Reads a request's body, within bounds and decoded.

use std::time::Duration;

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::App;
use super::admission::Admitted;
use super::encoding::Coding;
use super::error::ApiError;
use crate::metrics::Phase;

/// How long a phone may pause while it sends a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long it may take in all, so that one that trickles does not keep its place for ever.
const LONGEST_UPLOAD: Duration = Duration::from_secs(300);

/// Reads a body of at most `max_body_bytes`, before as after decoding. The request holds its memory.
///
/// # Errors
/// [`ApiError`] 400, 413, 415 or 503.
pub async fn read(
    headers: &HeaderMap,
    payload: web::Payload,
    admitted: &Admitted,
    app: &App,
) -> Result<Vec<u8>, ApiError> {
    let limit = app.limits.max_body_bytes;
    let coding = Coding::of_body(headers)?;
    let stated = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > limit) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let trace = admitted.trace();
    let body = trace.during_async(Phase::Read, receive(payload, stated, limit, admitted)).await?;
    trace.received(body.len());
    if coding == Coding::Identity || body.is_empty() {
        return Ok(body);
    }
    let holder = admitted.clone();
    let decode = move || {
        let reserve = |decoded| holder.hold(body.capacity() + decoded);
        holder.trace().during(Phase::Read, || coding.decode(&body, limit, reserve))
    };
    let decoded = app.compute(admitted, decode).await??;
    admitted.hold(decoded.capacity())?;
    Ok(decoded)
}

/// Takes in a body of a stated length, or of one that turns out.
async fn receive(
    mut payload: web::Payload,
    stated: Option<usize>,
    limit: usize,
    admitted: &Admitted,
) -> Result<Vec<u8>, ApiError> {
    let late = Instant::now() + LONGEST_UPLOAD;
    let mut body = Vec::new();
    grow(&mut body, stated.unwrap_or_default(), admitted)?;
    while let Some(chunk) = timeout(LONGEST_PAUSE, payload.next()).await.map_err(|_| ApiError::BrokenBody)? {
        let chunk = chunk.map_err(|_| ApiError::BrokenBody)?;
        let length = body.len() + chunk.len();
        if length > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        if Instant::now() > late {
            return Err(ApiError::BrokenBody);
        }
        if length > body.capacity() {
            let room = length.max(2 * body.capacity()).min(limit);
            grow(&mut body, room, admitted)?;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn grow(body: &mut Vec<u8>, room: usize, admitted: &Admitted) -> Result<(), ApiError> {
    admitted.hold(room)?;
    body.reserve_exact(room - body.len());
    Ok(())
}
