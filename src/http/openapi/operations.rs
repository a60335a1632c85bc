//! The operations of the API: what each takes, and what it answers.

use utoipa::openapi::path::{ParameterIn, PathItem, PathItemBuilder};
use utoipa::openapi::{HttpMethod, Response, Tag};

use super::operation::{Operation, SERVER, SYNC, answer, any_text, body, no_body, with_headers};
use crate::batch::{Batch, Inquiry, StatedClient};
use crate::http::Limits;
use crate::http::answer::SyncAnswer;
use crate::http::health::Healthy;
use crate::http::limits::Published;
use crate::http::ready::Ready;
use crate::http::reconcile::Report as Reconciled;
use crate::http::validate::Report as Validated;

/// The groups of operations, in the order in which they are read.
pub fn tags() -> [Tag; 2] {
    [(SYNC, "What phones do."), (SERVER, "What balancers and people ask.")].map(|(name, about)| {
        let mut tag = Tag::new(name);
        tag.description = Some(about.to_owned());
        tag
    })
}

/// `POST /api/readytosync`.
pub fn ready(limits: &Limits) -> PathItem {
    let empty = ("empty", "Nothing to say", "{}");
    let answered = ("ready", "The token is good", include_str!("examples/ready.answer.json"));
    Operation::new("readyToSync", "Is my token still good?", include_str!("text/ready.md"))
        .reading(body::<StatedClient>("Optional.", &[empty]))
        .answering("200", answer::<Ready>("The token is good.", &[answered]))
        .item(HttpMethod::Post, limits)
}

/// `POST /api/sync`.
pub fn sync(limits: &Limits) -> PathItem {
    let examples = [
        DAY,
        ("pull", "A pull: everything", "{}"),
        ("delta", "A pull: what has changed", include_str!("examples/delta.request.json")),
        ("receiptOnly", "Without the dataset", r#"{"data": "none"}"#),
    ];
    let about = "The batch is committed, or there was nothing to commit.";
    Operation::new("sync", "Here is my queue; give me the truth back", include_str!("text/sync.md"))
        .keyed()
        .reading(body::<Batch>("Optional: without a body it is a pull.", &examples))
        .answering("200", with_headers(answer::<SyncAnswer>(about, &[SYNCED]), &["Idempotency-Replayed"]))
        .asking_the_store()
        .applying_a_batch()
        .item(HttpMethod::Post, limits)
}

/// `GET /api/sync/data`.
pub fn data(limits: &Limits) -> PathItem {
    let since = "The `cursor` of the last answer, for a delta. A wrong or old one gives a full answer.";
    let known = "The `ETag` of the answer that the phone has.";
    let tagged = |response: Response| with_headers(response, &["ETag", "Cache-Control"]);
    Operation::new("pullData", "Has anything changed? Then give it to me", include_str!("text/data.md"))
        .taking(ParameterIn::Query, "since", since, any_text())
        .taking(ParameterIn::Header, "If-None-Match", known, any_text())
        .answering("200", tagged(answer::<SyncAnswer>("The dataset, or what has changed.", &[SYNCED])))
        .answering("304", tagged(no_body("Nothing has changed since the answer with this `ETag`.")))
        .asking_the_store()
        .item(HttpMethod::Get, limits)
}

/// `POST /api/sync/validate`.
pub fn validate(limits: &Limits) -> PathItem {
    let batch = ("refused", "More paid than is due", include_str!("examples/validate.request.json"));
    let refused = ("refused", "More paid than is due", include_str!("examples/validate.answer.json"));
    Operation::new("validate", "What would come of this queue?", include_str!("text/validate.md"))
        .keyed()
        .reading(body::<Batch>("As for a sync.", &[batch, DAY]))
        .answering("200", answer::<Validated>("What a sync would say.", &[refused]))
        .asking_the_store()
        .item(HttpMethod::Post, limits)
}

/// `POST /api/sync/reconcile`.
pub fn reconcile(limits: &Limits) -> PathItem {
    let asked = ("after", "After the sync of the example", include_str!("examples/reconcile.request.json"));
    let told = ("after", "After the sync of the example", include_str!("examples/reconcile.answer.json"));
    let about = include_str!("text/reconcile.md");
    Operation::new("reconcile", "Is this batch, is this record in the books?", about)
        .reading(body::<Inquiry>("Each list may be absent or null.", &[asked]))
        .answering("200", answer::<Reconciled>("What became of each.", &[told]))
        .asking_the_store()
        .item(HttpMethod::Post, limits)
}

/// `GET /api/sync/limits`.
pub fn limits(limits: &Limits) -> PathItem {
    let defaults =
        ("defaults", "Those of a server whose operator has set none", include_str!("examples/limits.answer.json"));
    Operation::new("limits", "How much may a request hold?", include_str!("text/limits.md"))
        .without_token()
        .answering("200", answer::<Published>("What this server was told.", &[defaults]))
        .item(HttpMethod::Get, limits)
}

/// `GET` and `HEAD /api/health`.
pub fn health(limits: &Limits) -> PathItem {
    let healthy = ("ok", "It can work", include_str!("examples/health.answer.json"));
    let about = include_str!("text/health.md");
    let get = Operation::new("health", "Can this server work?", about)
        .without_token()
        .answering("200", answer::<Healthy>("It can work.", &[healthy]))
        .asking_the_store();
    let head = Operation::new("healthHead", "The same, without a body", about)
        .without_token()
        .without_bodies()
        .answering("200", no_body("It can work."))
        .asking_the_store();
    PathItemBuilder::new()
        .operation(HttpMethod::Get, get.build(limits))
        .operation(HttpMethod::Head, head.build(limits))
        .build()
}

const DAY: (&str, &str, &str) = ("day", "A whole offline day", include_str!("examples/sync.request.json"));
const SYNCED: (&str, &str, &str) = ("day", "After a whole offline day", include_str!("examples/sync.answer.json"));
