//! What is around every request: its id, what is told of it, and the envelope of its errors.

use std::sync::Arc;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use tracing::Instrument;

use super::connections::{Answer, InFlight};
use super::error::ApiError;
use super::rate::Allowance;
use super::trace::Trace;
use super::{App, cors, manners};
use crate::clock;
use crate::metrics::Route;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a request its id and every error its JSON body, takes note of what comes of it, and refuses requests when
/// the server is about to stop.
///
/// # Errors
/// None of ours: the routes turn errors into answers, which get their bodies here.
pub async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Answer>, actix_web::Error> {
    let in_flight = InFlight::begin(&request);
    let trace = begin(&request);
    let span = trace.span().clone();
    async move {
        let app = request.app_data::<web::Data<App>>().expect("the app is registered with its routes").clone();
        let (mut response, error) = match app.begin() {
            Some(_in_flight) => {
                let response = next.call(request).await?;
                match response.response().error().map(ApiError::from) {
                    Some(error) => {
                        let said = response.headers().clone();
                        let mut response = response.into_response(error.respond(trace.id()));
                        cors::keep(&said, response.headers_mut());
                        (response, Some(error))
                    }
                    None => (response.map_into_boxed_body(), None),
                }
            }
            None => (request.into_response(ApiError::Stopping.respond(trace.id())), Some(ApiError::Stopping)),
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
        let value = HeaderValue::from_str(trace.id()).unwrap_or(HeaderValue::from_static("unprintable"));
        response.headers_mut().insert(REQUEST_ID, value);
        let length = match response.response().body().size() {
            BodySize::None => Some(0),
            BodySize::Sized(length) => Some(length),
            BodySize::Stream => None,
        };
        trace.answered(response.status().as_u16(), length, error);
        Ok(response.map_body(|_, body| Answer::new(body, in_flight)))
    }
    .instrument(span)
    .await
}

/// Begins to take note of a request. Its routes find the [`Trace`] in its extensions.
fn begin(request: &ServiceRequest) -> Arc<Trace> {
    // As the router sees it, escapes undone.
    let route = Route::of(request.match_info().as_str());
    let trace = Arc::new(Trace::begin(request_id(request.headers()), route, method(request.method())));
    #[cfg(feature = "otel")]
    crate::otel::continue_trace(trace.span(), &|name| request.headers().get(name)?.to_str().ok());
    request.extensions_mut().insert(Arc::clone(&trace));
    trace
}

/// The method's name; of one that is not in RFC 9110 or RFC 5789 nothing is told.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
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
