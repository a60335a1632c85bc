//! A store, and servers on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::books::Books;
use crate::crowd::Crowd;
use crate::front::Front;
use crate::harness::{Engine, Mongod, Server, Setup, eventually, scratch, unique_name};

/// Where the books lie, for a look past the server.
pub enum Store {
    /// The embedded engine's directory.
    Directory(TempDir),
    /// A database at a connection string.
    Database { url: String, name: String },
}

/// A server on a store, and where phones find it.
pub struct World {
    /// How servers are started here.
    pub setup: Setup,
    /// The server, unless it is down.
    pub server: Option<Server>,
    /// Where phones send.
    pub front: Arc<Front>,
    store: Store,
}

/// The books of all clients, once nothing is broken any more.
pub struct Findings {
    /// As the server shows them.
    pub pulled: HashMap<String, Books>,
    /// As the store holds them.
    pub stored: HashMap<String, Books>,
    /// Where the server says something else of a batch than it said before.
    pub unreconciled: Vec<String>,
}

impl World {
    /// A new store on an engine, in the mongod that all cells share.
    pub fn on(engine: Engine) -> Self {
        match engine.topology() {
            None => {
                let directory = scratch::fresh_dir("embedded-");
                Self::new(Setup::in_directory(directory.path()), Store::Directory(directory))
            }
            Some(topology) => Self::at(&Mongod::shared(topology).url()),
        }
    }

    /// A new database at this connection string.
    pub fn at(url: &str) -> Self {
        Self::through(url, url)
    }

    /// A new database that servers reach at `url`, and the audit at `direct`.
    pub fn through(url: &str, direct: &str) -> Self {
        let name = unique_name("faults");
        let setup = Setup::at_url(url, &name);
        Self::new(setup, Store::Database { url: direct.to_owned(), name })
    }

    fn new(setup: Setup, store: Store) -> Self {
        Self { setup, server: None, front: Arc::default(), store }
    }

    /// Starts the server, if none runs, and sends phones there.
    pub fn start(&mut self) {
        if self.server.is_none() {
            self.start_as(&self.setup.clone());
        }
    }

    /// Starts a server in place of any that runs, and sends phones there.
    pub fn start_as(&mut self, setup: &Setup) {
        self.server = None;
        let server = Server::start(setup);
        self.front.set(vec![server.url()]);
        self.server = Some(server);
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Ends the server with SIGTERM; it must end well.
    ///
    /// # Errors
    /// It did not.
    pub fn stop(&mut self) -> Result<(), String> {
        match self.server.take().map(|mut server| server.terminate()) {
            None | Some(0) => Ok(()),
            Some(status) => Err(format!("the server ended with status {status} after SIGTERM")),
        }
    }

    /// The books of a crowd, once nothing is broken any more. The embedded engine's server is stopped for that.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn books(&mut self, crowd: &Crowd) -> Result<Findings, String> {
        let pulled = eventually("the books", super::PATIENCE, || crowd.pull().ok());
        let unreconciled = eventually("a reconcile", super::PATIENCE, || crowd.reconcile().ok());
        let stored = match &self.store {
            Store::Database { url, name } => Books::in_mongodb(url, name, &crowd.clients())?,
            Store::Directory(_) => {
                self.stop()?;
                Books::in_file(&self.file(), &crowd.clients())?
            }
        };
        Ok(Findings { pulled, stored, unreconciled })
    }

    /// The directory of the embedded engine.
    pub fn directory(&self) -> Option<&std::path::Path> {
        match &self.store {
            Store::Directory(directory) => Some(directory.path()),
            Store::Database { .. } => None,
        }
    }

    fn file(&self) -> PathBuf {
        self.directory().expect("the embedded engine").join("viveka-sync.redb")
    }
}
