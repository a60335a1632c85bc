//! kill -9 of the server at random moments.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::world::World;
use super::{PROMISED, Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::harness::Engine;

/// A server that is killed and started again while phones are at work.
pub struct KillServer(World);

impl KillServer {
    /// On this engine.
    pub fn new(engine: Engine) -> Self {
        Self(World::on(engine))
    }
}

impl Scene for KillServer {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let world = &mut self.0;
        world.start();
        let mut crowd = Crowd::new(Load::USUAL, &world.front, dice);
        let mut round = Round::default();
        let mut moments = [0; KILLS].map(|_: usize| dice.random_range(0..Load::USUAL.total()));
        moments.sort_unstable();
        crowd.work(|progress| {
            for moment in moments {
                if !progress.reach(moment) {
                    return;
                }
                thread::sleep(Duration::from_millis(dice.random_range(0..30)));
                world.kill();
                round.faults += 1;
                let started = Instant::now();
                world.start();
                round.recovered(progress.recovery(started, PROMISED));
            }
        });
        let books = world.books(&crowd);
        round.close(&crowd, books)
    }
}

const KILLS: usize = 2;
