//! kill -9 of the server at a named point.

use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use viveka_sync::failpoint::{Point, halt_line};

use super::world::World;
use super::{PROMISED, Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::front::Progress;
use crate::harness::{Engine, Server, Setup};

/// A server that stands still at a point, is killed there, and is started again.
pub struct HaltAndKill {
    world: World,
    point: Point,
}

impl HaltAndKill {
    /// On this engine, at this point.
    pub fn new(engine: Engine, point: Point) -> Self {
        Self { world: World::on(engine), point }
    }
}

impl Scene for HaltAndKill {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        let (world, point) = (&mut self.world, self.point);
        world.start_as(&armed(&world.setup, point, Load::USUAL.total(), dice));
        let mut crowd = Crowd::new(Load::USUAL, &world.front, dice);
        let mut round = Round::default();
        crowd.work(|progress| {
            if halted(world.server.as_ref(), point, progress) {
                round.faults += 1;
                world.kill();
                let started = Instant::now();
                world.start();
                round.recovered(progress.recovery(started, PROMISED));
            }
        });
        let books = world.books(&crowd);
        round.close(&crowd, books)
    }
}

/// A server that will stand still when it comes to the point for the nth time, in the first half of the batches that
/// it is going to get.
pub fn armed(setup: &Setup, point: Point, batches: usize, dice: &mut ChaCha8Rng) -> Setup {
    let passes_of_a_batch = if point == Point::MidApply { 4 } else { 1 };
    let nth = dice.random_range(1..=passes_of_a_batch * batches / 2);
    let setup = setup.clone().with_argument("--halt-at").with_argument(point.to_string());
    setup.with_argument("--nth").with_argument(nth.to_string())
}

/// Waits until the server stands still; false if the phones are done before it does.
pub fn halted(server: Option<&Server>, point: Point, progress: &Progress) -> bool {
    let Some(server) = server else { return false };
    let line = halt_line(point);
    loop {
        if server.halted(&line, Duration::from_millis(20)) {
            return true;
        }
        if progress.is_over() {
            return false;
        }
    }
}
