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
use super::admission::{Admitted, HeldBody};
use super::body;
use super::encoding::Coding;
use super::error::ApiError;
use super::idempotency::{self, Answer, Slot};
use super::synced::SyncedIds;
use crate::batch::{Alias, Batch, Warning};
use crate::clock::Stamp;
use crate::dataset::Dataset;
use crate::model::{IdempotencyKey, Revision};
use crate::plan::{IdMap, Idempotent, Planner, Receipt, Summary, SyncPlanner};

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
    admitted: Admitted,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let key = idempotency::key(request.headers())?;
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    let batch = parse(body, &admitted, &app).await?;
    if key.is_none() && app.limits.require_idempotency_key && !batch.is_empty() {
        return Err(ApiError::KeyRequired);
    }
    let committed = !batch.is_empty();
    let answer = answer(&admitted, key, batch, &app).await?;
    respond(answer, admitted, request.headers(), &app).await.map_err(|error| error.after(committed))
}

async fn parse(body: Vec<u8>, admitted: &Admitted, app: &App) -> Result<Batch, ApiError> {
    let (client, texts) = (admitted.client(), body.len());
    let batch = app.parse(admitted, body, move |body, most| Batch::parse(body, &client, most)).await??;
    admitted.hold(texts + batch.footprint())?;
    Ok(batch)
}

/// Does the work on a task of its own, which goes on when the phone hangs up, and waits for it.
async fn answer(
    admitted: &Admitted,
    key: Option<IdempotencyKey>,
    batch: Batch,
    app: &web::Data<App>,
) -> Result<Answer, ApiError> {
    let (inner, admitted) = (app.clone(), admitted.clone());
    let late = match key {
        Some(_) if !batch.is_empty() => ApiError::InProgress,
        _ => ApiError::Unavailable(format!("not done within {} s", LONGEST_WAIT.as_secs())),
    };
    let work = async move { share(&admitted, key, batch, &inner).await };
    tokio::time::timeout(LONGEST_WAIT, app.run(work)).await.map_err(|_| late)??
}

/// Does the work, or shares what another request with the same batch does.
async fn share(admitted: &Admitted, key: Option<IdempotencyKey>, batch: Batch, app: &App) -> Result<Answer, ApiError> {
    if batch.is_empty() {
        // A pull changes nothing, so there is nothing to remember and nothing to share.
        let receipt = Receipt { warnings: batch.warnings.into_list(), ..Receipt::default() };
        return show(admitted, receipt, false, app).await;
    }
    let Some(key) = key else { return execute(admitted, None, batch, app).await };
    let slot = Slot {
        epoch: app.store.epoch(),
        client: admitted.client(),
        key: key.clone(),
        fingerprint: batch.fingerprint.clone(),
    };
    let shared = app.replays.share(slot, execute(admitted, Some(key), batch, app)).await;
    shared.map_err(Arc::unwrap_or_clone)
}

/// Executes the batch when it is the client's turn, and shows what came of it.
async fn execute(
    admitted: &Admitted,
    key: Option<IdempotencyKey>,
    batch: Batch,
    app: &App,
) -> Result<Answer, ApiError> {
    let client = admitted.client();
    let turn = admitted.turn_to_execute().await?;
    admitted.hold_more(batch.execution_footprint())?;
    let outcome = app.store.execute(&client, planner(key, batch)).await?;
    tracing::info!(
        client.id = %client, revision = outcome.receipt.revision.0, replayed = outcome.replayed,
        summary = ?outcome.receipt.summary, "batch committed"
    );
    drop(turn);
    show(admitted, outcome.receipt, outcome.replayed, app).await.map_err(|error| error.after(true))
}

/// Reads the dataset and writes the answer, when it is the client's turn.
async fn show(admitted: &Admitted, receipt: Receipt, replayed: bool, app: &App) -> Result<Answer, ApiError> {
    let client = admitted.client();
    let _turn = admitted.turn_to_answer().await?;
    admitted.hold_likely_answer()?;
    let epoch = app.store.epoch();
    let newest = app.replays.newest(epoch, client).await.max(receipt.revision);
    let dataset = app.store.dataset(&client).await?;
    if dataset.revision < newest {
        // A member of a replica set that was just elected may not know yet what was confirmed.
        return Err(ApiError::Unavailable("the dataset is older than what was committed".to_owned()));
    }
    // Its records, and the JSON that is made of them in a vector that may double.
    admitted.hold_answer(3 * dataset.bytes())?;
    let revision = dataset.revision;
    app.replays.saw(epoch, client, revision).await;
    let body = app.compute(admitted, move || encode(receipt, &dataset)).await??;
    admitted.hold(body.len())?;
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
    out.reserve(dataset.bytes());
    out.extend_from_slice(b",\"data\":");
    dataset.write_json(&mut out).map_err(|e| ApiError::Internal(e.to_string()))?;
    out.push(b'}');
    out.shrink_to_fit();
    Ok(out)
}

fn maps(ids: IdMap) -> Maps {
    fn map(pairs: Vec<(Alias, impl Display)>) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(alias, id)| (alias, id.to_string())).collect()
    }
    Maps { items: map(ids.items), invoices: map(ids.invoices), payments: map(ids.payments) }
}

async fn respond(answer: Answer, admitted: Admitted, headers: &HeaderMap, app: &App) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json").insert_header((header::VARY, "Accept-Encoding"));
    if answer.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    let coding = Coding::accepted(headers);
    let length = answer.body.len();
    admitted.hold(length)?;
    let (Some(name), true) = (coding.name(), length >= SMALL) else {
        return Ok(response.body(HeldBody::new(answer.body, admitted)));
    };
    // Nothing that is worth it grows; what does not shrink takes a little more.
    admitted.hold(2 * length)?;
    let encoded = app.compute(&admitted, move || coding.encode(&answer.body)).await?;
    let encoded = encoded.map_err(|e| ApiError::Internal(e.to_string()))?;
    admitted.hold(encoded.len())?;
    Ok(response.insert_header((header::CONTENT_ENCODING, name)).body(HeldBody::new(encoded.into(), admitted)))
}
