//! What every engine must do.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bson::{Bson, doc};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use viveka_sync::clock;
use viveka_sync::model::{Amount, ClientId, Collection, Cursor, InvoiceId, Payment, PaymentId, Revision, SessionId};
use viveka_sync::plan::{Decision, Planner, ReadSet, Reject, Snapshot, SyncPlanner, Write};
use viveka_sync::store::{AccountCollection, After, Data, ExecuteError, Outcome, Standing, Store, Wanted};

use super::subject::{EVERYTHING, Subject, execute, execute_with_key, new_client, planner};

pub async fn a_reject_writes_nothing(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    execute(&*store, &client, &shop()).await.unwrap();
    let before = shown(&*store, &client).await;
    let half_good = json!({
        "item": {"create": [{"name": "never", "price": 1}], "delete": ["650000000000000000000001"]},
        "invoice": {"create": [{"products": [{"itemName": "never", "costPerUnit": 1, "quantity": 1}]}]},
    });
    let rejected = execute(&*store, &client, &half_good).await;
    assert!(matches!(rejected, Err(ExecuteError::Rejected(Reject::Problems(_)))), "{rejected:?}");
    assert_eq!(shown(&*store, &client).await, before);
}

pub async fn all_of_a_plan_is_written(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let outcome = execute(&*store, &client, &shop()).await.unwrap();
    assert!(!outcome.replayed);
    let data = shown(&*store, &client).await;
    assert_eq!(outcome.receipt.revision, Revision(1));
    assert_eq!(revision(&*store, &client).await, Revision(1));
    assert_eq!(ids(&data, Collection::Items), texts(&outcome.receipt.synced.items_created));
    assert_eq!(ids(&data, Collection::Invoices), texts(&outcome.receipt.synced.invoices_created));
    assert_eq!(ids(&data, Collection::Payments), texts(&outcome.receipt.synced.payments_created));
    assert_eq!(ids(&data, Collection::PurchaseHistories).len(), 1);
}

/// A planner of a good batch whose last write cannot be made: its payment's id is taken.
struct Broken {
    inner: SyncPlanner,
    taken: PaymentId,
}

impl Planner for Broken {
    fn reads(&self) -> ReadSet {
        self.inner.reads()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        let Decision::Commit(mut plan) = self.inner.plan(before)? else { panic!("it is new") };
        let now = clock::now();
        plan.writes.push(Write::InsertPayment(Payment {
            id: self.taken,
            local_id: None,
            invoice_id: InvoiceId(self.taken.0),
            amount: Amount::whole(1),
            method: String::new(),
            note: String::new(),
            paid_at: now,
            created_at: now,
            updated_at: now,
        }));
        Ok(Decision::Commit(plan))
    }
}

pub async fn a_plan_that_cannot_be_written_leaves_nothing(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let outcome = execute(&*store, &client, &shop()).await.unwrap();
    let before = shown(&*store, &client).await;
    let taken = outcome.receipt.synced.payments_created[0];
    let broken = store.execute(&client, Arc::new(Broken { inner: planner(&client, &shop()), taken }), EVERYTHING).await;
    if subject.refuses_existing_ids().await {
        assert!(matches!(broken, Err(ExecuteError::Store(_))), "{broken:?}");
        assert_eq!(shown(&*store, &client).await, before);
    } else {
        assert!(broken.is_ok(), "{broken:?}");
        assert_ne!(shown(&*store, &client).await, before);
    }
    let next = execute(&*store, &client, &shop()).await.unwrap();
    assert_eq!(revision(&*store, &client).await, next.receipt.revision);
}

pub async fn a_snapshot_sees_the_previous_commit(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let made = execute(&*store, &client, &shop()).await.unwrap();
    let item = made.receipt.synced.items_created[0].to_string();
    for round in 1..=10 {
        let sale = json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}});
        let outcome = execute(&*store, &client, &sale).await.unwrap();
        assert_eq!(outcome.receipt.revision, Revision(1 + round));
        let data = shown(&*store, &client).await;
        assert_eq!(data["items"][0]["stock"], json!(98 - round));
        assert_eq!(data["invoices"][round as usize]["invoiceNumber"], json!(format!("INV-{:06}", 1 + round)));
    }
}

