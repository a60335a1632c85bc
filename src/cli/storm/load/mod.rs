//! Runs the load: opens the shops, lets the phones work, and ends them.

mod caller;
mod heard;
mod opening;
mod pace;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::live::Live;
use super::measure::{Event, Latency, Tally, Usage, Watch, lags};
use super::script::{Script, View};
use crate::cli::interruption::Interruption;
use caller::{Caller, Common, Left};
use pace::Pace;

pub use opening::{Shop, Terms};

/// What the load is.
#[derive(Debug)]
pub struct Load {
    /// What is sent.
    pub script: Script,
    /// How often each batch is sent at once.
    pub copies: u32,
    /// How much of the dataset phones ask for.
    pub view: View,
    /// Syncs each second, all phones together; without it, as many as the server answers.
    pub rate: Option<f64>,
    /// How long syncs are begun.
    pub duration: Duration,
    /// How many syncs are begun at most.
    pub most_syncs: u64,
    /// How long what is under way may go on afterwards.
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// All figures.
    pub tally: Tally,
    /// What the phones know, shop by shop.
    pub ledgers: Vec<Vec<Ledger>>,
    /// How many syncs were due and not begun.
    pub not_begun: u64,
    /// How long syncs were begun.
    pub lasted: Duration,
    /// From the start to when the last phone was done.
    pub took: Duration,
    /// Why it ended.
    pub ended: Ended,
    /// What the generator used.
    pub usage: Usage,
}

/// Why a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// Its duration was over.
    Duration,
    /// As many syncs were begun as may be, or every phone had stopped.
    Syncs,
    /// A signal ended it.
    Interrupted,
}

/// What phones may tell before they have to wait until it is taken in: more than they tell in a second.
const TOLD_AT_ONCE: usize = 1 << 16;
/// How often the live view is drawn.
const DRAW: Duration = Duration::from_millis(200);

impl Load {
    /// Lets the phones of the shops work. It ends at the latest `patience` after its duration.
    pub async fn run(self, shops: &[Shop], live: &mut Live, interruption: &Interruption) -> Done {
        let (told, hears) = channel(TOLD_AT_ONCE);
        let (ended, over) = (CancellationToken::new(), CancellationToken::new());
        let (duration, patience) = (self.duration, self.patience);
        let watch = Watch::start();
        let begin = Instant::now();
        let phones = self.start(shops, told, begin, &ended, &over);
        let working = phones.join(&ended, &over, duration, patience, interruption);
        let mut lag = Latency::new();
        let (tally, joined) = tokio::select! {
            () = lags(&mut lag) => unreachable!("it goes on for ever"),
            both = watch_over(hears, working.boxed(), Tally::new(duration), begin, &ended, live) => both,
        };
        let Joined { left, why, lasted } = joined;
        let not_begun = left.iter().flatten().map(|left| left.not_begun).sum();
        let ledgers = left.into_iter().map(|shop| shop.into_iter().map(|left| left.ledger).collect()).collect();
        Done { tally, ledgers, not_begun, lasted, took: begin.elapsed(), ended: why, usage: watch.end(&lag) }
    }

    fn start(
        self,
        shops: &[Shop],
        told: Sender<Event>,
        begin: Instant,
        ended: &CancellationToken,
        over: &CancellationToken,
    ) -> Phones {
        let Self { script, copies, view, rate, duration, most_syncs, .. } = self;
        let common = Arc::new(Common {
            script,
            copies: copies as usize,
            view,
            told,
            budget: AtomicU64::new(most_syncs),
            ended: ended.clone(),
            over: over.clone(),
        });
        let all = shops.iter().map(|shop| shop.shelves.len()).sum::<usize>() as u32;
        let mut phones = Phones { tasks: JoinSet::new(), left: Vec::new(), begin };
        let mut nth = 0;
        for (shop_number, shop) in (0..).zip(shops) {
            for (number, shelf) in (1..).zip(&shop.shelves) {
                let pace = rate.map_or(Pace::Closed, |rate| Pace::open(rate, nth, all, begin, duration));
                let caller = Caller {
                    common: Arc::clone(&common),
                    phone: shop.phone.clone(),
                    shop: shop_number,
                    number,
                    shared: Arc::clone(&shop.shared),
                    shelf: shelf.clone(),
                };
                phones.tasks.spawn(async move { ((shop_number, number), caller.work(pace).await) });
                nth += 1;
            }
            phones.left.push(shop.shelves.iter().map(|_| Left::default()).collect());
        }
        phones
    }
}

/// The phones at work.
struct Phones {
    tasks: JoinSet<((u32, u32), Left)>,
    left: Vec<Vec<Left>>,
    begin: Instant,
}

struct Joined {
    left: Vec<Vec<Left>>,
    why: Ended,
    lasted: Duration,
}

impl Phones {
    /// Ends the load when it is time, and waits for all phones: for those that hear nothing, no longer than patience.
    async fn join(
        mut self,
        ended: &CancellationToken,
        over: &CancellationToken,
        duration: Duration,
        patience: Duration,
        interruption: &Interruption,
    ) -> Joined {
        let why = tokio::select! {
            biased;
            () = sleep_until((self.begin + duration).into()) => Ended::Duration,
            () = interruption.asked() => Ended::Interrupted,
            () = ended.cancelled() => Ended::Syncs,
            () = self.all() => Ended::Syncs,
        };
        let lasted = self.begin.elapsed();
        ended.cancel();
        if timeout(patience, self.all()).await.is_err() {
            over.cancel();
            self.all().await;
        }
        Joined { left: self.left, why, lasted }
    }

    async fn all(&mut self) {
        while let Some(done) = self.tasks.join_next().await {
            // A phone that panicked is a bug, which has been printed; its ledger is gone, and the audit will tell.
            if let Ok(((shop, number), left)) = done {
                self.left[shop as usize][number as usize - 1] = left;
            }
        }
    }
}

/// Takes in what phones tell until they are done, and shows it.
async fn watch_over(
    mut hears: Receiver<Event>,
    mut working: BoxFuture<'_, Joined>,
    mut tally: Tally,
    begin: Instant,
    ended: &CancellationToken,
    live: &mut Live,
) -> (Tally, Joined) {
    let mut events = Vec::new();
    let mut ticks = interval(DRAW);
    let joined = loop {
        tokio::select! {
            count = hears.recv_many(&mut events, 1024), if !hears.is_closed() || !hears.is_empty() => {
                if count > 0 {
                    tally.series.advance(begin.elapsed());
                }
                tally.is_over = ended.is_cancelled();
                events.drain(..).for_each(|event| tally.take(event));
            }
            _ = ticks.tick() => {
                tally.series.advance(begin.elapsed());
                live.load(begin.elapsed(), &tally);
            }
            joined = &mut working => break joined,
        }
    };
    while let Ok(event) = hears.try_recv() {
        tally.take(event);
    }
    live.end_load(begin.elapsed(), &tally);
    (tally, joined)
}
