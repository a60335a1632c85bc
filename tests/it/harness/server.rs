//! The real server binary as a child process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::child::Child;
use super::client::{Phone, Request};
use super::engine::Engine;
use super::mongod::{Mongod, unique_name};
use super::scratch;
use super::token::TEST_SECRET;
use super::wait::eventually;

/// How a server is started and where its data lies; two servers of one setup share the data.
#[derive(Clone)]
pub struct Setup {
    pub(super) arguments: Vec<String>,
    env: BTreeMap<String, String>,
    _data_dir: Option<Arc<TempDir>>,
}

impl Setup {
    /// The embedded engine on a new, empty data directory.
    pub fn embedded() -> Self {
        let dir = scratch::fresh_dir("data-");
        let mut setup = Self::common().data_dir(dir.path());
        setup._data_dir = Some(Arc::new(dir));
        setup
    }

    /// The given engine on a new, empty store; for MongoDB that is a database in the shared mongod.
    pub fn on(engine: Engine) -> Self {
        let setup = match engine.topology() {
            None => Self::embedded(),
            Some(topology) => Self::at(Mongod::shared(topology)),
        };
        if engine == Engine::SoleWriter { setup.env("SOLE_WRITER", "true") } else { setup }
    }

    /// A new, empty database in this very mongod.
    pub fn at(mongod: &Mongod) -> Self {
        Self::common().env("MONGO_URL", mongod.url()).database(unique_name("it"))
    }

    /// Sets a variable of the server's environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a variable out of the server's environment.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Keeps the embedded engine's data in this directory.
    pub fn data_dir(self, path: &Path) -> Self {
        let path = path.to_str().expect("a path in UTF-8");
        self.env("DATA_DIR", path)
    }

    /// The directory of the embedded engine's data.
    pub fn directory(&self) -> &Path {
        Path::new(&self.env["DATA_DIR"])
    }

    /// Whether the data are in a MongoDB.
    pub fn is_on_mongodb(&self) -> bool {
        self.env.contains_key("MONGO_URL")
    }

    /// The connection string of the MongoDB.
    pub fn mongo_url(&self) -> &str {
        &self.env["MONGO_URL"]
    }

    /// The name of the MongoDB database.
    pub fn database_name(&self) -> &str {
        &self.env["MONGO_DB_NAME"]
    }

    /// Keeps the data in this MongoDB database.
    pub fn database(self, name: impl Into<String>) -> Self {
        self.env("MONGO_DB_NAME", name)
    }

    /// What every server is started with.
    pub(super) fn common() -> Self {
        let setup = Self { arguments: Vec::new(), env: BTreeMap::new(), _data_dir: None };
        setup
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("LOG", "info")
            .env("LOG_FORMAT", "json")
            .env("JWT_SECRET", TEST_SECRET)
    }

    /// Starts the binary, by way of a shell that lets it outlive [`Server::limit_files`].
    fn launch(&self) -> Child {
        let (program, mut arguments) = crate::server_program();
        arguments.extend(self.arguments.iter().cloned());
        let program = program.to_str().expect("a path in UTF-8").to_owned();
        let ignoring = ["-c".to_owned(), r#"trap '' XFSZ; exec "$0" "$@""#.to_owned(), program];
        let env: Vec<_> = self.env.clone().into_iter().collect();
        Child::start(Path::new("/bin/sh"), &[&ignoring[..], &arguments[..]].concat(), &env)
    }
}

/// The database of servers of this setup, through a driver of the test's own.
pub async fn database_at(setup: &Setup) -> mongodb::Database {
    mongodb::Client::with_uri_str(setup.mongo_url())
        .await
        .expect("a valid mongodb:// URL")
        .database(setup.database_name())
}

/// Another program at the database of a setup, with a runtime of its own, in which its connections go on from one deed to
/// the next.
pub struct OtherProgram {
    runtime: Runtime,
    pub db: mongodb::Database,
}

impl OtherProgram {
    pub fn at(setup: &Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a tokio runtime");
        let db = runtime.block_on(database_at(setup));
        Self { runtime, db }
    }

