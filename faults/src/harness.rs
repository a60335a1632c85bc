//! What the integration tests of the server stand on, shared with them, and what breaking things takes besides.

#![allow(dead_code, unused_imports, unused_macros, reason = "shared with tests/it, which uses all of it")]

#[path = "../../tests/it/harness/child.rs"]
mod child;
#[path = "../../tests/it/harness/client.rs"]
mod client;
#[path = "../../tests/it/harness/engine.rs"]
mod engine;
#[path = "../../tests/it/harness/mongod.rs"]
mod mongod;
#[path = "../../tests/it/harness/mongod_binary.rs"]
mod mongod_binary;
mod outage;
mod replica_set;
#[path = "../../tests/it/harness/scratch.rs"]
pub mod scratch;
#[path = "../../tests/it/harness/server.rs"]
mod server;
#[path = "../../tests/it/harness/token.rs"]
mod token;
#[path = "../../tests/it/harness/wait.rs"]
mod wait;

pub use client::{Answer, Phone, Request};
pub use engine::Engine;
pub(crate) use engine::on_every_engine;
pub use mongod::{Mongod, Topology, unique_name};
pub use mongod_binary::mongod_binary;
pub use outage::Backup;
pub use replica_set::ReplicaSet;
pub use server::{Server, Setup};
pub use wait::{block_on, eventually};
