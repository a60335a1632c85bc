//! Many histories, many at a time; the first that fails is made short and told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::check::Tally;
use super::device::{Device, Neighbour};
use super::sequence;
use super::storm::Storm;
use super::story::Story;
use crate::harness::{Phone, Server, random_hex};

/// Runs this many histories, or the one that `HISTORY_SEED` names. `name` is that of the test.
pub fn run(server: &Server, name: &str, count: u64) {
    let neighbourhood = Neighbourhood::found(server);
    let (first, count) = match std::env::var("HISTORY_SEED") {
        Ok(seed) => (seed.parse().expect("HISTORY_SEED is a number"), 1),
        Err(_) => (u64::from_str_radix(&random_hex(5), 16).expect("hex digits"), count),
    };
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let tally = Tally::default();
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    if let Err(problem) = History::new(seed).run(server, &neighbourhood.shop, &tally)
                        && !failed.swap(true, Ordering::Relaxed)
                    {
                        *failure.lock().expect("nobody panics with it") = Some((seed, problem));
                    }
                }
            });
        }
    });
    if let Some((seed, problem)) = failure.into_inner().expect("nobody panics with it") {
        let (history, problem) = History::new(seed).shortened(problem, server, &neighbourhood.shop);
        panic!("{problem}\n\nHISTORY_SEED={seed} cargo test --test it {name}\n\n{history}");
    }
    neighbourhood.check(server);
    let counts = tally.counts();
    eprintln!("{count} histories: {counts:?}");
    if count >= ENOUGH_FOR_EVERYTHING {
        let missing: Vec<_> = HAPPENINGS.iter().filter(|what| !counts.contains_key(**what)).collect();
        assert!(missing.is_empty(), "never happened in {count} histories: {missing:?}");
    }
}

/// What comes of a seed: mostly phones one after the other, at times all at once.
#[derive(Clone)]
enum History {
    Sequence(Story),
    Storm(Storm),
}

impl History {
    fn new(seed: u64) -> Self {
        if seed.is_multiple_of(STORM_EVERY) { Self::Storm(Storm::new(seed)) } else { Self::Sequence(Story::new(seed)) }
    }

    fn run(&self, server: &Server, neighbour: &Neighbour, tally: &Tally) -> Result<(), String> {
        match self {
            Self::Sequence(story) => sequence::run(story, server, neighbour, tally),
            Self::Storm(storm) => storm.run(server, neighbour, tally),
        }
    }

    /// Leaves out steps as long as it still fails, and tells the problem of the shortest.
    fn shortened(self, problem: String, server: &Server, neighbour: &Neighbour) -> (String, String) {
        let deadline = Instant::now() + SHORTEN_FOR;
        let mut shortest = (self, problem);
        while let Some(shorter) = shortest.0.shorter().into_iter().find_map(|history| {
            let problem =
                (Instant::now() < deadline).then(|| history.run(server, neighbour, &Tally::default()).err())??;
            Some((history, problem))
        }) {
            shortest = shorter;
        }
        let told = match shortest.0 {
            Self::Sequence(story) => story.to_string(),
            Self::Storm(storm) => storm.to_string(),
        };
        (told, shortest.1)
    }

    /// This history without one of its steps, the last ones first.
    fn shorter(&self) -> Vec<Self> {
        match self {
            Self::Sequence(story) => {
                let without = |step| {
                    let mut story = story.clone();
                    story.steps.remove(step);
                    Self::Sequence(story)
                };
                (0..story.steps.len()).rev().map(without).collect()
            }
            Self::Storm(storm) => storm.shorter().into_iter().map(Self::Storm).collect(),
        }
    }
}

/// A shop whose records the phones of other shops name: it must not notice.
struct Neighbourhood {
    client: String,
    shop: Neighbour,
    data: serde_json::Value,
}

impl Neighbourhood {
    fn found(server: &Server) -> Self {
        let phone = Phone::new(server);
        let answer = phone.sync(&json!({
            "item": {"create": [{"name": "Not yours", "price": 1, "stock": 1000}]},
            "invoice": {"create": [{"products": [{"itemName": "Not yours either", "costPerUnit": 1000, "quantity": 1}]}]},
        }));
        let answer = answer.expect_ok();
        let id = |list: &str| answer["synced"][list][0].as_str().expect("an id").to_owned();
        let shop = Neighbour { item: id("itemsCreated"), invoice: id("invoicesCreated") };
        Self { client: phone.client, shop, data: answer["data"].clone() }
    }

    fn check(&self, server: &Server) {
        let now = Device::new(server, &self.client).pull().expect("a pull");
        assert_eq!(now["data"], self.data, "other clients' batches have changed this one's records");
    }
}

/// How many histories run at the same time. The server commits what waits together, so that many are quick.
const AT_ONCE: u64 = 24;

/// Every seed that this divides is a storm.
const STORM_EVERY: u64 = 10;

/// How long a failed history is made shorter.
const SHORTEN_FOR: Duration = Duration::from_secs(30);

/// In so many histories everything happens.
const ENOUGH_FOR_EVERYTHING: u64 = 1000;

/// Everything that may come of a request.
const HAPPENINGS: [&str; 11] = [
    "batch_rejected",
    "client_mismatch",
    "committed",
    "committed, some known already",
    "committed in a storm",
    "committed though the phone hung up",
    "cut off",
    "empty",
    "idempotency_key_reused",
    "invalid_batch",
    "replayed",
];