/// A store may have read the dataset on the way to a commit, of several clients together.
pub async fn what_is_shown_after_a_batch_is_what_is_there(subject: Subject) {
    let store = subject.store();
    let rounds = all_at_once(8, || async {
        let client = new_client();
        let made = execute(&*store, &client, &shop()).await.unwrap().receipt.synced;
        let item = made.items_created[0].to_string();
        let open = json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 2}]}]}});
        let made = execute(&*store, &client, &open).await.unwrap().receipt.synced;
        let invoice = made.invoices_created[0].to_string();
        for body in [
            shop(),
            json!({"item": {"create": [{"name": "Sugar", "price": 2.5, "stock": 3}], "update": [{"_id": item, "price": 7}]}}),
            json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}, {"itemName": "Salt", "quantity": 2, "costPerUnit": 1}]}]}}),
            json!({"payment": {"create": [{"invoiceId": invoice, "amount": 1}, {"invoiceId": invoice, "amount": 24}]}}),
            json!({"item": {"delete": [item]}}),
        ] {
            let outcome = execute(&*store, &client, &body).await.unwrap();
            let (shown, there) =
                (pull_after(&*store, &client, Some(&outcome.after)).await, pull_after(&*store, &client, None).await);
            assert_eq!(shown.0.position.revision, outcome.receipt.revision);
            assert!(shown == there, "{body}: {} is not {}", text(&shown.1), text(&there.1));
        }
    });
    assert_eq!(rounds.await.len(), 8);
}

pub async fn other_clients_are_invisible(subject: Subject) {
    let (store, owner, other) = (subject.store(), new_client(), new_client());
    let made = execute(&*store, &owner, &shop()).await.unwrap().receipt.synced;
    let before = shown(&*store, &owner).await;
    let (item, invoice) = (made.items_created[0].to_string(), made.invoices_created[0].to_string());
    for body in [
        json!({"item": {"update": [{"_id": item, "price": 0}]}}),
        json!({"item": {"delete": [item]}}),
        json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}}),
        json!({"payment": {"create": [{"invoiceId": invoice, "amount": 1}]}}),
    ] {
        let rejected = execute(&*store, &other, &body).await;
        assert!(matches!(rejected, Err(ExecuteError::Rejected(_))), "{body}: {rejected:?}");
    }
    assert_eq!(shown(&*store, &owner).await, before);
    assert!(ids(&shown(&*store, &other).await, Collection::Items).is_empty());
}

/// Stays in its first planning until it is let go.
struct Slow {
    inner: SyncPlanner,
    is_first: AtomicBool,
    planning: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Planner for Slow {
    fn reads(&self) -> ReadSet {
        self.inner.reads()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        if self.is_first.swap(false, Ordering::Relaxed) {
            self.planning.send(()).unwrap();
            self.go.lock().unwrap().recv().unwrap();
        }
        self.inner.plan(before)
    }
}

pub async fn a_batch_waits_for_the_one_before_it(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let ((planning, is_planning), (let_go, go)) = (channel(), channel());
    let is_first = AtomicBool::new(true);
    let slow = Arc::new(Slow { inner: planner(&client, &shop()), is_first, planning, go: Mutex::new(go) });
    let first = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.execute(&client, slow, EVERYTHING).await }
    });
    tokio::task::spawn_blocking(move || is_planning.recv()).await.unwrap().unwrap();
    let second = tokio::spawn(async move { run(&store, client, None, &shop()).await });
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    let_go.send(()).unwrap();
    assert!(early.is_err(), "the second batch has overtaken the first");
    assert_eq!(first.await.unwrap().unwrap().receipt.revision, Revision(1));
    assert_eq!(second.await.unwrap().unwrap().receipt.revision, Revision(2));
}

pub async fn concurrent_batches_of_one_client_lose_nothing(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let made = execute(&*store, &client, &shop()).await.unwrap();
    let item = made.receipt.synced.items_created[0].to_string();
    let sale = json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}});
    let outcomes = all_at_once(50, || run(&store, client, None, &sale)).await;
    let revisions: BTreeSet<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().receipt.revision.0).collect();
    assert_eq!(revisions, (2..=51).collect());
    let data = shown(&*store, &client).await;
    assert_eq!(data["items"][0]["stock"], json!(98 - 50));
    let numbers: BTreeSet<_> =
        data["invoices"].as_array().unwrap().iter().map(|i| i["invoiceNumber"].to_string()).collect();
    assert_eq!(numbers.len(), 51);
}

