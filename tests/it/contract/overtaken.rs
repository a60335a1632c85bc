//! A batch that is worked out beside the writer, and another of its client that is written first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use viveka_sync::model::{ClientId, Revision};
use viveka_sync::plan::{Decision, Planner, ReadSet, Reject, Snapshot};
use viveka_sync::store::{ExecuteError, Outcome, Store};

use super::subject::{Subject, execute, execute_with_key, keyed, new_client, planner};

const PATIENCE: Duration = Duration::from_secs(30);

/// Stays in its first planning, once it has planned, until it is let go.
struct Held {
    inner: Arc<dyn Planner>,
    is_first: AtomicBool,
    planned: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Planner for Held {
    fn reads(&self) -> ReadSet {
        self.inner.reads()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn plan(&self, before: &Snapshot) -> Result<Decision, Reject> {
        let decision = self.inner.plan(before);
        if self.is_first.swap(false, Ordering::Relaxed) {
            self.planned.send(()).unwrap();
            self.go.lock().unwrap().recv_timeout(PATIENCE).expect("nobody overtook it");
        }
        decision
    }
}

/// Executes a batch, which is overtaken by work on the same client once it has been planned.
async fn overtaken<T>(
    store: &Arc<dyn Store>,
    client: ClientId,
    batch: Arc<dyn Planner>,
    work: impl Future<Output = T>,
) -> (Result<Outcome, ExecuteError>, T) {
    let ((planned, is_planned), (let_go, go)) = (channel(), channel());
    let held = Held { inner: batch, is_first: AtomicBool::new(true), planned, go: Mutex::new(go) };
    let batch = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.execute(&client, Arc::new(held)).await }
    });
    tokio::task::spawn_blocking(move || is_planned.recv_timeout(PATIENCE)).await.unwrap().expect("it is planned");
    let done = work.await;
    let_go.send(()).unwrap();
    (batch.await.unwrap(), done)
}

fn tea(stock: i64) -> Value {
    json!({"item": {"create": [{"localId": "tea", "name": "Tea", "price": 10, "stock": stock}]}})
}

fn sale(quantity: i64) -> Value {
    json!({"invoice": {"create": [{"products": [{"productId": "tea", "quantity": quantity}]}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_worked_out_again_on_what_the_other_left() {
    let subject = Subject::embedded().await;
    let (store, client) = (subject.store(), new_client());
    execute(&*store, &client, &tea(100)).await.unwrap();

    let slow: Arc<dyn Planner> = Arc::new(planner(&client, &sale(1)));
    let (slow, quick) = overtaken(&store, client, slow, execute(&*store, &client, &sale(2))).await;

    assert_eq!(quick.unwrap().receipt.revision, Revision(2));
    assert_eq!(slow.unwrap().receipt.revision, Revision(3), "nothing of the quick one was overwritten");
    let reads = planner(&client, &sale(1)).reads();
    let books = store.snapshot(&client, &reads).await.unwrap();
    let stocks: Vec<_> = books.items.values().map(|item| item.stock.to_f64()).collect();
    assert_eq!((books.revision, stocks, books.next_invoice), (Revision(3), vec![97.0], 3));
}

/// Neither batch changes the books, for its create was applied before: they stay at their revision, and only the
/// receipt tells that the key is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn its_key_may_have_been_taken_without_a_revision() {
    let subject = Subject::embedded().await;
    let (store, client) = (subject.store(), new_client());
    execute(&*store, &client, &tea(100)).await.unwrap();

    let (slow, other) = (keyed(&client, "key", &tea(1)), tea(2));
    let quick = execute_with_key(&*store, &client, "key", &other);
    let (slow, quick) = overtaken(&store, client, slow, quick).await;

    assert_eq!(quick.unwrap().receipt.revision, Revision(1));
    assert!(matches!(slow, Err(ExecuteError::Rejected(Reject::KeyReused))), "{slow:?}");
}
