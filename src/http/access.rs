//! The way in: a request shows its token, takes of its client's rate, takes a place, and has its session looked up,
//! all before its body is read. A session that is known to have ended takes nothing.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture};

use super::App;
use super::admission::Admitted;
use super::auth::{Caller, Refusal, Verifier, bearer};
use super::error::ApiError;
use super::rate::{Buckets, Rate};
use super::sessions::{Known, Sessions};
use super::trace::Trace;

/// Who may come in, and how often.
#[derive(Debug)]
pub struct Access {
    /// Which tokens are good.
    pub(super) verifier: Verifier,
    /// Of sessions, if they are looked up.
    pub(super) sessions: Option<Sessions>,
    /// Of requests, if they are limited.
    pub(super) buckets: Option<Buckets>,
}

impl Access {
    /// With these tokens, this memory of sessions, and so many requests of each client.
    pub fn new(verifier: Verifier, sessions: Option<Sessions>, rate: Option<Rate>) -> Self {
        Self { verifier, sessions, buckets: rate.map(Buckets::new) }
    }
}

/// Lets a request in. Most need not wait for it.
impl FromRequest for Admitted {
    type Error = ApiError;
    type Future = Either<Ready<Result<Self, ApiError>>, LocalBoxFuture<'static, Result<Self, ApiError>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().expect("the app is registered with its routes");
        let Some(token) = bearer(request.headers()) else { return Either::Left(ready(Err(ApiError::Unauthorized))) };
        match app.access.verifier.verify(token) {
            Ok(caller) if app.access.sessions.is_none() => Either::Left(ready(admit(caller, request, app))),
            Ok(caller) => {
                let (request, app) = (request.clone(), app.clone());
                Either::Right(async move { admit_in_session(caller, &request, &app).await }.boxed_local())
            }
            Err(Refusal::UnknownKey) => {
                let (token, request, app) = (token.to_owned(), request.clone(), app.clone());
                let late = async move {
                    let caller = app.access.verifier.verify_anew(&token).await?;
                    admit_in_session(caller, &request, &app).await
                };
                Either::Right(late.boxed_local())
            }
            Err(refusal) => Either::Left(ready(Err(refusal.into()))),
        }
    }
}

/// What is known of a session is said at once, so that a device that was logged out spends nothing of its shop's rate and
/// places. A session that nothing is known of takes of both first: asking the store is work.
async fn admit_in_session(caller: Caller, request: &HttpRequest, app: &App) -> Result<Admitted, ApiError> {
    let Some(sessions) = &app.access.sessions else { return admit(caller, request, app) };
    match sessions.known(caller).await? {
        Known::Active => admit(caller, request, app),
        Known::Nothing(session) => {
            let admitted = admit(caller, request, app)?;
            sessions.look_up(caller.client, session, app).await?;
            Ok(admitted)
        }
    }
}

fn admit(caller: Caller, request: &HttpRequest, app: &App) -> Result<Admitted, ApiError> {
    let trace = request.extensions().get::<Arc<Trace>>().expect("the envelope has begun one").clone();
    // Before it can be refused, so that the log names who is.
    trace.client(caller.client);
    if let Some(buckets) = &app.access.buckets {
        let allowance = buckets.take(&caller.client);
        // The envelope tells it, whatever the answer will be.
        request.extensions_mut().insert(allowance);
        if let Some(seconds) = allowance.refused_for() {
            return Err(ApiError::RateLimited { seconds });
        }
    }
    app.admission.enter(caller.client, trace)
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Bad | Refusal::UnknownKey => Self::Unauthorized,
            Refusal::KeysAway => Self::KeysAway,
        }
    }
}
