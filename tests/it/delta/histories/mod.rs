//! Random histories of phones that keep a cursor.
//!
//! The phones of a shop send batches, lose answers, retry with other cursors, pull by POST and by GET, forget their
//! cursor or come back from a backup of their own. After every step
//!
//! - what a phone that heard the answer holds is what a full answer holds;
//! - a delta has shown exactly the records that were touched since the phone's cursor, by the books of [`history`];
//! - every server on the store gives the same full `data`, byte for byte, and so does one that keeps no datasets.
//!
//! Half of a history later the servers are started anew, and the phones go on with the cursors that they have. In the end
//! the phones of some shops send all at once, and must come out with the same books again.
//!
//! `DELTA_HISTORIES=10000 cargo test --test it delta::histories` is a long run, `DELTA_SEED=...` runs one history again.
//!
//! [`history`]: crate::history

mod campaign;
mod foreign;
mod phone;
mod shop;
mod world;

use crate::harness::Engine;
use world::World;

#[test]
fn embedded() {
    campaign::run("embedded", &mut World::on(Engine::Embedded), 4);
}

#[test]
fn embedded_with_a_cache_that_is_too_small() {
    campaign::run(
        "embedded_with_a_cache_that_is_too_small",
        &mut World::with(Engine::Embedded, &[("DATASET_CACHE_BYTES", "20000")], 1),
        2,
    );
}

#[test]
fn embedded_without_a_cache() {
    campaign::run(
        "embedded_without_a_cache",
        &mut World::with(Engine::Embedded, &[("DATASET_CACHE_BYTES", "0")], 1),
        2,
    );
}

#[test]
fn embedded_streaming() {
    campaign::run("embedded_streaming", &mut World::with(Engine::Embedded, &STREAMING, 1), 2);
}

#[test]
fn replica_set() {
    campaign::run("replica_set", &mut World::on(Engine::ReplicaSet), 1);
}

#[test]
fn replica_set_streaming() {
    campaign::run("replica_set_streaming", &mut World::with(Engine::ReplicaSet, &STREAMING, 1), 1);
}

#[test]
fn replica_set_two_servers() {
    campaign::run("replica_set_two_servers", &mut World::with(Engine::ReplicaSet, &[], 2), 1);
}

#[test]
fn replica_set_foreign_writer() {
    campaign::run("replica_set_foreign_writer", &mut World::on(Engine::ReplicaSet).with_a_foreign_writer(), 1);
}

#[test]
fn replica_set_two_servers_and_a_foreign_writer() {
    let mut world = World::with(Engine::ReplicaSet, &[], 2).with_a_foreign_writer();
    campaign::run("replica_set_two_servers_and_a_foreign_writer", &mut world, 1);
}

#[test]
fn sole_writer() {
    campaign::run("sole_writer", &mut World::on(Engine::SoleWriter), 1);
}

#[test]
fn sole_writer_two_servers() {
    campaign::run("sole_writer_two_servers", &mut World::with(Engine::SoleWriter, &[], 2), 1);
}

#[test]
fn sole_writer_two_servers_with_small_caches() {
    campaign::run(
        "sole_writer_two_servers_with_small_caches",
        &mut World::with(Engine::SoleWriter, &[("DATASET_CACHE_BYTES", "20000"), STREAMING[0]], 2),
        1,
    );
}

#[test]
fn lone_mongod() {
    campaign::run("lone_mongod", &mut World::on(Engine::LoneMongod), 1);
}

#[test]
fn lone_mongod_sole_writer() {
    campaign::run("lone_mongod_sole_writer", &mut World::with(Engine::LoneMongod, &[("SOLE_WRITER", "true")], 1), 1);
}

#[test]
fn lone_mongod_foreign_writer() {
    campaign::run("lone_mongod_foreign_writer", &mut World::on(Engine::LoneMongod).with_a_foreign_writer(), 1);
}

/// Small enough that most answers of a history are sent while they are read.
const STREAMING: [(&str, &str); 2] = [("STREAM_ABOVE_BYTES", "2000"), ("DATASET_CACHE_BYTES", "0")];
