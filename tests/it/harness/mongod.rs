//! A real mongod of the tests' own.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use tempfile::TempDir;

use super::child::Child;
use super::mongod_binary::mongod_binary;
use super::wait::{block_on, eventually};
use super::{scratch, token};

/// What kind of deployment a mongod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A replica set of one member: it has transactions.
    ReplicaSet,
    /// A mongod by itself: it has none.
    Lone,
}

/// A mongod with a directory and a port of its own.
pub struct Mongod {
    pub(super) child: Child,
    topology: Topology,
    /// What it was started with, beside what all of them are.
    arguments: Vec<String>,
    pub(super) port: u16,
    pub(super) dir: TempDir,
}

/// The password of all users.
const PASSWORD: &str = "open-sesame";

impl Mongod {
    /// The one of this topology that the tests of this process share; each takes a database of its own in it.
    pub fn shared(topology: Topology) -> &'static Self {
        static REPLICA_SET: OnceLock<Mongod> = OnceLock::new();
        static LONE: OnceLock<Mongod> = OnceLock::new();
        let shared = match topology {
            Topology::ReplicaSet => &REPLICA_SET,
            Topology::Lone => &LONE,
        };
        shared.get_or_init(|| Self::start(topology))
    }

    /// Starts a new, empty one and waits until it takes writes.
    pub fn start(topology: Topology) -> Self {
        let started = Self::start_uninitiated(topology);
        if topology == Topology::ReplicaSet {
            started.initiate();
        }
        started.wait_until_writable();
        started
    }

    /// Starts a new, empty replica set that lets nobody in but its users.
    pub fn start_with_users() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let mut started = Self::start(Topology::ReplicaSet);
        let root = doc! { "createUser": "root", "pwd": PASSWORD, "roles": ["root"] };
        started.admin(root).expect("createUser");
        let key = started.dir.path().join("key");
        std::fs::write(&key, token::random_hex(32)).expect("a key file");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("its permissions");
        started.restart_with(format!("--keyFile={}", key.display()));
        started
    }

    /// Starts a new, empty replica set that makes a checkpoint each second.
    pub fn start_with_many_checkpoints() -> Self {
        let mut started = Self::start(Topology::ReplicaSet);
        started.restart_with("--syncdelay=1".to_owned());
        started
    }

    /// Starts a new, empty replica set that takes the commands of MongoDB's own tests.
    pub fn start_with_test_commands() -> Self {
        let mut started = Self::start(Topology::ReplicaSet);
        started.restart_with("--setParameter=enableTestCommands=1".to_owned());
        started
    }

    /// Makes a user, who may do what these roles allow.
    pub fn create_user(&self, name: &str, roles: &[Document]) {
        let user = doc! { "createUser": name, "pwd": PASSWORD, "roles": roles };
        block_on(async {
            let client = mongodb::Client::with_uri_str(self.url_of("root")).await.expect("a valid mongodb:// URL");
            client.database("admin").run_command(user).await.expect("createUser");
        });
    }

    /// The connection string of it for one of its users.
    pub fn url_of(&self, user: &str) -> String {
        self.url().replacen("://", &format!("://{user}:{PASSWORD}@"), 1) + "&authSource=admin"
    }

    /// Starts a new, empty one; if it is to be a replica set, it does not know of it yet.
    pub fn start_uninitiated(topology: Topology) -> Self {
        let dir = scratch::fresh_dir("mongod-");
        let (port, child) = eventually("a port for mongod", LAUNCH_DEADLINE, || {
            let port = free_port();
            launch(topology, port, dir.path(), &[]).map(|child| (port, child))
        });
        Self { child, topology, arguments: Vec::new(), port, dir }
    }

    /// Makes it a replica set of itself.
    pub fn initiate(&self) {
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        self.admin(doc! { "replSetInitiate": { "_id": "rs0", "members": [member] } }).expect("replSetInitiate");
    }

    /// The connection string of it.
    pub fn url(&self) -> String {
        let option = match self.topology {
            Topology::ReplicaSet => "replicaSet=rs0",
            Topology::Lone => "directConnection=true",
        };
        format!("mongodb://127.0.0.1:{}/?{option}", self.port)
    }

    /// The connection string of this very process, whatever it is a member of.
    pub fn direct_url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Stops it with SIGSTOP: connections stay, and nobody answers on them.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Lets it go on after a pause.
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Ends it in good order, without which a replica set's newest data are lost on a lone mongod, and starts it
    /// again as something else, on the same port and data. A replica set must still be initiated.
    pub fn restart_as(&mut self, topology: Topology) {
        self.topology = topology;
        self.child.terminate();
        self.child.exit(START_DEADLINE).expect("mongod ends");
        self.child = eventually("mongod's old port", LAUNCH_DEADLINE, || {
            launch(self.topology, self.port, self.dir.path(), &self.arguments)
        });
    }

    /// Ends it with SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Ends it if it still runs, starts it again on the same port and data, and waits until it takes writes.
    pub fn restart(&mut self) {
        self.relaunch();
        self.wait_until_writable();
    }

    /// The same, with one more argument.
    fn restart_with(&mut self, argument: String) {
        self.arguments.push(argument);
        self.restart();
    }

    /// Ends it if it still runs, and starts it again on the same port and data.
    pub(super) fn relaunch(&mut self) {
        self.child.kill();
        self.child = eventually("mongod's old port", LAUNCH_DEADLINE, || {
            launch(self.topology, self.port, self.dir.path(), &self.arguments)
        });
    }

    /// Waits until it is a primary or, by itself, just up.
    pub fn wait_until_writable(&self) {
        eventually("mongod takes writes", START_DEADLINE, || {
            let hello = self.admin(doc! { "hello": 1 }).ok()?;
            hello.get_bool("isWritablePrimary").unwrap_or(false).then_some(())
        });
    }

    /// Runs one command against this very process, whatever its replica set thinks.
    pub fn admin(&self, command: Document) -> mongodb::error::Result<Document> {
        let url = format!("{}&serverSelectionTimeoutMS=5000", self.direct_url());
        block_on(async {
            let client = mongodb::Client::with_uri_str(url).await?;
            client.database("admin").run_command(command).await
        })
    }
}

