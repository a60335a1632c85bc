//! Reads a request's body, within bounds and decoded.

use std::time::Duration;

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::App;
use super::encoding::Coding;
use super::error::ApiError;

/// How long a phone may pause while it sends a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reads a body of at most `max_body_bytes`, before as after decoding.
///
/// # Errors
/// [`ApiError`] 400, 413 or 415.
pub async fn read(headers: &HeaderMap, mut payload: web::Payload, app: &App) -> Result<Vec<u8>, ApiError> {
    let limit = app.limits.max_body_bytes;
    let coding = Coding::of_body(headers)?;
    let stated = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > limit) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let mut body = Vec::with_capacity(stated.unwrap_or_default().min(1 << 16));
    while let Some(chunk) = timeout(LONGEST_PAUSE, payload.next()).await.map_err(|_| ApiError::BrokenBody)? {
        let chunk = chunk.map_err(|_| ApiError::BrokenBody)?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    match coding {
        Coding::Identity => Ok(body),
        _ if body.is_empty() => Ok(body),
        coding => app.blocking(move || coding.decode(&body, limit)).await?,
    }
}
