//! The integration tests, in one binary: every test process starts its own databases and servers.

mod harness;
