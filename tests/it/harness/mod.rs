//! What every integration test stands on: real servers, real databases, and phones that talk to them.
//!
//! A test asks for an [`Engine`]'s shared server (most do, through [`on_every_engine!`]) or starts a [`Server`] of
//! its own from a [`Setup`], and speaks to it as a [`Phone`]. Every process and directory that is made on the way
//! goes away with the test process, even when that is killed with -9: see `child.rs` and `scratch.rs`.

mod child;
mod client;
mod connection;
mod engine;
mod matcher;
mod mongod;
mod mongod_binary;
mod scenario;
mod scratch;
mod server;
mod token;
mod wait;

pub use client::{Answer, Phone, Request};
pub use connection::Connection;
pub use engine::Engine;
pub(crate) use engine::on_every_engine;
pub use matcher::Matcher;
pub use mongod::{Mongod, Topology, database, unique_name};
pub use server::{OtherProgram, Server, Setup, database_at};
pub use token::{TEST_SECRET, base64url, random_hex, sign, sign_with, token};
pub use wait::{block_on, eventually};
