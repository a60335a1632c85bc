//! The integration tests, in one binary: every test process starts its own databases and servers.

mod api_examples;
mod behaviour;
mod contract;
mod crash;
mod harness;
mod layers;
mod mongo;
mod start;
