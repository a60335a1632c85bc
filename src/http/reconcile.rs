//! `POST /api/sync/reconcile`: is this batch, is this record in the books?

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::openapi::schema::{Discriminator, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::App;
use super::admission::{Admitted, HeldBody};
use super::body;
use super::error::ApiError;
use super::sync::in_time;
use super::synced::SyncedIds;
use crate::batch::{Inquiry, Problem, ProblemCode, Problems};
use crate::model::{Collection, RecordId, Revision};
use crate::plan::{LocalRecord, ReadSet, Snapshot, StoredReceipt};

/// Answers of each key and of each local id whether it is committed.
///
/// # Errors
/// [`ApiError`] 400 if the body is no such question, 401, 403, 413, 415 or 503.
pub async fn reconcile(
    request: HttpRequest,
    admitted: Admitted,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    in_time(look_up(body, admitted, &app)).await
}

async fn look_up(body: Vec<u8>, admitted: Admitted, app: &App) -> Result<HttpResponse, ApiError> {
    let client = admitted.client();
    let inquiry = app.parse(&admitted, body, move |body, most| Inquiry::parse(&body, &client, most)).await??;
    let _turn = admitted.turn_to_answer().await?;
    let mut report = Report { success: true, keys: BTreeMap::new(), local_ids: BTreeMap::new() };
    let mut ids = 0;
    for part in inquiry.parts(KEYS_AT_ONCE) {
        admitted.hold_more(part.keys.len() * RECEIPT)?;
        let (store, reads) = (app.store.clone(), reads(&part));
        let known = app.run(async move { store.snapshot(&client, &reads).await }).await??;
        ids += known.receipts.values().map(|stored| stored.receipt.synced.len()).sum::<usize>();
        if ids > MOST_IDS {
            return Err(too_much());
        }
        admitted.hold(ids * ID)?;
        report.add(&part, &known);
    }
    let body = app.compute(&admitted, move || serde_json::to_vec(&report)).await?;
    let body = body.map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(HeldBody::new([body.into()], admitted)))
}

/// Keys of one part of a question: receipts may be large, and only what is told of them is kept.
const KEYS_AT_ONCE: usize = 20;
/// What a receipt is believed to take in memory while nobody knows, in bytes.
const RECEIPT: usize = 64 << 10;
/// What an id takes in the report and in its JSON, in bytes.
const ID: usize = 128;
/// The most ids that one answer tells: some tens of the largest batches.
pub(super) const MOST_IDS: usize = 500_000;

fn reads(part: &Inquiry) -> ReadSet {
    ReadSet {
        receipts: part.keys.iter().cloned().collect(),
        local_ids: part.local_ids.iter().cloned().collect(),
        ..ReadSet::default()
    }
}

fn too_much() -> ApiError {
    let message = format!("The answer would have more than {MOST_IDS} ids; ask for fewer keys");
    ApiError::InvalidBatch(Problems::one(Problem { path: "/keys".into(), code: ProblemCode::InvalidLength, message }))
}

/// What became of each key and of each local id that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReconcileReport)]
pub struct Report {
    /// True.
    success: bool,
    /// By idempotency key.
    #[schema(value_type = BTreeMap<String, BatchFate>)]
    keys: BTreeMap<String, Fate<CommittedBatch>>,
    /// By local id.
    #[schema(value_type = BTreeMap<String, RecordFate>)]
    local_ids: BTreeMap<String, Fate<CommittedRecord>>,
}

/// Whether something was committed.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Fate<T> {
    Committed(T),
    Unknown,
}

#[derive(Serialize)]
struct CommittedBatch {
    revision: Revision,
    synced: SyncedIds,
}

#[derive(Serialize)]
struct CommittedRecord {
    kind: &'static str,
    id: String,
    revision: Revision,
}

/// [`Fate`] of a batch, for the API's document.
pub struct BatchFate;

impl PartialSchema for BatchFate {
    fn schema() -> RefOr<Schema> {
        fate("CommittedBatch")
    }
}

impl ToSchema for BatchFate {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let committed = status("committed", "The batch is in the books, for as long as the server keeps receipts.");
        let committed = committed.property("revision", revision()).required("revision");
        let committed = committed.property("synced", Ref::from_schema_name(SyncedIds::name())).required("synced");
        schemas.push(("CommittedBatch".to_owned(), committed.into()));
        let unknown = "Not in the books at this moment: send it again, with the same key or the same local ids.";
        schemas.push((UNKNOWN.to_owned(), status("unknown", unknown).into()));
    }
}

/// [`Fate`] of a record, for the API's document.
pub struct RecordFate;

impl PartialSchema for RecordFate {
    fn schema() -> RefOr<Schema> {
        fate("CommittedRecord")
    }
}

impl ToSchema for RecordFate {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let kinds = [Collection::Items, Collection::Invoices, Collection::Payments].map(Collection::data_name);
        let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds));
        let committed = status("committed", "The record is in the books, for ever.");
        let committed = committed.property("kind", kind).required("kind");
        let committed = committed.property("id", Ref::from_schema_name(RecordId::name())).required("id");
        let committed = committed.property("revision", revision()).required("revision");
        schemas.push(("CommittedRecord".to_owned(), committed.into()));
    }
}

/// The name of the shape of what is not in the books.
const UNKNOWN: &str = "NotCommitted";

fn fate(committed: &str) -> RefOr<Schema> {
    let shapes =
        [("committed", committed), ("unknown", UNKNOWN)].map(|(fate, name)| (fate, Ref::from_schema_name(name)));
    let mapping = shapes.clone().map(|(fate, shape)| (fate, shape.ref_location));
    let fate = OneOfBuilder::new().discriminator(Some(Discriminator::with_mapping("status", mapping)));
    shapes.into_iter().fold(fate, |fate, (_, shape)| fate.item(shape)).into()
}

fn status(status: &str, about: &str) -> ObjectBuilder {
    let value = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([status]));
    let fate = ObjectBuilder::new().schema_type(Type::Object).description(Some(about));
    fate.property("status", value).required("status")
}

fn revision() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).description(Some("The commit that made it."))
}

impl Report {
    fn add(&mut self, asked: &Inquiry, known: &Snapshot) {
        let keys = asked.keys.iter().map(|key| (key.to_string(), Fate::of(known.receipts.get(key))));
        self.keys.extend(keys);
        let local_ids = asked.local_ids.iter().map(|id| (id.to_string(), Fate::of(known.local_ids.get(id))));
        self.local_ids.extend(local_ids);
    }
}

impl<T> Fate<T> {
    fn of<'a, K>(known: Option<&'a K>) -> Self
    where
        T: From<&'a K>,
    {
        known.map_or(Self::Unknown, |known| Self::Committed(known.into()))
    }
}

impl From<&StoredReceipt> for CommittedBatch {
    fn from(stored: &StoredReceipt) -> Self {
        Self { revision: stored.receipt.revision, synced: SyncedIds::from(&stored.receipt.synced) }
    }
}

impl From<&LocalRecord> for CommittedRecord {
    fn from(record: &LocalRecord) -> Self {
        Self { kind: record.kind.data_name(), id: record.id.to_hex(), revision: record.revision }
    }
}
