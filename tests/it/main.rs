//! The integration tests, in one binary: every test process starts its own databases and servers.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; the bans are the server's"
)]

mod access;
mod api_examples;
mod behaviour;
mod contract;
mod counters;
mod crash;
mod delta;
mod fuzz;
mod groups;
mod harness;
mod history;
mod layers;
mod metrics;
mod mongo;
mod openapi;
mod orphans;
#[cfg(feature = "otel")]
mod otel;
mod others;
mod outage;
mod overload;
mod properties;
mod silence;
mod start;
mod stop;
mod tools;
mod traces;

/// What the harness starts as the server, and with which first arguments.
fn server_program() -> (std::path::PathBuf, Vec<String>) {
    (env!("CARGO_BIN_EXE_viveka-sync").into(), Vec::new())
}
