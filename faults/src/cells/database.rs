//! Databases that are killed or stand still, under a server that goes on.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::world::World;
use super::{PATIENCE, Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::front::Progress;
use crate::harness::{Engine, Mongod, ReplicaSet, Server, Topology};

/// A mongod that is killed with kill -9 and started again on the same port and data.
pub struct KillMongod {
    mongod: Mongod,
    world: World,
}

impl KillMongod {
    /// A lone one, or a replica set of one member.
    pub fn new(engine: Engine) -> Self {
        let mongod = Mongod::start(engine.topology().unwrap_or(Topology::Lone));
        Self { world: World::at(&mongod.url()), mongod }
    }
}

impl Scene for KillMongod {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let mongod = &mut self.mongod;
        disturbed(&mut self.world, dice, |dice, progress, round| {
            thread::sleep(Duration::from_millis(dice.random_range(0..30)));
            mongod.kill();
            mongod.restart();
            round.recovered(progress.recovery(Instant::now(), PATIENCE));
        })
    }
}

/// A mongod that stands still (SIGSTOP) for up to two seconds.
pub struct PauseMongod {
    mongod: Mongod,
    world: World,
}

impl PauseMongod {
    /// A lone one, or a replica set of one member.
    pub fn new(engine: Engine) -> Self {
        let mongod = Mongod::start(engine.topology().unwrap_or(Topology::Lone));
        Self { world: World::at(&mongod.url()), mongod }
    }
}

impl Scene for PauseMongod {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let mongod = &mut self.mongod;
        disturbed(&mut self.world, dice, |dice, progress, round| {
            mongod.pause();
            thread::sleep(Duration::from_millis(dice.random_range(20..2000)));
            mongod.resume();
            round.recovered(progress.recovery(Instant::now(), PATIENCE));
        })
    }
}

/// A replica set of three that loses its primary and elects another.
pub struct LosePrimary {
    set: ReplicaSet,
    world: World,
    how: Loss,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// kill -9; it is started again once the others serve.
    Killed,
    /// SIGSTOP; it goes on once the others serve, and believes for a moment that it is still the primary.
    Paused,
}

impl LosePrimary {
    /// By kill -9.
    pub fn killed() -> Self {
        Self::new(Loss::Killed)
    }

    /// By SIGSTOP.
    pub fn paused() -> Self {
        Self::new(Loss::Paused)
    }

    fn new(how: Loss) -> Self {
        let set = ReplicaSet::start();
        Self { world: World::at(&set.url()), set, how }
    }
}

impl Scene for LosePrimary {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let (set, how) = (&mut self.set, self.how);
        disturbed(&mut self.world, dice, |_, progress, round| {
            let primary = set.primary();
            if how == Loss::Killed {
                primary.kill()
            } else {
                primary.pause()
            }
            round.recovered(progress.recovery(Instant::now(), PATIENCE));
            primary.resume();
            set.mend();
        })
    }
}

/// A replica set of three that loses two members, so that its primary takes writes that nobody confirms; then the
/// primary dies too, and the others come back without what it alone had. Phones go to two servers in turn, so that
/// one is asked for what the other waits to have confirmed.
pub struct LoseMajority {
    set: ReplicaSet,
    world: World,
}

impl LoseMajority {
    /// A new set.
    pub fn new() -> Self {
        let set = ReplicaSet::start();
        Self { world: World::at(&set.url()), set }
    }
}

impl Scene for LoseMajority {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        self.world.start();
        let other = Server::start(&self.world.setup);
        let urls = self.world.server.iter().map(Server::url).chain([other.url()]).collect();
        self.world.front.set(urls);
        let set = &mut self.set;
        disturbed(&mut self.world, dice, |dice, progress, round| {
            let primary = set.lose_majority();
            thread::sleep(Duration::from_millis(dice.random_range(200..3000)));
            set.go_on_without(primary);
            round.recovered(progress.recovery(Instant::now(), PATIENCE));
            set.mend();
        })
    }
}

/// A round in which something happens to the database once, in the middle of the work.
fn disturbed(
    world: &mut World,
    dice: &mut ChaCha8Rng,
    disturb: impl FnOnce(&mut ChaCha8Rng, &Progress, &mut Round),
) -> Round {
    world.start();
    let mut crowd = Crowd::new(Load::USUAL, &world.front, dice);
    let mut round = Round::default();
    let moment = dice.random_range(0..Load::USUAL.total() / 2);
    crowd.work(|progress| {
        if progress.reach(moment) {
            round.faults += 1;
            disturb(dice, progress, &mut round);
        }
    });
    let books = world.books(&crowd);
    round.close(&crowd, books)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use mongodb::bson::{Document, doc};
    use serde_json::json;

    use super::*;
    use crate::harness::{Phone, Request, Setup, block_on, eventually, unique_name};

    /// What only a primary has that is about to be lost must not be told to anybody: neither to the phone whose payment
    /// it is, nor, as a refusal, to one that pays the same invoice on another server.
    #[test]
    fn what_no_majority_has_is_not_told() {
        const LONG_ENOUGH: Duration = Duration::from_secs(4);
        let mut set = ReplicaSet::start();
        let name = unique_name("majority");
        let setup = Setup::at_url(&set.url(), &name);
        let (one, other) = (Server::start(&setup), Server::start(&setup));
        let first = Phone::new(&one);
        let phones = [&first, &Phone::of(&other, &first.client)];
        let bill = json!({"products": [{"itemName": "Tea", "costPerUnit": 10, "quantity": 1}], "localId": "bill"});
        phones[0].sync(&json!({"invoice": {"create": [bill]}})).expect_ok();
        phones[1].pull().expect_ok();
        let pay = |key: &str| {
            let payment = json!({"payment": {"create": [{"invoiceId": "bill", "amount": 10, "localId": key}]}});
            Request::sync().header("X-Idempotency-Key", key).json(&payment)
        };

        let primary = set.lose_majority();
        let address = set.primary().address();
        let (told, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for (phone, key) in phones.into_iter().zip(["one", "other"]) {
                let (request, told) = (pay(key), told.clone());
                scope.spawn(move || told.send(phone.try_send(request).map(|answer| answer.status).unwrap_or_default()));
                eventually("a payment on the primary", PATIENCE, || (payments(&address, &name) == 1).then_some(()));
            }
            let early = answers.recv_timeout(LONG_ENOUGH);
            set.go_on_without(primary);
            assert!(!matches!(early, Ok(200 | 422)), "{early:?}, though one member alone knows of it");
        });
        let settled = |key: &str| {
            eventually("an answer", PATIENCE, || {
                let answer = phones[1].try_send(pay(key)).ok()?;
                [200, 422].contains(&answer.status).then_some(answer.status)
            })
        };
        let mut statuses = ["one", "other"].map(settled);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 422]);
        assert_eq!(phones[1].pull().expect_ok()["data"]["payments"].as_array().map_or(0, Vec::len), 1);
    }
    /// How many payments one member has, whoever else has them.
    fn payments(address: &str, database: &str) -> u64 {
        block_on(async {
            let client = mongodb::Client::with_uri_str(format!("mongodb://{address}/?directConnection=true")).await;
            let payments = client.expect("a client").database(database).collection::<Document>("payments");
            payments.count_documents(doc! {}).await.unwrap_or_default()
        })
    }
}
