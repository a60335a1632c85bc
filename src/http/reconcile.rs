//! `POST /api/sync/reconcile`: is this batch, is this record in the books?

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::App;
use super::admission::{Admitted, HeldBody};
use super::body;
use super::error::ApiError;
use super::sync::in_time;
use super::synced::SyncedIds;
use crate::batch::{Inquiry, Problem, ProblemCode, Problems};
use crate::model::Revision;
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
    let inquiry = app.parse(&admitted, body, move |body, most| Inquiry::parse(body, &client, most)).await??;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    success: bool,
    keys: BTreeMap<String, Fate<CommittedBatch>>,
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
