//! `POST /api/sync/reconcile`: is this batch, is this record in the books?

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::App;
use super::auth::Caller;
use super::body;
use super::error::ApiError;
use super::synced::SyncedIds;
use crate::batch::Inquiry;
use crate::model::Revision;
use crate::plan::{LocalRecord, ReadSet, Snapshot, StoredReceipt};

/// Answers of each key and of each local id whether it is committed.
///
/// # Errors
/// [`ApiError`] 400 if the body is no such question, 401, 403, 413, 415 or 503.
pub async fn reconcile(
    request: HttpRequest,
    Caller(client): Caller,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let body = body::read(request.headers(), payload, &app).await?;
    let inquiry = Inquiry::parse(&body, &client, app.limits.max_operations)?;
    let reads = ReadSet {
        receipts: inquiry.keys.iter().cloned().collect(),
        local_ids: inquiry.local_ids.iter().cloned().collect(),
        ..ReadSet::default()
    };
    let store = app.store.clone();
    let known = app.run(async move { store.snapshot(&client, &reads).await }).await??;
    Ok(HttpResponse::Ok().json(Report::of(&inquiry, &known)))
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
    fn of(inquiry: &Inquiry, known: &Snapshot) -> Self {
        let keys = inquiry.keys.iter().map(|key| (key.to_string(), Fate::of(known.receipts.get(key))));
        let local_ids = inquiry.local_ids.iter().map(|id| (id.to_string(), Fate::of(known.local_ids.get(id))));
        Self { success: true, keys: keys.collect(), local_ids: local_ids.collect() }
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
