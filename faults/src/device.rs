//! A phone: it works through a queue of random batches and sends each until it is answered.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::front::{Front, Progress};
use crate::harness::{Phone, Request};
use crate::operation::{Marker, Operation, Poison, body, local_id};
use crate::queue::{Queue, Shelf};

/// A shop, as its phones share it.
#[derive(Debug)]
pub struct Shop {
    /// Its place among the shops of a round.
    pub index: usize,
    /// The client's id.
    pub client: String,
    /// What all phones of the shop sell.
    pub shelf: Shelf,
    /// The server's ids of the shelf, once one of the phones has opened the shop.
    opened: OnceLock<HashMap<Marker, String>>,
}

impl Shop {
    /// A shop that nobody has heard of yet.
    pub fn new(index: usize, client: String) -> Self {
        Self { index, shelf: Shelf::new(&client[..10]), client, opened: OnceLock::new() }
    }
}

/// A batch that has been sent, and what its phone heard of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its idempotency key.
    pub key: String,
    /// What it asks for.
    pub operations: Vec<Operation>,
    /// What came of it.
    pub fate: Fate,
    body: Value,
    /// Whether the records may say no to it.
    contended: bool,
}

#[cfg(test)]
impl Sent {
    /// A batch that nobody has sent.
    pub fn with_fate(key: &str, operations: Vec<Operation>, fate: Fate) -> Self {
        Self { key: key.to_owned(), operations, fate, body: Value::Null, contended: false }
    }
}

/// What came of a batch, as far as its phone knows.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Nothing was heard.
    Open,
    /// 200.
    Acknowledged(Acknowledgement),
    /// The records said no.
    Refused,
}

/// What an answer says of a batch.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    /// The batch's revision.
    pub revision: i64,
    /// Whether it wrote anything, which is what takes a revision.
    pub wrote: bool,
    /// The server's ids of what it made, or had made before.
    pub ids: HashMap<Marker, String>,
    /// Whether an earlier request had committed it.
    pub replayed: bool,
}

/// A phone of a shop.
pub struct Device {
    /// Its shop.
    pub shop: Arc<Shop>,
    /// All that it has sent, in this order.
    pub sent: Vec<Sent>,
    /// What it heard or did not hear against the promises.
    pub violations: Vec<String>,
    /// How many batches were acknowledged after an attempt of which nothing was heard.
    pub settled: usize,
    queue: Queue,
    known: HashMap<Marker, String>,
    /// Batches that were given up for lost, and whose operations went into others.
    abandoned: Vec<Sent>,
    /// How many of the batches are in the backup, once there is one.
    in_backup: Option<usize>,
    attempts: usize,
    rng: ChaCha8Rng,
    front: Arc<Front>,
}

impl Device {
    /// The `index`th phone of a shop.
    pub fn new(shop: Arc<Shop>, index: usize, front: Arc<Front>, rng: ChaCha8Rng) -> Self {
        let tag = format!("{}.{index}", &shop.client[..10]);
        Self {
            queue: Queue::new(tag),
            shop,
            sent: Vec::new(),
            violations: Vec::new(),
            settled: 0,
            known: HashMap::new(),
            abandoned: Vec::new(),
            in_backup: None,
            attempts: index,
            rng,
            front,
        }
    }

    /// Fills and sends so many batches, one after another, and hears of every single one.
    pub fn work(&mut self, batches: usize, progress: &Progress) {
        self.open_shop(progress);
        for _ in 0..batches {
            if self.rng.random_ratio(1, 8) {
                self.pull();
            }
            let (operations, contended) = self.queue.fill(&self.shop.shelf, &mut self.rng);
            let poison = (!contended && self.rng.random_ratio(1, 6)).then(|| self.poison());
            self.deliver(operations, contended, poison, progress);
        }
        for batch in std::mem::take(&mut self.abandoned) {
            self.settle(batch, progress);
        }
        progress.finished(self.shop.index);
    }

    /// Notes that what was acknowledged so far is in a backup. A later restore loses the records of all that comes
    /// after it, with their ids, so from now on batches name such records by nothing but their `localId`.
    pub fn backed_up(&mut self) {
        self.in_backup = Some(self.sent.len());
    }

    /// Sends its whole history again, from the first batch on, after a restore of the backup: most batches as they
    /// were, some under new keys. What is in the backup must be answered with the ids of before.
    pub fn resend(&mut self, progress: &Progress) {
        let in_backup = self.in_backup.unwrap_or_default();
        for (place, batch) in std::mem::take(&mut self.sent).into_iter().enumerate() {
            let Fate::Acknowledged(before) = batch.fate.clone() else {
                self.sent.push(batch);
                continue;
            };
            let (is_kept, is_new) = (place < in_backup, place % 3 == 2);
            let mut again = Sent { fate: Fate::Open, ..batch.clone() };
            if is_new {
                again.key = self.queue.next_key();
            }
            if is_new && is_kept {
                self.sent.push(batch);
            }
            self.settle(again, progress);
            if is_kept {
                self.check_kept(&before, is_new);
            }
        }
        progress.finished(self.shop.index);
    }

