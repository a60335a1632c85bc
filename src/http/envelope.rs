//! What is around every request: its id, its span in the log, and the envelope of its errors.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use tracing::Instrument;

use super::error::ApiError;
use super::rate::Allowance;
use super::{App, cors, manners};
use crate::clock;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a request its id and every error its JSON body, logs what the outside is not told, and refuses
/// requests when the server is about to stop.
///
/// # Errors
/// None of ours: the routes turn errors into answers, which get their bodies here.
pub async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request_id(request.headers());
    let span =
        tracing::info_span!("request", request.id = id, http.method = %request.method(), http.path = request.path());
    async move {
        let started = Instant::now();
        let app = request.app_data::<web::Data<App>>().expect("the app is registered with its routes").clone();
        let mut response = match app.begin() {
            Some(_in_flight) => {
                let response = next.call(request).await?;
                match response.response().error().map(ApiError::from) {
                    Some(error) => {
                        let said = response.headers().clone();
                        let mut response = response.into_response(answer(&error, &id));
                        cors::keep(&said, response.headers_mut());
                        response
                    }
                    None => response.map_into_boxed_body(),
                }
            }
            None => request.into_response(answer(&ApiError::Stopping, &id)),
        };
        if app.is_stopping() {
            // So that the phone's next request finds another server, or this one when it is back.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        if app.access.buckets.is_some() {
            let allowance = response.request().extensions().get::<Allowance>().copied();
            allowance.inspect(|allowance| allowance.tell(response.headers_mut()));
        }
        let of_a_client = response.request().path().starts_with("/api/");
        manners::put(of_a_client, response.headers_mut());
        let value = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unprintable"));
        response.headers_mut().insert(REQUEST_ID, value);
        let (status, elapsed_ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
        tracing::debug!(http.status = status, elapsed_ms, "answered");
        Ok(response)
    }
    .instrument(span)
    .await
}

fn answer(error: &ApiError, id: &str) -> actix_web::HttpResponse {
    match error.inside() {
        Some(inside) => tracing::error!(error = inside, "request failed"),
        // Escaped, for it may quote the request, and a log line must not be forged.
        None => tracing::debug!(error = ?error.to_string(), "request refused"),
    }
    error.respond(id)
}

/// The request's own id if it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=128).contains(&id.len()) && id.bytes().all(allowed)
    };
    let own = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    own.map_or_else(|| clock::new_id().to_hex(), str::to_owned)
}
