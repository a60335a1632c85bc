//! `GET /api/sync/limits`: how much may a request hold, and how often may one come?

use actix_web::{HttpResponse, web};
use serde::Serialize;

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
        body: Body {
            bytes: limits.max_body_bytes,
            encodings: ["gzip", "br", "zstd", "identity"],
            seconds: limits.longest_upload.as_secs(),
            pause_seconds: limits.longest_pause.as_secs(),
        },
        batch: Bounds::of(limits.max_operations),
        require_idempotency_key: limits.require_idempotency_key,
        reconcile_ids: MOST_IDS,
        rate: app.access.buckets.as_ref().map(|buckets| Rate::from(buckets.rate())),
        timeouts: Timeouts { turn_seconds: LONGEST_TURN.as_secs(), answer_seconds: LONGEST_WAIT.as_secs() },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Published {
    success: bool,
    version: &'static str,
    body: Body,
    batch: Bounds,
    require_idempotency_key: bool,
    reconcile_ids: usize,
    rate: Option<Rate>,
    timeouts: Timeouts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    bytes: usize,
    encodings: [&'static str; 4],
    seconds: u64,
    pause_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    per_minute: u32,
    burst: u32,
}

impl From<super::Rate> for Rate {
    fn from(rate: super::Rate) -> Self {
        Self { per_minute: rate.per_minute.get(), burst: rate.burst.get() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeouts {
    turn_seconds: u64,
    answer_seconds: u64,
}
