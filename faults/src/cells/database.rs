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

    use serde_json::json;

    use super::*;
    use crate::harness::{Phone, Request, Setup, eventually, unique_name};

    /// What only a primary has that is about to be lost must not be told to anybody: neither to the phone whose batch
    /// it is, nor to one that asks for the same batch on another server.
    #[test]
    fn what_no_majority_has_is_not_acknowledged() {
        const LONG_ENOUGH: Duration = Duration::from_secs(4);
        let mut set = ReplicaSet::start();
        let setup = Setup::at_url(&set.url(), &unique_name("majority"));
        let (one, other) = (Server::start(&setup), Server::start(&setup));
        let phone = Phone::new(&one);
        let same = Phone::of(&other, &phone.client);
        let create = |name: &str| json!({"item": {"create": [{"localId": name, "name": name, "price": 1}]}});
        phone.sync(&create("before")).expect_ok();
        same.sync(&create("beside")).expect_ok();

        let primary = set.lose_majority();
        let (told, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            let batch = create("lost");
            for phone in [&phone, &same] {
                let request = Request::sync().header("X-Idempotency-Key", "lost").json(&batch);
                let told = told.clone();
                scope.spawn(move || told.send(phone.try_send(request).map(|answer| answer.status).unwrap_or_default()));
            }
            let early = answers.recv_timeout(LONG_ENOUGH).unwrap_or_default();
            assert_ne!(early, 200, "acknowledged, though one member alone knows of it");
            set.go_on_without(primary);
        });
        let answer = eventually("a server that serves", PATIENCE, || {
            same.try_send(Request::sync()).ok().filter(|answer| answer.status == 200)
        });
        let items = answer.expect_ok()["data"]["items"].as_array().map_or(0, Vec::len);
        // The requests that were under way may have been applied after all, by the members that are left.
        assert!((2..=3).contains(&items), "{items} items");
        eventually("the retry", PATIENCE, || (same.sync_with_key(&create("lost"), "lost").status == 200).then_some(()));
        assert_eq!(same.pull().expect_ok()["data"]["items"].as_array().map_or(0, Vec::len), 3);
    }
}
