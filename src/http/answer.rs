//! The answer to a sync or a pull: what came of the batch, then the dataset, or as much of it as was asked for.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::App;
use super::admission::{Admitted, HeldBody};
use super::encoding::Coding;
use super::error::ApiError;
use super::streamed;
use super::synced::SyncedIds;
use crate::batch::{Alias, Warning};
use crate::dataset::Dataset;
use crate::metrics::Phase;
use crate::model::{Cursor, RecordId, Revision};
use crate::plan::{IdMap, Receipt, Summary};
use crate::store::{After, Data, DataStream, FullReason, Mode, Moment, Pull, Wanted};

/// What a phone asks of the answer, beside what it asks of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// How much of the dataset.
    pub wanted: Wanted,
    /// How the answer is encoded.
    pub coding: Coding,
}

/// A finished answer, which any number of requests may share.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The JSON, encoded as it is sent.
    pieces: Vec<Bytes>,
    coding: Coding,
    /// The state that its dataset shows.
    pub cursor: Cursor,
    /// Whether equal cursors are equal answers to a pull.
    pub exact: bool,
}

/// What is to be answered.
pub enum Shown {
    /// All of it is there.
    Whole(Answer),
    /// Its dataset is read while it is sent.
    Large(Large),
}

/// An answer whose dataset is too large to be held.
pub struct Large {
    /// What stands before the dataset.
    pub head: Bytes,
    /// The dataset.
    pub data: DataStream,
    /// The state that it shows.
    pub cursor: Cursor,
    /// When that was.
    pub moment: Moment,
    /// Whether equal cursors are equal answers to a pull.
    pub exact: bool,
}

/// Below this size an answer is not worth compressing.
const SMALL: usize = 1 << 10;

/// Reads as much of the dataset as is wanted and writes the answer, when it is the client's turn.
///
/// # Errors
/// [`ApiError`] 503, or 500 for a bug.
pub async fn show(
    admitted: &Admitted,
    receipt: &Receipt,
    after: Option<&After>,
    view: View,
    app: &App,
) -> Result<Shown, ApiError> {
    let _turn = admitted.turn_to_answer().await?;
    admitted.hold_likely_answer()?;
    let pull = read(admitted, view.wanted, after, receipt.revision, app).await?;
    let head = head(receipt, &pull)?;
    let (cursor, exact) = (pull.cursor, pull.exact);
    let plain = |pieces| Answer { pieces, coding: Coding::Identity, cursor, exact };
    match pull.data {
        Data::Stream(data) => {
            admitted.hold(head.len() + app.limits.stream_footprint())?;
            Ok(Shown::Large(Large { head, data, cursor, moment: pull.moment, exact }))
        }
        Data::Ready(pieces) => {
            let closing = Bytes::from_static(b"}");
            let pieces = std::iter::once(head).chain(pieces).chain([closing]).collect();
            plain(pieces).encoded(view.coding, admitted, app).await.map(Shown::Whole)
        }
        Data::Nothing => plain(vec![head]).encoded(view.coding, admitted, app).await.map(Shown::Whole),
    }
}

/// Where the client's books stand, when it is the client's turn.
///
/// # Errors
/// [`ApiError`] 503, or 500 for a bug.
pub async fn stand(admitted: &Admitted, app: &App) -> Result<Pull, ApiError> {
    let _turn = admitted.turn_to_answer().await?;
    read(admitted, Wanted::Nothing, None, Revision::default(), app).await
}

/// Reads from the store what is not older than what this server has seen of the client.
async fn read(
    admitted: &Admitted,
    wanted: Wanted,
    after: Option<&After>,
    committed: Revision,
    app: &App,
) -> Result<Pull, ApiError> {
    let (client, epoch) = (admitted.client(), app.store.epoch());
    let newest = app.replays.newest(epoch, client).await.max(committed);
    let pull = app.store.dataset(&client, wanted, after);
    let pull = admitted.trace().during_async(Phase::Dataset, pull).await?;
    let revision = pull.cursor.position.revision;
    // Without a dataset, what is told is the batch itself, and other phones may well have committed since.
    let shows_the_books = wanted != Wanted::Nothing || after.is_none();
    if shows_the_books && revision < newest {
        // A member of a replica set that was just elected may not know yet what was confirmed.
        return Err(ApiError::Unavailable("the dataset is older than what was committed".to_owned()));
    }
    app.replays.saw(epoch, client, revision).await;
    admitted.trace().shows(revision);
    Ok(pull)
}

impl Answer {
    /// The client's revision that its dataset shows.
    pub fn revision(&self) -> Revision {
        self.cursor.position.revision
    }

    /// Its bytes.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Its length, in bytes.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Encoded once, for all who share it.
    async fn encoded(self, coding: Coding, admitted: &Admitted, app: &App) -> Result<Self, ApiError> {
        let length = self.length();
        admitted.hold_answer(length)?;
        if coding == Coding::Identity || length < SMALL {
            return Ok(self);
        }
        // Nothing that is worth it grows; what does not shrink takes a little more.
        admitted.hold(2 * length)?;
        let pieces = self.pieces;
        let trace = Arc::clone(admitted.trace());
        let encode = move || trace.during(Phase::Encode, || coding.encode(&pieces));
        let encoded = app.compute(admitted, encode).await?;
        let encoded = Bytes::from(encoded.map_err(|e| ApiError::Internal(e.to_string()))?);
        admitted.hold(encoded.len())?;
        Ok(Self { pieces: vec![encoded], coding, ..self })
    }
}

