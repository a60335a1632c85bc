//! `POST /api/sync/validate`: what would come of this batch?

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::admission::{Admitted, HeldBody};
use super::body;
use super::error::ApiError;
use super::idempotency;
use super::sync::in_time;
use crate::batch::{Problem, Problems, Reading, Warning};
use crate::clock::Stamp;
use crate::model::IdempotencyKey;
use crate::plan::{Check, Findings, Group, Summary};

/// Answers what a sync would do, or all that is wrong, and writes nothing.
///
/// # Errors
/// [`ApiError`], as for a sync, if the body is no batch at all.
pub async fn validate(
    request: HttpRequest,
    admitted: Admitted,
    payload: web::Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, ApiError> {
    let key = idempotency::key(request.headers())?;
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    in_time(check(key, body, admitted, &app)).await
}

async fn check(
    key: Option<IdempotencyKey>,
    body: Vec<u8>,
    admitted: Admitted,
    app: &App,
) -> Result<HttpResponse, ApiError> {
    let client = admitted.client();
    let texts = body.len();
    let reading = app.parse(&admitted, body, move |body, most| Reading::of(&body, &client, most)).await??;
    admitted.hold(texts + reading.footprint())?;
    let stamp = Stamp::take(reading.batch.ids());
    let check = Check::new(reading, key, stamp);
    let turn = admitted.turn_to_answer().await?;
    let (store, reads) = (app.store.clone(), check.reads());
    let before = app.run(async move { store.snapshot(&client, &reads).await }).await??;
    let body = app.compute(&admitted, move || serde_json::to_vec(&Report::from(check.run(&before)))).await?;
    drop(turn);
    let body = body.map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(HeldBody::new([body.into()], admitted)))
}

/// What a sync would say to the batch, as the books are now.
#[derive(Serialize, ToSchema)]
#[schema(as = ValidateReport)]
pub struct Report {
    /// True: the question was answered.
    success: bool,
    /// Whether a sync would commit the batch.
    valid: bool,
    /// All problems: those of shape, then what the records say of the operations that are well-formed.
    #[schema(value_type = Vec<Problem>, max_items = 100)]
    errors: Value,
    /// As a sync would answer.
    #[schema(value_type = Vec<Warning>)]
    warnings: Vec<Value>,
    summary: Summary,
    /// The operations in independent sets. Each clean one can be sent as a batch of its own, under a new key.
    groups: Vec<GroupReport>,
}

/// Operations that name the same records.
#[derive(Serialize, ToSchema)]
#[schema(as = ValidateGroup)]
pub struct GroupReport {
    /// JSON pointers (RFC 6901) to them, in the order in which they are applied.
    operations: Vec<String>,
    /// Whether none of them has a problem.
    clean: bool,
}

impl From<Findings> for Report {
    fn from(findings: Findings) -> Self {
        let problems = Problems::of(findings.problems);
        Self {
            success: true,
            valid: problems.is_none(),
            errors: problems.map_or_else(|| Value::Array(Vec::new()), |problems| problems.to_json()),
            warnings: findings.warnings.iter().map(Warning::to_json).collect(),
            summary: findings.summary,
            groups: findings.groups.into_iter().map(GroupReport::from).collect(),
        }
    }
}

impl From<Group> for GroupReport {
    fn from(group: Group) -> Self {
        Self { operations: group.operations, clean: group.is_clean }
    }
}
