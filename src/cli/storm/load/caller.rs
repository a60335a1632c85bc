//! One phone of the load: one sync after the other, each until it knows what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::heard::{Heard, Receipt, exchange};
use super::pace::Pace;
use crate::cli::storm::ledger::{Fate, Ledger};
use crate::cli::storm::measure::{Came, Event};
use crate::cli::storm::script::{Draw, Known, Luck, Order, Place, Script, ShopIds, View};
use crate::phone::Phone;

/// What all phones of a load share. Nothing of it is locked.
#[derive(Debug)]
pub struct Common {
    /// What they send.
    pub script: Script,
    /// How often each batch is sent at once.
    pub copies: usize,
    /// How much of the dataset they ask for.
    pub view: View,
    /// Whom they tell what happens.
    pub told: Sender<Event>,
    /// How many syncs may still be begun.
    pub budget: AtomicU64,
    /// Cancelled when no more syncs are to be begun.
    pub ended: CancellationToken,
    /// Cancelled when what is still open stays so.
    pub over: CancellationToken,
}

/// A phone.
pub struct Caller {
    /// What it shares with the others.
    pub common: Arc<Common>,
    /// Its connection and token.
    pub phone: Phone,
    /// The shop's number, from 0.
    pub shop: u32,
    /// Its own number in the shop, from 1.
    pub number: u32,
    /// What all phones of the shop share.
    pub shared: Arc<ShopIds>,
    /// What it has for itself.
    pub shelf: ShopIds,
}

/// What is left of a phone when it is done.
#[derive(Debug, Default)]
pub struct Left {
    /// What it knows of its syncs.
    pub ledger: Ledger,
    /// How many syncs were due and not begun when the load ended.
    pub not_begun: u64,
}

/// A phone at work.
struct Work {
    caller: Caller,
    /// Where the next delta begins.
    cursor: Option<Box<str>>,
    /// About how long an answer takes, to hang up before or after it.
    usual: Duration,
    ledger: Ledger,
    /// How many requests have no answer as yet.
    under_way: AtomicU32,
}

/// A sync that is under way.
struct Sync {
    place: Place,
    order: Order,
    body: Bytes,
    key: String,
    /// When it should have been sent.
    due: Instant,
    /// How many answers under this key were not given before.
    fresh: usize,
}

/// The first pause before a batch is sent again, and the longest that is not asked for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl Caller {
    /// Sends one sync after the other, as fast as the pace says, until the load ends or one is refused.
    pub async fn work(self, mut pace: Pace) -> Left {
        let common = Arc::clone(&self.common);
        let mut work = Work::of(self);
        while let Some(due) = pace.next(&common.ended).await {
            let take_one = |left: u64| left.checked_sub(1);
            if common.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_err() {
                common.ended.cancel();
                break;
            }
            if work.sync(due).await == Fate::Refused {
                break;
            }
        }
        Left { ledger: work.ledger, not_begun: pace.not_begun() }
    }
}

impl Work {
    fn of(caller: Caller) -> Self {
        let (usual, ledger) = (Duration::from_millis(5), Ledger::default());
        Self { caller, cursor: None, usual, ledger, under_way: AtomicU32::new(0) }
    }

    async fn sync(&mut self, due: Instant) -> Fate {
        let common = Arc::clone(&self.caller.common);
        let number = self.ledger.begin();
        let sync = self.write(number, due);
        let fate = tokio::select! {
            fate = self.pursue(sync) => fate,
            () = common.over.cancelled() => {
                let requests = self.under_way.swap(0, Ordering::Relaxed);
                self.tell(Event::CutOff(requests)).await;
                Fate::Open
            }
        };
        self.ledger.note(number, fate);
        fate
    }

    fn write(&self, sync: u32, due: Instant) -> Sync {
        let Caller { common, shop, number, shared, shelf, .. } = &self.caller;
        let script = &common.script;
        let place = Place { shop: *shop, phone: *number, sync };
        let order = script.order(place);
        let known = Known { shop: shared, shelf };
        let body = script.body(place, &order, known, common.view, self.cursor.as_deref());
        Sync { place, order, body: body.into(), key: script.key(place, false), due, fresh: 0 }
    }