    /// The last batch is in the backup, where it came to `before`.
    fn check_kept(&mut self, before: &Acknowledgement, is_new: bool) {
        let Some(Sent { key, fate: Fate::Acknowledged(now), .. }) = self.sent.last() else { return };
        let is_replay = now.replayed && now.revision == before.revision;
        if now.ids != before.ids || !(is_new || is_replay) {
            let what = format!("is in the backup as {before:?} and was answered with {now:?}");
            self.violations.push(format!("{key} of client {}: {what}", self.shop.client));
        }
    }

    /// Asks the server what became of every batch and of every record, and compares that with what it said before.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn reconcile(&self) -> Result<Vec<String>, String> {
        let creates = |sent: &Sent| sent.operations.iter().filter_map(Operation::creates).cloned().collect::<Vec<_>>();
        let keys: Vec<&str> = self.sent.iter().map(|sent| sent.key.as_str()).collect();
        let local_ids: BTreeSet<String> = self.sent.iter().flat_map(creates).map(|marker| local_id(&marker)).collect();
        let question = json!({"keys": keys, "localIds": local_ids});
        let phone = Phone::at(&self.front.url(0), &self.shop.client, PATIENCE);
        let answer = phone.try_send(Request::new("POST", "/api/sync/reconcile").json(&question));
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("a reconcile is answered with {}", answer.status));
        }
        let answer = answer.json();
        Ok(self.sent.iter().flat_map(|sent| self.reconcile_batch(sent, &answer)).collect())
    }

    fn reconcile_batch(&self, sent: &Sent, answer: &Value) -> Vec<String> {
        let (key, of) = (&sent.key, &answer["keys"][&sent.key]);
        let Fate::Acknowledged(acknowledgement) = &sent.fate else {
            let is_unknown = of["status"] == "unknown";
            return if is_unknown { Vec::new() } else { vec![format!("{key} was refused and reconciles to {of}")] };
        };
        let mut found = Vec::new();
        if of["status"] != "committed" || of["revision"] != acknowledgement.revision {
            found.push(format!("{key} was acknowledged and reconciles to {of}"));
        }
        for (marker, id) in &acknowledgement.ids {
            let of = &answer["localIds"][local_id(marker)];
            if of["status"] != "committed" || of["id"] != *id {
                found.push(format!("{marker} was acknowledged as {id} and reconciles to {of}"));
            }
        }
        found
    }

    /// Everything of the shop.
    pub fn books(&self) -> Option<Value> {
        let phone = Phone::at(&self.front.url(0), &self.shop.client, PATIENCE);
        phone.try_send(Request::sync()).ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
    }

    /// The first phone of a shop puts goods on the shelf; the others wait for it.
    fn open_shop(&mut self, progress: &Progress) {
        let shop = Arc::clone(&self.shop);
        let ids = shop.opened.get_or_init(|| {
            self.deliver(shop.shelf.opening(), false, None, progress);
            self.known.clone()
        });
        self.known.extend(ids.clone());
    }

    /// An empty batch, whose answer does not matter here.
    fn pull(&mut self) {
        let _ = Phone::at(&self.front.url(self.attempts), &self.shop.client, PATIENCE).try_send(Request::sync());
    }

    /// Sends operations until they are answered, in one batch or, after lost answers, in another with more.
    fn deliver(
        &mut self,
        operations: Vec<Operation>,
        contended: bool,
        mut poison: Option<Poison>,
        progress: &Progress,
    ) {
        let mut batch = self.freeze(operations, contended, poison);
        let mut lost = false;
        let deadline = Instant::now() + GIVE_UP;
        loop {
            match self.attempt(&batch) {
                Reply::Committed(_) if poison.is_some() => {
                    return self.violation(&batch, "a batch that must be refused was committed");
                }
                Reply::Committed(acknowledgement) => return self.acknowledged(batch, acknowledgement, lost, progress),
                Reply::Refused(_) if poison.is_some() => {
                    // A refused batch leaves its key free for the corrected one.
                    poison = None;
                    batch = Sent { body: body(&batch.operations, None, &self.known), ..batch };
                    continue;
                }
                Reply::Refused(_) if batch.contended => {
                    batch.fate = Fate::Refused;
                    return self.sent.push(batch);
                }
                Reply::Refused(why) => return self.violation(&batch, &format!("a good batch was refused: {why}")),
                Reply::Wrong(why) => return self.violation(&batch, &why),
                Reply::Lost => {
                    lost = true;
                    if poison.is_none()
                        && !batch.contended
                        && batch.operations.len() < LARGE
                        && self.rng.random_ratio(1, 4)
                    {
                        batch = self.batch_anew(batch);
                    }
                }
                Reply::Later => {}
            }
            if Instant::now() > deadline {
                return self.violation(&batch, &format!("no answer within {GIVE_UP:?}"));
            }
            self.rest();
        }
    }

    /// The same operations and more in a new batch under a new key, as a phone makes it that has lost the old one.
    fn batch_anew(&mut self, batch: Sent) -> Sent {
        let mut operations = batch.operations.clone();
        self.abandoned.push(batch);
        operations.extend(self.queue.fill_more(&self.shop.shelf, &mut self.rng));
        self.freeze(operations, false, None)
    }

    /// Sends a batch as it is until it is answered.
    fn settle(&mut self, batch: Sent, progress: &Progress) {
        let deadline = Instant::now() + GIVE_UP;
        let mut lost = false;
        while Instant::now() < deadline {
            match self.attempt(&batch) {
                Reply::Committed(acknowledgement) => return self.acknowledged(batch, acknowledgement, lost, progress),
                Reply::Refused(why) => {
                    return self.violation(&batch, &format!("a batch sent again was refused: {why}"));
                }
                Reply::Wrong(why) => return self.violation(&batch, &why),
                Reply::Lost => lost = true,
                Reply::Later => {}
            }
            self.rest();
        }
        self.violation(&batch, &format!("no answer within {GIVE_UP:?}"));
    }

    fn freeze(&mut self, operations: Vec<Operation>, contended: bool, poison: Option<Poison>) -> Sent {
        let body = body(&operations, poison, &self.known);
        Sent { key: self.queue.next_key(), operations, fate: Fate::Open, body, contended }
    }

    fn acknowledged(&mut self, batch: Sent, acknowledgement: Acknowledgement, lost: bool, progress: &Progress) {
        if self.in_backup.is_none() {
            self.known.extend(acknowledgement.ids.clone());
        }
        self.settled += usize::from(lost);
        self.sent.push(Sent { fate: Fate::Acknowledged(acknowledgement), ..batch });
        progress.acknowledged(self.shop.index);
    }

    fn violation(&mut self, batch: &Sent, what: &str) {
        self.violations.push(format!("{} of client {}: {what}", batch.key, self.shop.client));
        self.sent.push(batch.clone());
    }

    fn attempt(&mut self, batch: &Sent) -> Reply {
        self.attempts += 1;
        // Some people put the phone away before it has an answer.
        let patience =
            if self.rng.random_ratio(1, 12) { Duration::from_millis(self.rng.random_range(1..40)) } else { PATIENCE };
        let phone = Phone::at(&self.front.url(self.attempts), &self.shop.client, patience);
        let request = Request::sync().header("X-Idempotency-Key", &batch.key).json(&batch.body);
        let Ok(answer) = phone.try_send(request) else { return Reply::Lost };
        let Ok(json) = serde_json::from_slice::<Value>(&answer.bytes) else { return Reply::Lost };
        let code = json["code"].as_str().unwrap_or_default().to_owned();
        match answer.status {
            200 => acknowledgement(&json, answer.header("Idempotency-Replayed").is_some(), batch),
            409 => Reply::Later,
            // It may have been applied all the same, as far as a phone knows.
            503 if code == "store_unavailable" => Reply::Lost,
            503 => Reply::Later,
            400 if code == "malformed_json" => Reply::Lost,
            400 | 422 if code == "invalid_batch" || code == "batch_rejected" => Reply::Refused(json.to_string()),
            status => Reply::Wrong(format!("answered with {status}: {json}")),
        }
    }

    fn rest(&mut self) {
        std::thread::sleep(Duration::from_millis(self.rng.random_range(5..80)));
    }

    fn poison(&mut self) -> Poison {
        [Poison::Shapeless, Poison::UpdateOfNothing, Poison::PaymentOnNothing][self.rng.random_range(0..3)]
    }
}

