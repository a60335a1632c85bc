//! The servers of a campaign, and the store below them.

use super::foreign::ForeignWriter;
use crate::harness::{Engine, Server, Setup, Topology};

/// One store, the servers on it, and who else writes to it.
pub struct World {
    setup: Setup,
    servers: Vec<Server>,
    /// Reads everything anew each time. Only a replica set takes more servers than one.
    witness: Option<Server>,
    /// Another program, if there is one.
    pub foreign: Option<ForeignWriter>,
}

impl World {
    /// One server with the settings that everybody has.
    pub fn on(engine: Engine) -> Self {
        Self::with(engine, &[], 1)
    }

    /// So many servers with these settings.
    pub fn with(engine: Engine, settings: &[(&str, &str)], servers: usize) -> Self {
        let setup = Setup::on(engine).env("MEMORY_BUDGET_BYTES", (4_u64 << 30).to_string());
        let setup = settings.iter().fold(setup, |setup, (name, value)| setup.env(name, *value));
        let servers = (0..servers).map(|_| Server::start_ready(&setup)).collect();
        let forgetful = setup.clone().env("DATASET_CACHE_BYTES", "0");
        let shared = engine.topology() == Some(Topology::ReplicaSet);
        let witness = shared.then(|| Server::start_ready(&forgetful));
        Self { setup, servers, witness, foreign: None }
    }

    /// The same, and another program that writes to the database.
    pub fn with_a_foreign_writer(mut self) -> Self {
        self.foreign = Some(ForeignWriter::new(&self.setup));
        self
    }

    /// The server of this number, round and round.
    pub fn server(&self, number: usize) -> &Server {
        &self.servers[number % self.servers.len()]
    }

    /// All that can be asked.
    pub fn all(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().chain(&self.witness)
    }

    /// Starts the servers anew, so that they remember nothing.
    pub fn restart(&mut self) {
        self.servers.iter_mut().for_each(Server::restart_ready);
    }
}