    /// Sends a sync until it is known what came of it.
    async fn pursue(&mut self, mut sync: Sync) -> Fate {
        let luck = self.caller.common.script.luck(sync.place);
        if luck != Luck::Heard {
            self.hang_up(&sync).await;
        }
        if luck == Luck::LostAndRebatched {
            self.ledger.orphan(sync.place.sync);
            sync.key = self.caller.common.script.key(sync.place, true);
            self.tell(Event::Rebatched).await;
        }
        let mut pause = PAUSES.0;
        loop {
            let wave = self.wave(&sync).await;
            self.compare(&mut sync, &wave).await;
            if let Some((at, receipt)) = wave.iter().filter_map(Reply::done).min_by_key(|(at, _)| *at) {
                let took = at.saturating_duration_since(sync.due);
                self.cursor = receipt.cursor.clone().or(self.cursor.take());
                let operations = self.caller.common.script.recipe.size();
                self.tell(Event::Acknowledged { took, operations }).await;
                return Fate::Acknowledged;
            }
            if let Some(refusal) = wave.iter().find_map(Reply::refusal) {
                let Place { phone, sync: number, .. } = sync.place;
                let key = &sync.key;
                self.problem(format!("sync {number} of phone {phone} was refused: {refusal} (key {key})")).await;
                // Under its first key it may have been applied all the same.
                return if luck == Luck::LostAndRebatched { Fate::Open } else { Fate::Refused };
            }
            let asked = wave.iter().filter_map(Reply::retry_after).max().unwrap_or_default();
            sleep(asked.max(self.jittered(pause))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Sends all copies of a batch and goes away at some moment: before they are out, while the server is at work, or
    /// when the answers are on their way.
    async fn hang_up(&mut self, sync: &Sync) {
        let Common { script, copies, .. } = &*self.caller.common;
        let Place { shop, phone, sync: number } = sync.place;
        let moment = Draw::of(script.seed, &[shop, phone, number, 2]).below(2_000);
        let copies = *copies;
        let requests = (0..copies).map(|_| exchange(&self.caller.phone, sync.body.clone(), &sync.key, false));
        self.under_way.fetch_add(copies as u32, Ordering::Relaxed);
        let _ = timeout(self.usual * moment / 1_000, join_all(requests)).await;
        self.under_way.fetch_sub(copies as u32, Ordering::Relaxed);
        self.tell(Event::HungUp(copies as u32)).await;
    }

    /// Sends all copies of a batch at once and waits for what comes of each.
    async fn wave(&mut self, sync: &Sync) -> Vec<Reply> {
        let Common { copies, view, .. } = &*self.caller.common;
        let begun = Instant::now();
        let attempts = (0..*copies).map(|_| self.attempt(sync, *view == View::Delta));
        let replies = join_all(attempts).await;
        let first = replies.iter().map(|reply| reply.at).min().unwrap_or(begun);
        self.usual = (self.usual * 7 + (first - begun)) / 8;
        replies
    }

    async fn attempt(&self, sync: &Sync, wants_cursor: bool) -> Reply {
        let begun = Instant::now();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let heard = exchange(&self.caller.phone, sync.body.clone(), &sync.key, wants_cursor).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let at = Instant::now();
        let came = match &heard {
            Ok(Heard::Done(receipt)) => Came::Answer { status: 200, replayed: receipt.replayed, code: None },
            Ok(Heard::Refused { status, code, .. } | Heard::Later { status, code, .. }) => {
                Came::Answer { status: *status, replayed: false, code: Some(code.clone()) }
            }
            Err(error) => Came::Nothing(error.to_string().into()),
        };
        self.tell(Event::Request { took: at - begun, came }).await;
        Reply { at, heard: heard.ok() }
    }

    /// What answers under one key must have in common, whichever came first.
    async fn compare(&self, sync: &mut Sync, wave: &[Reply]) {
        let receipts: Vec<&Receipt> = wave.iter().filter_map(Reply::done).map(|(_, receipt)| receipt).collect();
        let Sync { place: Place { phone, sync: number, .. }, key, .. } = sync;
        let before = sync.fresh;
        sync.fresh += receipts.iter().filter(|receipt| !receipt.replayed).count();
        if before < 2 && sync.fresh > 1 {
            self.problem(format!("sync {number} of phone {phone} was executed more than once under the key {key}"))
                .await;
        }
        if let Some(receipt) = receipts.iter().find(|receipt| !receipt.summary.fits(&sync.order)) {
            let summary = &receipt.summary;
            self.problem(format!("sync {number} of phone {phone} was acknowledged as {summary:?} (key {key})")).await;
        }
        let differs = |receipt: &&Receipt| receipts.first().is_some_and(|first| first.summary != receipt.summary);
        if receipts.iter().copied().any(|receipt| differs(&receipt)) {
            self.problem(format!("sync {number} of phone {phone} was told different counts under the key {key}")).await;
        }
        if !receipts.is_empty() && wave.iter().any(|reply| reply.refusal().is_some()) {
            self.problem(format!("sync {number} of phone {phone} was acknowledged and refused under the key {key}"))
                .await;
        }
    }

    /// Half of the pause to all of it, so that phones that failed together do not come back together.
    fn jittered(&self, pause: Duration) -> Duration {
        let Caller { shop, number, .. } = self.caller;
        let nanos = u64::from(pause.subsec_nanos()) ^ u64::from(self.ledger.begun);
        pause / 2 + pause * Draw::of(nanos, &[shop, number]).below(500) / 1_000
    }

    async fn problem(&self, what: String) {
        self.tell(Event::Problem(format!("shop {}: {what}", self.caller.shop))).await;
    }

    async fn tell(&self, event: Event) {
        // Who listens goes after all phones have.
        let _ = self.caller.common.told.send(event).await;
    }
}

/// What came of one copy of a batch, and when.
struct Reply {
    at: Instant,
    heard: Option<Heard>,
}

impl Reply {
    fn done(&self) -> Option<(Instant, &Receipt)> {
        match &self.heard {
            Some(Heard::Done(receipt)) => Some((self.at, receipt)),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<String> {
        match &self.heard {
            Some(Heard::Refused { status, code, message }) => Some(format!("{status} {code}: {message}")),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.heard {
            Some(Heard::Later { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}