/// What one attempt came to.
enum Reply {
    /// 200.
    Committed(Acknowledgement),
    /// The batch is not acceptable.
    Refused(String),
    /// Nothing was heard that says whether it was applied.
    Lost,
    /// It is to be sent again, and nothing else.
    Later,
    /// Something that no server may answer.
    Wrong(String),
}

/// Reads a 200, which must tell the id of everything that the batch makes, by its alias and by its `localId`.
fn acknowledgement(answer: &Value, replayed: bool, batch: &Sent) -> Reply {
    let maps = ["items", "invoices", "payments"].map(|kind| &answer["idMap"][kind]);
    let id_of = |name: &str| maps.iter().find_map(|map| map[name].as_str()).map(str::to_owned);
    let mut ids = HashMap::new();
    for marker in batch.operations.iter().filter_map(Operation::creates) {
        let Some(id) = id_of(marker) else { return Reply::Wrong(format!("a 200 without the id of {marker}")) };
        if id_of(&local_id(marker)).as_ref() != Some(&id) {
            return Reply::Wrong(format!("a 200 in which {marker} has another id than its localId"));
        }
        ids.insert(marker.clone(), id);
    }
    let counts = ["itemsCreated", "itemsUpdated", "itemsDeleted", "invoicesCreated", "paymentsCreated"];
    let wrote = counts.iter().any(|count| answer["summary"][count].as_i64() > Some(0));
    match answer["revision"].as_i64() {
        Some(revision) => Reply::Committed(Acknowledgement { revision, wrote, ids, replayed }),
        None => Reply::Wrong("a 200 without a revision".into()),
    }
}

/// A batch that has as many operations takes no more.
const LARGE: usize = 30;

/// How long a phone waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a batch may stay without an answer, whatever is broken meanwhile.
const GIVE_UP: Duration = Duration::from_secs(90);
