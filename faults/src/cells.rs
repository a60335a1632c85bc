//! The cells of the matrix: what is broken, and in which world.

mod backup;
mod database;
mod halt;
mod network;
mod server_kill;
mod two_servers;
mod world;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use viveka_sync::failpoint::Point;

use crate::crowd::Crowd;
use crate::harness::Engine;
use world::Findings;

/// A cell of the matrix.
pub struct Cell {
    /// Its name on the command line and in the table.
    pub name: String,
    /// Makes the world that all its rounds happen in.
    open: Box<dyn Fn() -> Box<dyn Scene> + Send + Sync>,
}

/// A world in which rounds happen, each with shops of its own.
pub trait Scene {
    /// Lets a crowd loose, breaks what is to be broken, and looks at the books.
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round;
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Round {
    /// How many faults were made.
    pub faults: u32,
    /// How many batches were acknowledged.
    pub acknowledged: usize,
    /// How many commits the stores hold.
    pub applied: usize,
    /// How many acknowledged batches had first had an attempt of which nothing was heard.
    pub settled: usize,
    /// The longest time from a repair, or the start of a server as one, until every shop had an answer.
    pub slowest: Duration,
    /// What is not as it must be.
    pub violations: Vec<String>,
}

impl Cell {
    /// Makes its world.
    pub fn open(&self) -> Box<dyn Scene> {
        (self.open)()
    }

    fn new<S: Scene + 'static>(name: impl Into<String>, open: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self { name: name.into(), open: Box::new(move || Box::new(open())) }
    }
}

/// All cells, in the order of the table.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for engine in ENGINES {
        cells.push(Cell::new(format!("kill-server/{}", name(engine)), move || server_kill::KillServer::new(engine)));
    }
    for point in Point::ALL {
        for engine in ENGINES {
            let title = format!("kill-{point}/{}", name(engine));
            cells.push(Cell::new(title, move || halt::HaltAndKill::new(engine, point)));
        }
    }
    cells.push(Cell::new("kill-one-of-two-servers/replica-set", two_servers::TwoServers::new));
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        cells.push(Cell::new(format!("kill-mongod/{}", name(engine)), move || database::KillMongod::new(engine)));
        cells.push(Cell::new(format!("pause-mongod/{}", name(engine)), move || database::PauseMongod::new(engine)));
    }
    cells.push(Cell::new("kill-primary/three-members", database::LosePrimary::killed));
    cells.push(Cell::new("pause-primary/three-members", database::LosePrimary::paused));
    cells.push(Cell::new("lose-majority/three-members", database::LoseMajority::new));
    for engine in ENGINES {
        cells.push(Cell::new(format!("proxy-phones/{}", name(engine)), move || network::BadPhoneLine::new(engine)));
    }
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        cells.push(Cell::new(format!("proxy-store/{}", name(engine)), move || network::BadStoreLine::new(engine)));
    }
    for engine in ENGINES {
        cells.push(Cell::new(format!("restore-backup/{}", name(engine)), move || backup::RestoreBackup::new(engine)));
    }
    cells
}

impl Round {
    /// Adds what a crowd achieved and what the books say.
    fn close(mut self, crowd: &Crowd, findings: Result<Findings, String>) -> Self {
        self.acknowledged = crowd.acknowledged();
        self.settled = crowd.settled();
        match findings {
            Ok(Findings { pulled, stored, unreconciled }) => {
                let commits = stored.values().filter_map(|books| books.inside.as_ref());
                self.applied = commits.map(|inside| inside.receipts.len()).sum();
                self.violations.extend(crowd.audit(&pulled, &stored));
                self.violations.extend(unreconciled);
            }
            Err(why) => self.violations.push(why),
        }
        self
    }

    /// Notes how long it took until every shop had an answer after a repair.
    fn recovered(&mut self, recovery: Result<Duration, String>) {
        match recovery {
            Ok(took) => self.slowest = self.slowest.max(took),
            Err(why) => self.violations.push(why),
        }
    }
}

const ENGINES: [Engine; 3] = [Engine::Embedded, Engine::ReplicaSet, Engine::LoneMongod];

fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Embedded => "embedded",
        Engine::ReplicaSet => "replica-set",
        Engine::SoleWriter => "sole-writer",
        Engine::LoneMongod => "lone-mongod",
    }
}

/// What is promised after the death of a server: within this time of the start of another process, or of the death
/// itself if another server is alive, a retry is answered.
const PROMISED: Duration = Duration::from_secs(5);

/// What is asked where nothing is promised, so that a hang is found.
const PATIENCE: Duration = Duration::from_secs(45);