    /// Does something to its end.
    pub fn run<F: IntoFuture>(&self, action: F) -> F::Output {
        self.runtime.block_on(action.into_future())
    }
}

/// A server that listens, until it is ended or dropped.
pub struct Server {
    pub(super) child: Child,
    address: String,
    setup: Setup,
}

impl Server {
    /// Starts one and waits until it listens.
    pub fn start(setup: &Setup) -> Self {
        let child = setup.launch();
        let address = child.find_line(START_DEADLINE, listening_address);
        let Some(address) = address else {
            panic!("the server does not listen:\n{}", child.lines().join("\n"));
        };
        Self { child, address, setup: setup.clone() }
    }

    /// Starts one and waits until its store is there, which on a busy machine may take longer than the start waits.
    pub fn start_ready(setup: &Setup) -> Self {
        let server = Self::start(setup);
        server.wait_until_ready();
        server
    }

    /// Starts one that must end by itself, with a failure and without listening; gives what it printed.
    pub fn refused(setup: &Setup) -> String {
        let child = setup.launch();
        let status = child.exit(START_DEADLINE);
        let printed = child.lines().join("\n");
        match status {
            Some(0) => panic!("the server ended as if all were well:\n{printed}"),
            Some(_) => printed,
            None => panic!("the server started:\n{printed}"),
        }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.child.lines()
    }

    /// The first log line, past or future, that `wanted` accepts.
    pub fn wait_for_log(&self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let line = self.child.find_line(LOG_DEADLINE, |line| wanted(line).then(|| line.to_owned()));
        line.unwrap_or_else(|| panic!("no such log line in:\n{}", self.log().join("\n")))
    }

    /// Stops it with SIGSTOP, in the middle of whatever it does.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Lets it go on after a pause.
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Has all its writes beyond this many bytes of a file fail, as if the disk were full there; `None` gives room.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let soft = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.pid().to_string()]).arg(format!("--fsize={soft}:unlimited"));
        assert!(prlimit.status().expect("prlimit of util-linux").success());
    }

    /// Waits until it ends by itself, with a failure; gives what it printed.
    pub fn expect_failure(&self) -> String {
        let status =
            self.child.exit(START_DEADLINE).unwrap_or_else(|| panic!("it goes on:\n{}", self.log().join("\n")));
        assert_ne!(status, 0, "{}", self.log().join("\n"));
        self.log().join("\n")
    }

    /// Ends it with SIGKILL.
    pub fn kill(&self) {
        self.child.kill();
    }

    /// Asks it to end with SIGTERM; gives its exit status (128 + n if signal n ended it).
    pub fn terminate(&mut self) -> i32 {
        self.ask_to_end();
        self.wait_for_end()
    }

    /// Sends SIGTERM and waits for nothing.
    pub fn ask_to_end(&self) {
        self.child.terminate();
    }

    /// Waits for the end after a SIGTERM; gives the exit status.
    pub fn wait_for_end(&self) -> i32 {
        self.child
            .exit(TERMINATE_DEADLINE)
            .unwrap_or_else(|| panic!("the server goes on after SIGTERM:\n{}", self.log().join("\n")))
    }

    /// Ends it with SIGKILL if it still runs, and starts it anew on the same data; its address and log are new.
    pub fn restart(&mut self) {
        self.child.kill();
        *self = Self::start(&self.setup);
    }

    /// The same, and waits until its store is there.
    pub fn restart_ready(&mut self) {
        self.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let phone = Phone::new(self);
        eventually("the server has its store", START_DEADLINE, || {
            (phone.send(Request::new("GET", "/api/health")).status == 200).then_some(())
        });
    }
}

/// The address in the log line that says that the server listens, in either format.
fn listening_address(line: &str) -> Option<String> {
    if let Some((_, address)) = line.split_once(" viveka_sync::server: listening address=") {
        return Some(address.to_owned());
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    (fields["message"] == "listening").then(|| fields["address"].as_str().map(str::to_owned))?
}

/// How long a start may take.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a log line may take.
const LOG_DEADLINE: Duration = Duration::from_secs(20);

/// How long an orderly end may take.
const TERMINATE_DEADLINE: Duration = Duration::from_secs(30);