/// A database in a mongod, through a driver of the test's own, whose writes outlast a kill (not the default when lone).
pub async fn database(mongod: &Mongod, name: &str) -> mongodb::Database {
    mongodb::Client::with_uri_str(format!("{}&w=majority&journal=true", mongod.url()))
        .await
        .expect("a valid mongodb:// URL")
        .database(name)
}

/// A name that no other test uses.
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{}", token::random_hex(8))
}

/// Starts the process and waits until it listens; None if another process has taken the port.
fn launch(topology: Topology, port: u16, dir: &Path, more: &[String]) -> Option<Child> {
    let child = Child::start(mongod_binary(), &arguments(topology, port, dir, more), &[]);
    let exit = eventually("mongod listens", START_DEADLINE, || match child.exit(Duration::ZERO) {
        Some(status) => Some(Some(status)),
        None => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(None),
    });
    match exit {
        None => Some(child),
        Some(EXIT_NET_ERROR) => None,
        Some(status) => panic!("mongod ended with status {status}; its log: {}", log(dir)),
    }
}

/// Small, quiet and reachable from this machine only.
fn arguments(topology: Topology, port: u16, dir: &Path, more: &[String]) -> Vec<String> {
    let dir = dir.to_str().expect("a temporary path in UTF-8");
    let mut arguments = vec![
        format!("--port={port}"),
        format!("--dbpath={dir}"),
        format!("--logpath={dir}/mongod.log"),
        "--logappend".into(),
        "--quiet".into(),
        "--bind_ip=127.0.0.1".into(),
        "--nounixsocket".into(),
        "--wiredTigerCacheSizeGB=0.25".into(),
        "--setParameter=diagnosticDataCollectionEnabled=false".into(),
    ];
    if topology == Topology::ReplicaSet {
        arguments.extend(["--replSet=rs0".into(), "--oplogSize=64".into()]);
    }
    arguments.extend(more.iter().cloned());
    arguments
}

/// A port that is free now, from below the range that outgoing connections take theirs from.
///
/// From within that range, a driver that reconnects to a killed mongod could get the very port as its own, connect
/// to itself, and so keep mongod from coming back.
fn free_port() -> u16 {
    eventually("a free port", LAUNCH_DEADLINE, || {
        let port = 15_000 + u16::from_le_bytes(token::random_bytes()) % 17_000;
        std::net::TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}

/// What mongod wrote down, for a failed start.
fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("mongod.log")).unwrap_or_else(|error| error.to_string())
}

/// mongod's exit status when it cannot listen on its port.
const EXIT_NET_ERROR: i32 = 48;

/// How long we look for a port.
const LAUNCH_DEADLINE: Duration = Duration::from_secs(30);

/// How long a mongod on a busy machine may take to start.
const START_DEADLINE: Duration = Duration::from_secs(60);
