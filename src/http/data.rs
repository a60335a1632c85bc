//! `GET /api/sync/data`: a pull that need not be sent again while nothing has changed.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::App;
use super::admission::Admitted;
use super::answer::{Large, Shown, View, describe, show, stand};
use super::encoding::Coding;
use super::error::ApiError;
use super::sync::{in_time, since};
use crate::model::Cursor;
use crate::plan::Receipt;
use crate::store::{FullReason, Wanted};

/// The parameters of a query, of which only `since` counts; the first, if there are several.
type Query = Vec<(String, String)>;

/// Answers as an empty batch is answered; 304 if the phone has that answer.
///
/// # Errors
/// [`ApiError`] 401 or 503.
pub async fn data(
    request: HttpRequest,
    admitted: Admitted,
    query: web::Query<Query>,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let cursor = query.into_inner().into_iter().find(|(name, _)| name == "since");
    let wanted = match cursor {
        Some((_, cursor)) => since(&cursor, &admitted.client()),
        None => Wanted::Full(FullReason::NoCursor),
    };
    let view = View { wanted, coding: Coding::accepted(request.headers()) };
    let known = Known::of(request.headers());
    let (inner, holder) = (app.clone(), admitted.clone());
    let work = async move { answer(&holder, known, view, &inner).await };
    let (etag, shown) = in_time(async { app.run(work).await? }).await?;
    match shown {
        Some(shown) => shown.respond(false, view.coding, Some(&etag), admitted, &app),
        None => Ok(not_modified(&etag)),
    }
}

/// The answers that a phone has, by their entity tags (RFC 9110, 13.1.2).
struct Known(Vec<String>);

impl Known {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        let tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/").to_owned());
        Self(tags.collect())
    }

    fn has(&self, etag: &str) -> bool {
        self.0.iter().any(|tag| tag == etag || tag == "*")
    }
}

/// The answer with its entity tag; no answer, if the phone has it.
async fn answer(admitted: &Admitted, known: Known, view: View, app: &App) -> Result<(String, Option<Shown>), ApiError> {
    if !known.0.is_empty() {
        // Where nobody else writes, where the books stand is enough to know.
        let stand = stand(admitted, app).await?;
        let etag = etag_of_cursor(stand.cursor, view);
        if stand.exact && known.has(&etag) {
            return Ok((etag, None));
        }
    }
    let shown = show(admitted, &Receipt::default(), None, view, app).await?;
    let (etag, shown) = match shown {
        Shown::Whole(answer) if answer.exact => (etag_of_cursor(answer.cursor, view), Shown::Whole(answer)),
        Shown::Whole(answer) => {
            let (etag, answer) = app.compute(admitted, move || (etag_of_bytes(answer.pieces()), answer)).await?;
            (etag, Shown::Whole(answer))
        }
        Shown::Large(large) if large.exact => (etag_of_cursor(large.cursor, view), Shown::Large(large)),
        Shown::Large(large) => etag_of_stream(large, admitted, view, app).await?,
    };
    let news = !known.has(&etag);
    Ok((etag, news.then_some(shown)))
}

/// Another version of this program may show the same records otherwise.
fn etag_of_cursor(cursor: Cursor, view: View) -> String {
    format!("\"{cursor}-{}-{}\"", env!("CARGO_PKG_VERSION"), view.coding.name().unwrap_or("identity"))
}

fn etag_of_bytes(pieces: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    etag_of_hash(hash, Coding::Identity)
}

fn etag_of_hash(hash: Sha256, coding: Coding) -> String {
    let digest: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digest}-{}\"", coding.name().unwrap_or("whole"))
}

/// Reads the dataset twice, once for its tag, which stands before it: to send it costs a phone more than it
/// costs the database to read it again, of the same moment.
async fn etag_of_stream(
    mut large: Large,
    admitted: &Admitted,
    view: View,
    app: &App,
) -> Result<(String, Shown), ApiError> {
    let mut hash = Sha256::new();
    hash.update(&large.head);
    while let Some(piece) = large.data.next().await {
        hash.update(&piece?);
    }
    large.data =
        app.store.dataset(&admitted.client(), view.wanted, Some(&large.moment.into())).await?.data.into_stream();
    Ok((etag_of_hash(hash, view.coding), Shown::Large(large)))
}

fn not_modified(etag: &str) -> HttpResponse {
    let mut response = HttpResponse::NotModified();
    describe(&mut response, etag);
    response.finish()
}
