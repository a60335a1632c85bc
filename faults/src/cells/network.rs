//! Bad lines: between phones and the server, and between the server and its store.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::world::World;
use super::{Round, Scene};
use crate::crowd::{Crowd, Load};
use crate::harness::{Engine, Mongod, Server, Topology};
use crate::proxy::{Protocol, Proxy};

/// A line between phones and the server that drops, delays, truncates, and sends whole requests twice.
pub struct BadPhoneLine {
    world: World,
    line: Proxy,
}

impl BadPhoneLine {
    /// On this engine.
    pub fn new(engine: Engine) -> Self {
        let world = World::on(engine);
        Self { world, line: Proxy::start(Protocol::Http, "", ChaCha8Rng::seed_from_u64(0)) }
    }
}

impl Scene for BadPhoneLine {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        self.world.start();
        let url = self.world.server.as_ref().map(Server::url).unwrap_or_default();
        self.line.set_upstream(url.trim_start_matches("http://"));
        self.world.front.set(vec![format!("http://{}", self.line.address())]);
        disturbed(&mut self.world, &self.line, dice)
    }
}

/// A line between the server and mongod that drops, delays, truncates, and on a lone mongod brings commands twice.
pub struct BadStoreLine {
    world: World,
    line: Proxy,
}

impl BadStoreLine {
    /// On this kind of MongoDB.
    pub fn new(engine: Engine) -> Self {
        let topology = engine.topology().unwrap_or(Topology::Lone);
        let mongod = Mongod::shared(topology);
        let protocol = match topology {
            Topology::ReplicaSet => Protocol::MongoWithTransactions,
            Topology::Lone => Protocol::Mongo,
        };
        let line = Proxy::start(protocol, &mongod.address(), ChaCha8Rng::seed_from_u64(0));
        // A direct connection: a driver that asked the set for its members would go round the line.
        let url = format!("mongodb://{}/?directConnection=true", line.address());
        Self { world: World::through(&url, &mongod.direct_url()), line }
    }
}

impl Scene for BadStoreLine {
    fn round(&mut self, dice: &mut ChaCha8Rng) -> Round {
        self.world.start();
        disturbed(&mut self.world, &self.line, dice)
    }
}

/// A round with a bad line, and an audit over a good one.
fn disturbed(world: &mut World, line: &Proxy, dice: &mut ChaCha8Rng) -> Round {
    let mut crowd = Crowd::new(Load::USUAL, &world.front, dice);
    line.set_dice(ChaCha8Rng::from_rng(dice));
    line.set_calm(false);
    crowd.work(|_| ());
    line.set_calm(true);
    let books = world.books(&crowd);
    Round { faults: line.take_faults(), ..Round::default() }.close(&crowd, books)
}
