//! `POST /api/sync/reconcile`: is this batch, is this record in the books?

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::App;
use super::admission::Admitted;
use super::body;
use super::error::ApiError;
use super::synced::SyncedIds;
use crate::batch::Inquiry;
use crate::model::Revision;
use crate::plan::{LocalRecord, ReadSet, Snapshot, StoredReceipt, Summary};

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
    let client = admitted.client();
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    let inquiry = app.parse(&admitted, body, move |body, most| Inquiry::parse(body, &client, most)).await??;
    let _turn = admitted.turn_to_answer().await?;
    let reads = ReadSet {
        receipts: inquiry.keys.iter().cloned().collect(),
        local_ids: inquiry.local_ids.iter().cloned().collect(),
        ..ReadSet::default()
    };
    let store = app.store.clone();
    let known = app.run(async move { store.snapshot(&client, &reads).await }).await??;
    admitted.hold_more(footprint(&known))?;
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

/// What receipts and the answer that is made of them take in memory, in bytes.
fn footprint(known: &Snapshot) -> usize {
    const ID: usize = 128;
    let ids = |stored: &StoredReceipt| {
        let Summary {
            items_created,
            items_updated,
            items_deleted,
            invoices_created,
            payments_created,
            already_applied,
        } = stored.receipt.summary;
        let ids = items_created + items_updated + items_deleted + invoices_created + payments_created + already_applied;
        usize::try_from(ids).unwrap_or_default()
    };
    known.receipts.values().map(ids).sum::<usize>() * ID
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
