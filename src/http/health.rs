//! `GET /api/health`: can this server work?

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::App;
use super::error::ApiError;

/// Answers `{success, status, engine, transactional, version}`.
///
/// # Errors
/// [`ApiError`] 503 if the store is away.
pub async fn health(app: web::Data<App>) -> Result<HttpResponse, ApiError> {
    let store = app.store.clone();
    let health = app.run(async move { store.ping().await }).await??;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "status": "ok",
        "engine": health.engine,
        "transactional": health.transactional,
        "version": env!("CARGO_PKG_VERSION"),
    })))
}
