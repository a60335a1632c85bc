//! Random histories of shops against a model of their books.
//!
//! A history is made from a seed: phones of one client send batches, lose answers, retry, hang up, are cut off, repack
//! what they sent under new keys, reuse keys, refer to other clients' records, and are refused. The same history goes
//! to [`books`], a model that is written from the contract alone and shares no code with the server. After every step
//! the answer and what another phone pulls must be what the books say, down to the last field.
//!
//! - `numbers`, `shape`, `books`: the model.
//! - `author`, `story`: what phones do, from a seed.
//! - `device`: a phone that sends and hangs up.
//! - `check`: compares.
//! - `sequence`, `storm`: runs phones one after the other, or all at once.
//! - `campaign`: many histories at a time; what fails is made short and told with its seed.
//!
//! `HISTORIES=1000000 cargo test --test it history` is the long run, `HISTORY_SEED=...` runs one history again.

pub mod author;
pub mod books;
mod campaign;
pub mod check;
pub mod device;
mod numbers;
mod sequence;
mod shape;
mod storm;
mod story;

use crate::harness::{Engine, Server, Setup};

#[test]
fn histories_match_the_books_embedded() {
    let mut left = histories(2_000);
    while left > FRESH_SERVER_EVERY {
        let server = Server::start(&Setup::embedded());
        campaign::run(&server, "histories_match_the_books_embedded", FRESH_SERVER_EVERY);
        left -= FRESH_SERVER_EVERY;
    }
    campaign::run(Engine::Embedded.server(), "histories_match_the_books_embedded", left);
}

#[test]
fn histories_match_the_books_replica_set() {
    let count = histories(2_000) / SHARE_OF_MONGO;
    campaign::run(Engine::ReplicaSet.server(), "histories_match_the_books_replica_set", count);
}

#[test]
fn histories_match_the_books_sole_writer() {
    let count = histories(2_000) / SHARE_OF_MONGO;
    campaign::run(Engine::SoleWriter.server(), "histories_match_the_books_sole_writer", count);
}

#[test]
fn histories_match_the_books_lone_mongod() {
    let count = histories(2_000) / SHARE_OF_MONGO;
    campaign::run(Engine::LoneMongod.server(), "histories_match_the_books_lone_mongod", count);
}

/// `HISTORIES`, or else this many.
fn histories(default: u64) -> u64 {
    match std::env::var("HISTORIES") {
        Ok(count) => count.parse().expect("HISTORIES is a number"),
        Err(_) => default,
    }
}

/// In a long run the embedded store starts anew after so many histories, to bound its file and the kept log.
const FRESH_SERVER_EVERY: u64 = 20_000;

/// One in so many histories runs on each kind of MongoDB, where a commit takes longer.
const SHARE_OF_MONGO: u64 = 20;
