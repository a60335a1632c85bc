//! `POST /api/readytosync`: is my token still good?

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::admission::Admitted;
use super::body;
use super::error::ApiError;
use crate::batch::check_body_client;
use crate::model::RecordId;

/// Answers `{success, message, clientId}`. The body may name the client, as a batch may.
///
/// # Errors
/// [`ApiError`] 400, 401, 403 or 503.
pub async fn ready(
    request: HttpRequest,
    admitted: Admitted,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let client = admitted.client();
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    let check = move |body: Vec<u8>, most| check_body_client(&body, &client, most);
    app.parse(&admitted, body, check).await??;
    Ok(HttpResponse::Ok().json(Ready { success: true, message: "Ready to sync", client_id: client.to_string() }))
}

/// The token is good.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// True.
    success: bool,
    /// For people.
    message: &'static str,
    /// Whose data the token gives access to.
    #[schema(value_type = RecordId)]
    client_id: String,
}
