//! viveka-sync: the sync server for offline-first business apps.
//!
//! A phone sends its whole queue in one request. [`http`] finds out who is calling and reads the body;
//! [`batch`] turns the bytes into typed operations, or says all that is wrong with them; [`plan`] is the
//! rules, a pure function from what is stored and the batch to what is to be written; [`store`] loads
//! what the plan reads, runs it and commits it atomically, on an embedded engine or on MongoDB; and
//! [`dataset`] shows everything of the client, from which the phone rebuilds itself.

pub mod cli;
pub mod config;
#[cfg(feature = "otel")]
mod otel;
pub mod phone;
pub mod server;
mod telemetry;

pub mod http;

pub mod batch;

pub mod plan;

pub mod store;

pub mod dataset;

pub mod clock;
pub mod failpoint;
pub mod metrics;
pub mod model;
mod secret_file;
