//! What is around every request: its id, what is told of it, and the envelope of its errors.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
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

/// From here on it is worth a question to the kernel whether the phone still waits: those that hang up have lost their
/// patience.
const LONG: Duration = Duration::from_secs(1);

/// Gives a request its id and every error its JSON body, and takes note of what comes of it.
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
        let response = next.call(request).await?;
        let (mut response, error) = match response.response().error().map(ApiError::from) {
            Some(error) => {
                let said = response.headers().clone();
                let mut response = response.into_response(error.respond(trace.id()));
                cors::keep(&said, response.headers_mut());
                (response, Some(error))
            }
            None => (response.map_into_boxed_body(), None),
        };
        if app.is_stopping() {
            // So that the phone's next request finds another server, or this one when it is back.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        if app.access.buckets.is_some() {
            let allowance = response.request().extensions().get::<Allowance>().copied();
            allowance.inspect(|allowance| allowance.tell(response.headers_mut()));
        }
        manners::put(response.headers_mut());
        let value = HeaderValue::from_str(trace.id()).unwrap_or(HeaderValue::from_static("unprintable"));
        response.headers_mut().insert(REQUEST_ID, value);
        let length = match response.response().body().size() {
            BodySize::None => Some(0),
            BodySize::Sized(length) => Some(length),
            BodySize::Stream => None,
        };
        let may_be_abandoned = trace.age() >= LONG || matches!(error, Some(ApiError::BrokenBody));
        trace.answered(response.status().as_u16(), length, error);
        if may_be_abandoned && in_flight.as_ref().is_some_and(InFlight::is_abandoned) {
            trace.abandoned();
        }
        Ok(response.map_body(|_, body| Answer::new(body, in_flight)))
    }
    .instrument(span)
    .await
}

/// Lets requests through until the server is about to stop, and waits for those in flight with that. It stands within
/// [`cors`](super::cors), so that a page may read the refusal.
///
/// # Errors
/// None of ours.
pub async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let app = request.app_data::<web::Data<App>>().expect("the app is registered with its routes");
    match app.begin() {
        Some(_in_flight) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        None => Ok(request.error_response(ApiError::Stopping)),
    }
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
