//! `POST /api/sync`: here is my queue; give me the truth back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};

use super::App;
use super::admission::Admitted;
use super::answer::{Shown, View, show};
use super::body;
use super::copies::Received;
use super::encoding::Coding;
use super::error::ApiError;
use super::idempotency::{self, Lead, Part, Slot, Unshared};
use super::trace::Trace;
use crate::batch::{self, Batch};
use crate::clock::Stamp;
use crate::metrics::{self, OperationKind, Phase, Replay};
use crate::model::{ClientId, Cursor, IdempotencyKey};
use crate::plan::{Decision, Idempotent, Planner, ReadSet, Receipt, Reject, Snapshot, SyncPlanner};
use crate::store::{FullReason, MOST_READ_ON_THE_WAY, Outcome, Wanted};

/// As long as phones wait. Work that takes longer goes on, and a retry with the same key finds it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Gives up what takes longer. Nothing that must go on to its end may hang on it alone.
///
/// # Errors
/// [`ApiError::Unavailable`] then, else those of the work.
pub async fn in_time<T>(work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let late = |_| ApiError::Unavailable(format!("not done within {} s", LONGEST_WAIT.as_secs()));
    tokio::time::timeout(LONGEST_WAIT, work).await.map_err(late)?
}

/// What is answered.
struct Done {
    shown: Shown,
    /// Who knew that the batch had been committed before, if it had.
    replayed: Option<Replay>,
}

impl Done {
    /// Takes note of it.
    fn note(shown: Shown, replayed: Option<Replay>, admitted: &Admitted) -> Self {
        if let Some(how) = replayed {
            metrics::REPLAYS.count(how);
            admitted.trace().replayed(how);
        }
        // Of a batch that was executed here its own revision is known already.
        admitted.trace().shows(shown.revision());
        Self { shown, replayed }
    }
}

/// Applies the batch, all or nothing and exactly once, and answers with as much of the client's dataset as was
/// asked for.
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
    key.iter().for_each(|key| admitted.trace().key(key));
    let body = body::read(request.headers(), payload, &admitted, &app).await?;
    let received = receive(body, key.as_ref(), &admitted, &app).await?;
    let batch = &*received.batch;
    if key.is_none() && app.limits.require_idempotency_key && !batch.is_empty() {
        return Err(ApiError::KeyRequired);
    }
    note(batch, &admitted);
    let view = View { wanted: wanted(&batch.view, &admitted.client()), coding: Coding::accepted(request.headers()) };
    let committed = !batch.is_empty();
    let Done { shown, replayed } = answer(&admitted, key, received, view, &app).await?;
    shown.respond(replayed.is_some(), view.coding, None, admitted, &app).map_err(|error| error.after(committed))
}

fn note(batch: &Batch, admitted: &Admitted) {
    admitted.trace().operations(batch.operations());
    if !batch.is_empty() {
        metrics::BATCH_OPERATIONS.of(()).record(batch.operations() as f64);
    }
}

/// What a cursor that a phone sent asks for.
pub fn since(cursor: &str, client: &ClientId) -> Wanted {
    Cursor::parse(cursor, client).map_or(Wanted::Full(FullReason::CursorUnknown), Wanted::Since)
}

fn wanted(view: &batch::View, client: &ClientId) -> Wanted {
    match view {
        batch::View::Full => Wanted::Full(FullReason::NoCursor),
        batch::View::Since(cursor) => since(cursor, client),
        batch::View::None => Wanted::Nothing,
    }
}

/// Reads a batch, unless it is a copy of one that is being worked on.
async fn receive(
    body: Vec<u8>,
    key: Option<&IdempotencyKey>,
    admitted: &Admitted,
    app: &App,
) -> Result<Received, ApiError> {
    let (client, texts) = (admitted.client(), body.len());
    if let Some(batch) = key.and_then(|key| app.copies.find(client, key, &body)) {
        admitted.hold(texts + batch.footprint())?;
        return Ok(Received { batch, in_work: None });
    }
    let read = move |body: Vec<u8>, most| Batch::parse(&body, &client, most).map(|batch| (Arc::new(batch), body));
    let (batch, body) = app.parse(admitted, body, read).await??;
    let in_work = key.and_then(|key| app.copies.begin(client, key.clone(), body, Arc::clone(&batch)));
    let kept = if in_work.is_some() { texts } else { 0 };
    admitted.hold(kept + texts + batch.footprint())?;
    Ok(Received { batch, in_work })
}

/// Waits for the answer, as long as phones do.
async fn answer(
    admitted: &Admitted,
    key: Option<IdempotencyKey>,
    received: Received,
    view: View,
    app: &web::Data<App>,
) -> Result<Done, ApiError> {
    let key = key.filter(|_| !received.batch.is_empty());
    let late = match key {
        Some(_) => ApiError::InProgress,
        None => ApiError::Unavailable(format!("not done within {} s", LONGEST_WAIT.as_secs())),
    };
    let answer = async {
        match key {
            Some(key) => share(admitted, key, received, view, app).await,
            None => alone(admitted, received, view, app).await,
        }
    };
    tokio::time::timeout(LONGEST_WAIT, answer).await.map_err(|_| late)?
}

