//! What the tests have for processes and files that do not outlive their program: a mongod, and directories.

#[path = "../../tests/it/harness/child.rs"]
pub mod child;
#[path = "../../tests/it/harness/mongod.rs"]
pub mod mongod;
#[path = "../../tests/it/harness/mongod_binary.rs"]
pub mod mongod_binary;
#[path = "../../tests/it/harness/scratch.rs"]
pub mod scratch;
#[path = "../../tests/it/harness/token.rs"]
mod token;
#[path = "../../tests/it/harness/wait.rs"]
mod wait;
