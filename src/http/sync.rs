//! `POST /api/sync`: here is my queue; give me the truth back.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;

use super::App;
use super::auth::Caller;
use super::body;
use super::encoding::Coding;
use super::error::ApiError;
use super::idempotency::{self, Answer, Slot};
use super::synced::SyncedIds;
use crate::batch::{Alias, Batch, Warning};
use crate::clock::Stamp;
use crate::dataset::Dataset;
use crate::model::{ClientId, IdempotencyKey, Revision};
use crate::plan::{IdMap, Idempotent, Planner, Receipt, Summary, SyncPlanner};
use crate::store::StoreError;

/// As long as phones wait. Work that takes longer goes on, and a retry with the same key finds it.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Below this size an answer is not worth compressing.
const SMALL: usize = 1 << 10;

/// Applies the batch, all or nothing and exactly once, and answers with everything of the client.
///
/// # Errors
/// [`ApiError`], whatever the table in API.md says.
pub async fn sync(
    request: HttpRequest,
    Caller(client): Caller,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let key = idempotency::key(request.headers())?;
    let body = body::read(request.headers(), payload, &app).await?;
    let max_operations = app.limits.max_operations;
    let batch = app.compute(body.len(), move || Batch::parse(&body, &client, max_operations)).await??;
    if key.is_none() && app.limits.require_idempotency_key && !batch.is_empty() {
        return Err(ApiError::KeyRequired);
    }
    let answer = answer(client, key, batch, &app).await?;
    respond(answer, request.headers(), &app).await
}

/// Does the work on a task of its own, which goes on when the phone hangs up, and waits for it.
async fn answer(
    client: ClientId,
    key: Option<IdempotencyKey>,
    batch: Batch,
    app: &web::Data<App>,
) -> Result<Answer, ApiError> {
    let inner = app.clone();
    let late = match key {
        Some(_) if !batch.is_empty() => ApiError::InProgress,
        _ => ApiError::Unavailable(format!("not done within {} s", LONGEST_WAIT.as_secs())),
    };
    let work = async move {
        // A pull changes nothing, so there is nothing to remember and nothing to share.
        let Some(key) = key.filter(|_| !batch.is_empty()) else { return work(client, None, batch, &inner).await };
        let slot = Slot { client, key: key.clone(), fingerprint: batch.fingerprint.clone() };
        let shared = inner.replays.share(slot, work(client, Some(key), batch, &inner)).await;
        shared.map_err(Arc::unwrap_or_clone)
    };
    tokio::time::timeout(LONGEST_WAIT, app.run(work)).await.map_err(|_| late)??
}

/// Executes the batch, if it has any operation, and reads the dataset.
async fn work(client: ClientId, key: Option<IdempotencyKey>, batch: Batch, app: &App) -> Result<Answer, ApiError> {
    let committed = !batch.is_empty();
    let (receipt, replayed) = if !committed {
        (Receipt { warnings: batch.warnings.into_list(), ..Receipt::default() }, false)
    } else {
        let outcome = app.store.execute(&client, planner(key, batch)).await?;
        tracing::info!(
            client.id = %client, revision = outcome.receipt.revision.0, replayed = outcome.replayed,
            summary = ?outcome.receipt.summary, "batch committed"
        );
        (outcome.receipt, outcome.replayed)
    };
    let dataset = app.store.dataset(&client).await.map_err(|error| match error {
        // Now the batch is committed, so what these say to a phone would not be true.
        error @ (StoreError::Overloaded | StoreError::Internal(_)) if committed => {
            StoreError::Unavailable(error.to_string())
        }
        error => error,
    })?;
    let revision = dataset.revision;
    app.replays.saw(client, revision).await;
    let body = app.blocking(move || encode(receipt, &dataset)).await??;
    Ok(Answer { body: body.into(), revision, replayed })
}

fn planner(key: Option<IdempotencyKey>, batch: Batch) -> Arc<dyn Planner> {
    let stamp = Stamp::take(batch.ids());
    let (fingerprint, at) = (batch.fingerprint.clone(), stamp.time());
    let inner = SyncPlanner::new(Arc::new(batch), stamp);
    match key {
        Some(key) => Arc::new(Idempotent { inner, key, fingerprint, at }),
        None => Arc::new(inner),
    }
}

/// All of the answer but `data`, in the order of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    success: bool,
    message: &'a str,
    summary: Summary,
    synced: SyncedIds,
    id_map: Maps,
    warnings: Vec<Value>,
    revision: Revision,
}

#[derive(Serialize)]
struct Maps {
    items: BTreeMap<String, String>,
    invoices: BTreeMap<String, String>,
    payments: BTreeMap<String, String>,
}

/// The answer's JSON: what came of the batch, then everything of the client. A pull has no revision of
/// its own and tells the dataset's.
fn encode(receipt: Receipt, dataset: &Dataset) -> Result<Vec<u8>, ApiError> {
    let head = Head {
        success: true,
        message: "Sync completed successfully",
        summary: receipt.summary,
        synced: SyncedIds::from(&receipt.synced),
        id_map: maps(receipt.id_map),
        warnings: receipt.warnings.iter().map(Warning::to_json).collect(),
        revision: if receipt.revision == Revision::default() { dataset.revision } else { receipt.revision },
    };
    let mut out = serde_json::to_vec(&head).map_err(|e| ApiError::Internal(e.to_string()))?;
    out.pop();
    out.extend_from_slice(b",\"data\":");
    dataset.write_json(&mut out).map_err(|e| ApiError::Internal(e.to_string()))?;
    out.push(b'}');
    Ok(out)
}

fn maps(ids: IdMap) -> Maps {
    fn map(pairs: Vec<(Alias, impl Display)>) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(alias, id)| (alias, id.to_string())).collect()
    }
    Maps { items: map(ids.items), invoices: map(ids.invoices), payments: map(ids.payments) }
}

async fn respond(answer: Answer, headers: &HeaderMap, app: &App) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json").insert_header((header::VARY, "Accept-Encoding"));
    if answer.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    let coding = Coding::accepted(headers);
    let (Some(name), true) = (coding.name(), answer.body.len() >= SMALL) else { return Ok(response.body(answer.body)) };
    let encoded = app.blocking(move || coding.encode(&answer.body)).await?;
    let encoded = encoded.map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(response.insert_header((header::CONTENT_ENCODING, name)).body(encoded))
}
