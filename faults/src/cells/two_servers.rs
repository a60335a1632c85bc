//! Two servers on one replica set, of which one is killed in the middle of a transaction.

use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use viveka_sync::failpoint::Point;

use super::halt::{armed, halted};
use super::world::World;
use super::{PROMISED, Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::harness::{Engine, Server};

/// Phones go to both servers in turn. The one that dies leaves a transaction open; the other must serve the same
/// shop within the promised time all the same.
pub struct TwoServers(World);

impl TwoServers {
    /// On the shared replica set.
    pub fn new() -> Self {
        Self(World::on(Engine::ReplicaSet))
    }
}

impl Scene for TwoServers {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let world = &mut self.0;
        world.start();
        let survivor = world.server.as_ref().map(Server::url).unwrap_or_default();
        let victim = Server::start(&armed(&world.setup, Point::MidApply, Load::USUAL.total() / 2, dice));
        world.front.set(vec![victim.url(), survivor]);
        let mut crowd = Crowd::new(Load::USUAL, &world.front, dice);
        let mut round = Round::default();
        crowd.work(|progress| {
            if halted(Some(&victim), Point::MidApply, progress) {
                round.faults += 1;
                victim.kill();
                round.recovered(progress.recovery(Instant::now(), PROMISED));
            }
        });
        drop(victim);
        world.front.set(world.server.iter().map(Server::url).collect());
        let books = world.books(&crowd);
        round.close(&crowd, books)
    }
}