pub async fn concurrent_batches_of_many_clients_lose_nothing(subject: Subject) {
    let store = subject.store();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let (store, client) = (Arc::clone(&store), new_client());
        tasks.spawn(async move {
            for round in 1..=3 {
                assert_eq!(execute(&*store, &client, &shop()).await.unwrap().receipt.revision, Revision(round));
            }
            assert_eq!(ids(&shown(&*store, &client).await, Collection::Invoices).len(), 3);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

pub async fn a_replay_writes_nothing_and_tells_the_same(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let mut body = shop();
    body["item"]["create"][0]["unknown"] = json!(true);
    body["item"]["create"][0]["_id"] = json!("an.alias$with\u{0}oddities");
    body["invoice"]["create"][0]["products"][0]["productId"] = json!("an.alias$with\u{0}oddities");
    let first = execute_with_key(&*store, &client, "key", &body).await.unwrap();
    execute(&*store, &client, &shop()).await.unwrap();
    let before = shown(&*store, &client).await;
    let again = execute_with_key(&*store, &client, "key", &body).await.unwrap();
    assert_eq!((again.replayed, &again.receipt), (true, &first.receipt));
    assert_eq!(again.receipt.warnings.len(), 2, "the unknown field and the unknown customer");
    assert_eq!(shown(&*store, &client).await, before);
    let elsewhere = execute_with_key(&*store, &new_client(), "key", &body).await.unwrap();
    assert!(!elsewhere.replayed, "keys are the client's own");
}

pub async fn a_key_cannot_be_reused(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    execute_with_key(&*store, &client, "key", &shop()).await.unwrap();
    let before = shown(&*store, &client).await;
    let other = json!({"item": {"create": [{"name": "other", "price": 1}]}});
    let reused = execute_with_key(&*store, &client, "key", &other).await;
    assert!(matches!(reused, Err(ExecuteError::Rejected(Reject::KeyReused))), "{reused:?}");
    assert_eq!(shown(&*store, &client).await, before);
}

pub async fn a_rejected_batch_leaves_its_key_free(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let bad = json!({"item": {"delete": ["nothing"]}});
    execute_with_key(&*store, &client, "key", &bad).await.unwrap_err();
    let good = execute_with_key(&*store, &client, "key", &shop()).await.unwrap();
    assert_eq!((good.replayed, good.receipt.revision), (false, Revision(1)));
}

pub async fn concurrent_batches_under_one_key_commit_once(subject: Subject) {
    let (store, client, body) = (subject.store(), new_client(), shop());
    let outcomes = all_at_once(20, || run(&store, client, Some("key"), &body)).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
    assert!(outcomes.iter().all(|outcome| outcome.receipt == outcomes[0].receipt));
    assert_eq!(revision(&*store, &client).await, Revision(1));
}

pub async fn reopening_keeps_the_data(mut subject: Subject) {
    let client = new_client();
    let first = execute_with_key(&*subject.store(), &client, "key", &shop()).await.unwrap();
    let before = shown(&*subject.store(), &client).await;
    subject.reopen().await;
    assert_eq!(shown(&*subject.store(), &client).await, before);
    let again = execute_with_key(&*subject.store(), &client, "key", &shop()).await.unwrap();
    assert_eq!((again.replayed, again.receipt), (true, first.receipt));
    let next = execute(&*subject.store(), &client, &shop()).await.unwrap();
    assert_eq!(next.receipt.revision, Revision(2));
}

pub async fn the_dataset_is_in_id_order(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    for _ in 0..5 {
        execute(&*store, &client, &shop()).await.unwrap();
    }
    let data = shown(&*store, &client).await;
    for collection in Collection::ALL {
        assert!(ids(&data, collection).is_sorted(), "{collection:?}");
    }
    assert_eq!(shown(&*store, &client).await, shown(&*store, &client).await);
}

/// Every batch writes one record of four kinds, so a snapshot that shows the middle of one is uneven.
pub async fn the_dataset_is_consistent_under_concurrent_writes(subject: Subject) {
    let (store, client) = (subject.store(), new_client());
    let writer = {
        let store = Arc::clone(&store);
        tokio::task::spawn(async move {
            for _ in 0..60 {
                execute(&*store, &client, &shop()).await.unwrap();
            }
        })
    };
    let mut seen = Revision(0);
    while !writer.is_finished() {
        let (revision, data) = pull(&*store, &client).await;
        assert!(revision >= seen, "{revision:?} after {seen:?}");
        seen = revision;
        for collection in [Collection::Items, Collection::Invoices, Collection::Payments, Collection::PurchaseHistories]
        {
            assert_eq!(ids(&data, collection).len() as i64, seen.0, "{collection:?} at {seen:?}");
        }
    }
    writer.await.unwrap();
}

pub async fn the_store_says_what_it_is(subject: Subject) {
    let health = subject.store().ping().await.unwrap();
    assert!(["embedded", "mongodb"].contains(&health.engine));
}

pub async fn a_session_stands_by_its_own_record_and_its_clients(mut subject: Subject) {
    let (client, other) = (new_client(), new_client());
    let [open, ended, silent, never] = [(); 4].map(|()| SessionId(new_client().object_id()));
    let account = |client: ClientId, active: bool| doc! { "_id": client.object_id(), "isActive": active, "kept": 1 };
    let device = |session: SessionId, active: Bson| {
        doc! { "_id": session.0, "clientId": client.object_id(), "deviceId": "d", "isActive": active }
    };
    let devices = [device(open, true.into()), device(ended, false.into()), device(silent, Bson::Null)];
    subject.put_accounts(AccountCollection::DeviceSessions, &devices).await;
    let standing = async |subject: &Subject, client: ClientId, session: SessionId| {
        subject.store().standing(&client, session).await.unwrap()
    };
    assert_eq!(standing(&subject, client, open).await, Standing::ClientInactive, "it never was");
    subject.put_accounts(AccountCollection::Clients, &[account(client, true), account(other, true)]).await;
    assert_eq!(standing(&subject, client, open).await, Standing::Active);
    for session in [ended, silent, never, SessionId(client.object_id())] {
        assert_eq!(standing(&subject, client, session).await, Standing::SessionEnded);
    }
    assert_eq!(standing(&subject, other, open).await, Standing::SessionEnded, "it is another client's");
    subject.put_accounts(AccountCollection::Clients, &[account(client, false)]).await;
    assert_eq!(standing(&subject, client, open).await, Standing::ClientInactive);
    assert_eq!(standing(&subject, client, ended).await, Standing::SessionEnded, "it is looked at first");
    assert_eq!(revision(&*subject.store(), &client).await, Revision(0), "the books do not know of it");
}

/// An item, an invoice for a customer, and a payment that finalises it: one record of four kinds.
fn shop() -> Value {
    json!({
        "item": {"create": [{"_id": 1, "name": "Tea", "price": 12.5, "stock": 100}]},
        "invoice": {"create": [{
            "_id": 1, "clientCustomerId": "690000000000000000000001", "products": [{"productId": 1, "quantity": 2}],
        }]},
        "payment": {"create": [{"invoiceId": 1, "amount": 25}]},
    })
}

async fn run(
    store: &Arc<dyn Store>,
    client: ClientId,
    key: Option<&'static str>,
    body: &Value,
) -> Result<Outcome, ExecuteError> {
    match key {
        Some(key) => execute_with_key(&**store, &client, key, body).await,
        None => execute(&**store, &client, body).await,
    }
}

/// Runs the same thing many times at once.
async fn all_at_once<T, F: Future<Output = T>>(count: usize, start: impl Fn() -> F) -> Vec<T> {
    futures_util::future::join_all((0..count).map(|_| start())).await
}

/// The client's data as an answer shows it.
async fn shown(store: &dyn Store, client: &ClientId) -> Value {
    pull(store, client).await.1
}

async fn revision(store: &dyn Store, client: &ClientId) -> Revision {
    store.dataset(client, Wanted::Nothing, None).await.unwrap().cursor.position.revision
}

async fn pull(store: &dyn Store, client: &ClientId) -> (Revision, Value) {
    let (cursor, json) = pull_after(store, client, None).await;
    (cursor.position.revision, serde_json::from_slice(&json).unwrap())
}

async fn pull_after(store: &dyn Store, client: &ClientId, after: Option<&After>) -> (Cursor, Vec<u8>) {
    let pull = store.dataset(client, EVERYTHING, after).await.unwrap();
    let Data::Ready(pieces) = pull.data else { panic!("it is small") };
    (pull.cursor, pieces.into_iter().flatten().collect())
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

fn ids(data: &Value, collection: Collection) -> Vec<String> {
    let records = data[collection.data_name()].as_array().unwrap();
    records.iter().map(|record| record["_id"].as_str().unwrap().to_owned()).collect()
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
