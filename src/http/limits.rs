//! `GET /api/sync/limits`: how much may a request hold, and how often may one come?

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::admission::LONGEST_WAIT as LONGEST_TURN;
use super::reconcile::MOST_IDS;
use super::sync::LONGEST_WAIT;
use crate::batch::Bounds;

/// Answers what this server was told, and nothing of any client. So it needs no token: an app may ask before anybody
/// has logged in.
pub async fn limits(app: web::Data<App>) -> HttpResponse {
    let limits = &app.limits;
    HttpResponse::Ok().json(Published {
        success: true,
        version: env!("CARGO_PKG_VERSION"),
        body: BodyLimits {
            bytes: limits.max_body_bytes,
            encodings: ["gzip", "br", "zstd", "identity"],
            seconds: limits.longest_upload.as_secs(),
            pause_seconds: limits.longest_pause.as_secs(),
        },
        batch: Bounds::of(limits.max_operations),
        require_idempotency_key: limits.require_idempotency_key,
        reconcile_ids: MOST_IDS,
        rate: app.access.buckets.as_ref().map(|buckets| buckets.rate().into()),
        timeouts: Timeouts { turn_seconds: LONGEST_TURN.as_secs(), answer_seconds: LONGEST_WAIT.as_secs() },
    })
}

/// How much a request may hold, and how often one may come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Limits)]
pub struct Published {
    /// True.
    success: bool,
    /// Of the server.
    version: &'static str,
    /// Of a body.
    body: BodyLimits,
    /// Of a batch and its answer.
    batch: Bounds,
    /// Whether a batch that writes must have an idempotency key.
    require_idempotency_key: bool,
    /// Ids of a reconcile.
    reconcile_ids: usize,
    /// How often a client may ask; null if that is not limited.
    rate: Option<RateLimits>,
    /// How long a request may take.
    timeouts: Timeouts,
}

/// Limits of a body.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BodyLimits {
    /// Its bytes, before as after decompression.
    bytes: usize,
    /// The content codings that are taken.
    #[schema(value_type = Vec<String>)]
    encodings: [&'static str; 4],
    /// For how many seconds it may be on its way.
    seconds: u64,
    /// For how many seconds nothing of it may come.
    pause_seconds: u64,
}

/// Limits of a client's requests, all of them together.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimits {
    /// Each minute, in the long run.
    per_minute: u32,
    /// At once, after a pause.
    burst: u32,
}

impl From<super::Rate> for RateLimits {
    fn from(rate: super::Rate) -> Self {
        Self { per_minute: rate.per_minute.get(), burst: rate.burst.get() }
    }
}

/// How long a request may take.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Seconds for which it may wait for its turn.
    turn_seconds: u64,
    /// Seconds after which it is answered in any case, after the body has arrived and was read.
    answer_seconds: u64,
}
