//! The integration tests, in one binary: every test process starts its own databases and servers.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; the bans are the server's"
)]

mod api_examples;
mod behaviour;
mod contract;
mod crash;
mod delta;
mod fuzz;
mod harness;
mod history;
mod layers;
mod mongo;
mod orphans;
mod outage;
mod overload;
mod properties;
mod start;
mod stop;
mod tools;

/// What the harness starts as the server, and with which first arguments.
fn server_program() -> (std::path::PathBuf, Vec<String>) {
    (env!("CARGO_BIN_EXE_viveka-sync").into(), Vec::new())
}
