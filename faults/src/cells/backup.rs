//! A store that is put back to an older backup, and phones that send their whole history again.

use rand_chacha::ChaCha8Rng;

use super::world::World;
use super::{Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::harness::{Backup, Engine, Mongod};

/// Phones work; a backup is made; phones work on; the backup is put back; phones send everything again.
pub struct RestoreBackup {
    world: World,
    mongod: Option<Mongod>,
}

impl RestoreBackup {
    /// On this engine.
    pub fn new(engine: Engine) -> Self {
        match engine.topology().map(Mongod::start) {
            None => Self { world: World::on(engine), mongod: None },
            Some(mongod) => Self { world: World::at(&mongod.url()), mongod: Some(mongod) },
        }
    }

    /// Stops the store, lets `work` do something with its files, and starts it again. A server on MongoDB goes on
    /// meanwhile, and must forget what it remembers of another time.
    fn while_stopped<T>(&mut self, work: impl FnOnce(&std::path::Path) -> T) -> T {
        let directory = match &self.mongod {
            Some(mongod) => {
                mongod.shut_down();
                mongod.directory()
            }
            None => {
                self.world.kill();
                self.world.directory().expect("the embedded engine")
            }
        };
        let done = work(directory);
        if let Some(mongod) = &mut self.mongod {
            mongod.restart();
        }
        self.world.start();
        done
    }
}

impl Scene for RestoreBackup {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        self.world.start();
        let mut crowd = Crowd::new(Load { batches: Load::USUAL.batches / 2, ..Load::USUAL }, &self.world.front, dice);
        crowd.work(|_| ());
        let backup = self.while_stopped(Backup::of);
        crowd.backed_up();
        crowd.work(|_| ());
        self.while_stopped(|directory| backup.put_back(directory));
        crowd.resend();
        let books = self.world.books(&crowd);
        Round { faults: 1, ..Round::default() }.close(&crowd, books)
    }
}