/// Does the work for this request.
async fn alone(admitted: &Admitted, received: Received, view: View, app: &web::Data<App>) -> Result<Done, ApiError> {
    let (inner, admitted) = (app.clone(), admitted.clone());
    let work = async move {
        let shown = if received.batch.is_empty() {
            // A pull changes nothing, so there is nothing to execute.
            let receipt = Receipt { warnings: received.batch.warnings.clone().into_list(), ..Receipt::default() };
            show(&admitted, &receipt, None, view, &inner).await?
        } else {
            let outcome = execute(&admitted, None, received, view.wanted, &inner).await?;
            show_outcome(&admitted, &outcome, view, &inner).await?
        };
        Ok(Done::note(shown, None, &admitted))
    };
    app.run(work).await?
}

/// Does the work for all requests with the same batch, or waits for another that does it.
async fn share(
    admitted: &Admitted,
    key: IdempotencyKey,
    received: Received,
    view: View,
    app: &web::Data<App>,
) -> Result<Done, ApiError> {
    loop {
        let slot = Slot {
            epoch: app.store.epoch(),
            client: admitted.client(),
            key: key.clone(),
            fingerprint: received.batch.fingerprint.clone(),
            view,
        };
        let waiting = match app.replays.join(slot).await {
            Part::Finished(answer) => return Ok(Done::note(Shown::Whole(answer), Some(Replay::Cache), admitted)),
            Part::Leads(lead) => {
                return app.run(work(lead, admitted.clone(), key, received, view, app.clone())).await?;
            }
            Part::Waits(waiting) => waiting,
        };
        let shown = match waiting.over().await {
            Some(Ok(answer)) => Shown::Whole(answer),
            Some(Err(Unshared::Large(outcome))) => {
                let (inner, admitted) = (app.clone(), admitted.clone());
                app.run(async move { show_outcome(&admitted, &outcome, view, &inner).await }).await??
            }
            Some(Err(Unshared::Error(error))) => return Err(error),
            None => continue,
        };
        return Ok(Done::note(shown, Some(Replay::Coalesced), admitted));
    }
}

/// Does the work, and tells those who wait.
async fn work(
    lead: Lead,
    admitted: Admitted,
    key: IdempotencyKey,
    received: Received,
    view: View,
    app: web::Data<App>,
) -> Result<Done, ApiError> {
    let work = async {
        let outcome = Arc::new(execute(&admitted, Some(key), received, view.wanted, &app).await?);
        Ok((show_outcome(&admitted, &outcome, view, &app).await?, outcome))
    };
    let shown = work.await;
    lead.done(match &shown {
        Ok((Shown::Whole(answer), _)) => Ok(answer.clone()),
        // What is too large to be shared is read by each for itself.
        Ok((Shown::Large(_), outcome)) => Err(Unshared::Large(Arc::clone(outcome))),
        Err(error) => Err(Unshared::Error(ApiError::clone(error))),
    })
    .await;
    let (shown, outcome) = shown?;
    Ok(Done::note(shown, outcome.replayed.then_some(Replay::Receipt), &admitted))
}

/// Executes the batch when it is the client's turn. `next` is what will be shown of the dataset.
async fn execute(
    admitted: &Admitted,
    key: Option<IdempotencyKey>,
    Received { batch, in_work }: Received,
    next: Wanted,
    app: &App,
) -> Result<Outcome, ApiError> {
    let (client, trace) = (admitted.client(), admitted.trace());
    let _turn = admitted.turn_to_execute().await?;
    let on_the_way = match next {
        Wanted::Full(_) => admitted.likely_answer().min(MOST_READ_ON_THE_WAY),
        Wanted::Since(_) | Wanted::Nothing => 0,
    };
    admitted.hold_more(batch.execution_footprint() + on_the_way)?;
    let operations = operations(&batch);
    let planner = Timed { inner: planner(key, batch), trace: Arc::clone(trace) };
    let executed = app.store.execute(&client, Arc::new(planner), next);
    let outcome = trace.during_async(Phase::Execute, executed).await?;
    // From here on the request holds its answer, and no more of the batch.
    drop(in_work);
    trace.executed(outcome.receipt.revision);
    if !outcome.replayed {
        metrics::COMMITS.count(());
        operations.into_iter().for_each(|(kind, count)| metrics::OPERATIONS_DONE.of(kind).increment(count as u64));
    }
    Ok(outcome)
}

/// How many operations of each kind a batch has.
fn operations(batch: &Batch) -> [(OperationKind, usize); 5] {
    [
        (OperationKind::ItemCreate, batch.new_items.len()),
        (OperationKind::ItemUpdate, batch.item_updates.len()),
        (OperationKind::ItemDelete, batch.item_deletes.len()),
        (OperationKind::InvoiceCreate, batch.new_invoices.len()),
        (OperationKind::PaymentCreate, batch.new_payments.len()),
    ]
}

/// A planner whose time is taken.
struct Timed {
    inner: Arc<dyn Planner>,
    trace: Arc<Trace>,
}

impl Planner for Timed {
    fn reads(&self) -> ReadSet {
        self.inner.reads()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        self.trace.during(Phase::Plan, || self.inner.plan(before))
    }
}

async fn show_outcome(admitted: &Admitted, outcome: &Outcome, view: View, app: &App) -> Result<Shown, ApiError> {
    let shown = show(admitted, &outcome.receipt, Some(&outcome.after), view, app).await;
    shown.map_err(|error| error.after(true))
}

fn planner(key: Option<IdempotencyKey>, batch: Arc<Batch>) -> Arc<dyn Planner> {
    let stamp = Stamp::take(batch.ids());
    let (fingerprint, at) = (batch.fingerprint.clone(), stamp.time());
    let inner = SyncPlanner::new(batch, stamp);
    match key {
        Some(key) => Arc::new(Idempotent { inner, key, fingerprint, at }),
        None => Arc::new(inner),
    }
}
