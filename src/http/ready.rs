//! `POST /api/readytosync`: is my token still good?

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::App;
use super::auth::Caller;
use super::body;
use super::error::ApiError;
use crate::batch::check_body_client;

/// Answers `{success, message, clientId}`. The body may name the client, as a batch may.
///
/// # Errors
/// [`ApiError`] 400, 401 or 403.
pub async fn ready(
    request: HttpRequest,
    Caller(client): Caller,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let body = body::read(request.headers(), payload, &app).await?;
    check_body_client(&body, &client, app.limits.max_operations)?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "message": "Ready to sync", "clientId": client.to_string()})))
}
