//! `GET /api/health`: can this server work?

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use moka::future::Cache;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::ApiError;
use crate::store::{Health, Store, StoreError};

/// Answers `{success, status, engine, transactional, version}`.
///
/// # Errors
/// [`ApiError`] 503 if the store is away.
pub async fn health(app: web::Data<App>) -> Result<HttpResponse, ApiError> {
    let health = ask(&app).await?;
    Ok(HttpResponse::Ok().json(Healthy {
        success: true,
        status: "ok",
        engine: health.engine,
        transactional: health.transactional,
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// The server can work.
#[derive(Serialize, ToSchema)]
pub struct Healthy {
    /// True.
    success: bool,
    /// `ok`.
    status: &'static str,
    /// Where the books are kept: `embedded` or `mongodb`.
    engine: &'static str,
    /// Whether other programs never see the middle of a batch. False on a lone mongod.
    transactional: bool,
    /// Of the server.
    version: &'static str,
}

/// What the store says of itself, or said a moment ago.
///
/// # Errors
/// [`ApiError`] 503 if the store is away.
pub async fn ask(app: &App) -> Result<Health, ApiError> {
    let (store, pulse) = (app.store.clone(), app.health.clone());
    app.run(async move { pulse.feel(store.as_ref()).await }).await?
}

/// What the store said of itself a moment ago. Anybody may ask for it, so however many do, the store is
/// asked one question at a time.
#[derive(Debug, Clone)]
pub struct Pulse(Cache<(), Health>);

impl Pulse {
    /// How long an answer is good for.
    const MOMENT: Duration = Duration::from_millis(200);

    async fn feel(&self, store: &dyn Store) -> Result<Health, ApiError> {
        let asked = self.0.try_get_with((), store.ping()).await;
        asked.map_err(|error: Arc<StoreError>| ApiError::from(error.as_ref()))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1).time_to_live(Self::MOMENT).build())
    }
}
