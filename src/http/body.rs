//! Reads a request's body, within bounds and decoded.

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::admission::Admitted;
use super::encoding::Coding;
use super::error::ApiError;
use super::{App, Limits};
use crate::metrics::Phase;

/// Reads a body of at most `max_body_bytes`, before as after decoding. The request holds its memory.
///
/// # Errors
/// [`ApiError`] 400, 408, 413, 415 or 503.
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
    let body = trace.during_async(Phase::Read, receive(payload, stated, admitted, app)).await?;
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

/// Takes in a body of a stated length, or of one that turns out. A phone may pause, and may be slow, but one that
/// trickles does not keep its place for ever.
async fn receive(
    mut payload: web::Payload,
    stated: Option<usize>,
    admitted: &Admitted,
    app: &App,
) -> Result<Vec<u8>, ApiError> {
    let Limits { max_body_bytes: limit, longest_pause, longest_upload, .. } = app.limits;
    let late = Instant::now() + longest_upload;
    let mut body = Vec::new();
    grow(&mut body, stated.unwrap_or_default(), admitted)?;
    loop {
        let patience = late.min(Instant::now() + longest_pause);
        let next = timeout_at(patience, payload.next()).await.map_err(|_| ApiError::SlowBody)?;
        let Some(chunk) = next else { return Ok(body) };
        let chunk = chunk.map_err(|_| ApiError::BrokenBody)?;
        let length = body.len() + chunk.len();
        if length > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        if length > body.capacity() {
            let room = length.max(2 * body.capacity()).min(limit);
            grow(&mut body, room, admitted)?;
        }
        body.extend_from_slice(&chunk);
    }
}

fn grow(body: &mut Vec<u8>, room: usize, admitted: &Admitted) -> Result<(), ApiError> {
    admitted.hold(room)?;
    body.reserve_exact(room - body.len());
    Ok(())
}