impl Shown {
    /// The client's revision that its dataset shows.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Whole(answer) => answer.revision(),
            Self::Large(large) => large.cursor.position.revision,
        }
    }

    /// As HTTP.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`].
    pub fn respond(
        self,
        replayed: bool,
        coding: Coding,
        etag: Option<&str>,
        admitted: Admitted,
        app: &App,
    ) -> Result<HttpResponse, ApiError> {
        match self {
            Self::Whole(answer) => {
                // The request holds its memory until it is sent.
                admitted.hold(answer.length())?;
                let mut response = begin(answer.coding, replayed, etag);
                Ok(response.body(HeldBody::new(answer.pieces, admitted)))
            }
            Self::Large(Large { head, data, .. }) => {
                let mut response = begin(coding, replayed, etag);
                Ok(response.body(streamed::body(head, data, coding, admitted, app)))
            }
        }
    }
}

fn begin(coding: Coding, replayed: bool, etag: Option<&str>) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    if let Some(name) = coding.name() {
        response.insert_header((header::CONTENT_ENCODING, name));
    }
    if replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    match etag {
        Some(etag) => describe(&mut response, etag),
        None => drop(response.insert_header((header::VARY, "Accept-Encoding"))),
    }
    response
}

/// Says of an answer to a GET, be it with a body or without, how long it is good for and for whom.
pub fn describe(response: &mut HttpResponseBuilder, etag: &str) {
    response.insert_header((header::ETAG, etag));
    // Caches between here and the phone may not keep what is one shop's, and the phone asks each time.
    response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
    response.insert_header((header::VARY, "Authorization, Accept-Encoding"));
}

/// The answer to a batch: what came of it, then the dataset.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    /// True: the batch is committed.
    success: bool,
    /// For people.
    message: &'a str,
    summary: Summary,
    synced: SyncedIds,
    id_map: Maps,
    /// What was done otherwise than the phone may have expected.
    #[schema(value_type = Vec<Warning>, max_items = 1001)]
    warnings: Vec<Value>,
    /// The client's commit counter: 0 before the first batch that wrote, then one more with each. Of a batch its own
    /// number, of a pull that of `data`.
    #[schema(value_type = i64, minimum = 0)]
    revision: Revision,
    /// Stands for the state that `data` shows. Keep it, and send it as `since` with the next batch or pull. Opaque. Not
    /// there if `dataMode` is `none`: then the one that the phone has stays good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 200)]
    cursor: Option<String>,
    /// How much `data` holds. Look at it each time: whether an answer is a delta is for the server to say.
    data_mode: DataMode,
    /// Why it is everything. Only with `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FullReason>)]
    full_sync_reason: Option<&'a str>,
}

/// With `full`, let `data` replace everything that the phone has; with `delta`, put each record in the place of the
/// one with its `_id`, or add it; with `none` there is no `data`.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataMode {
    /// Everything.
    Full,
    /// What changed since the cursor.
    Delta,
    /// Nothing.
    None,
}

/// From each alias, as text, and each `localId` of a create to the server's id. Only names that one record of its
/// kind alone has.
#[derive(Serialize, ToSchema)]
#[schema(as = IdMap)]
pub struct Maps {
    /// Of `item.create`.
    #[schema(value_type = BTreeMap<String, RecordId>)]
    items: BTreeMap<String, String>,
    /// Of `invoice.create`.
    #[schema(value_type = BTreeMap<String, RecordId>)]
    invoices: BTreeMap<String, String>,
    /// Of `payment.create`.
    #[schema(value_type = BTreeMap<String, RecordId>)]
    payments: BTreeMap<String, String>,
}

/// The whole answer, for the API's document.
pub struct SyncAnswer;

impl PartialSchema for SyncAnswer {
    fn schema() -> RefOr<Schema> {
        match Head::schema() {
            RefOr::T(Schema::Object(mut answer)) => {
                answer.properties.insert("data".to_owned(), Ref::from_schema_name(Dataset::name()).into());
                RefOr::T(answer.into())
            }
            other => other,
        }
    }
}

impl ToSchema for SyncAnswer {}

/// The JSON before the dataset; all of it, if there is none. A pull has no revision of its own and tells the
/// dataset's. Whoever does not hear of the dataset must not move its cursor.
fn head(receipt: &Receipt, pull: &Pull) -> Result<Bytes, ApiError> {
    let own = receipt.revision;
    let (data_mode, reason) = match pull.mode {
        Mode::None => (DataMode::None, None),
        Mode::Full(reason) => (DataMode::Full, Some(reason.code())),
        Mode::Delta => (DataMode::Delta, None),
    };
    let head = Head {
        success: true,
        message: "Sync completed successfully",
        summary: receipt.summary,
        synced: SyncedIds::from(&receipt.synced),
        id_map: maps(&receipt.id_map),
        warnings: receipt.warnings.iter().map(Warning::to_json).collect(),
        revision: if own == Revision::default() { pull.cursor.position.revision } else { own },
        cursor: (pull.mode != Mode::None).then(|| pull.cursor.to_string()),
        data_mode,
        full_sync_reason: reason,
    };
    let mut out = serde_json::to_vec(&head).map_err(|e| ApiError::Internal(e.to_string()))?;
    if pull.mode != Mode::None {
        out.pop();
        out.extend_from_slice(b",\"data\":");
    }
    Ok(out.into())
}

fn maps(ids: &IdMap) -> Maps {
    fn map(pairs: &[(Alias, impl Display)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(alias, id)| (alias.to_string(), id.to_string())).collect()
    }
    Maps { items: map(&ids.items), invoices: map(&ids.invoices), payments: map(&ids.payments) }
}
