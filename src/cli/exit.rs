//! What commands end with: one rule for all of them, which each tells in its `--help`.

use std::process::ExitCode;

/// What a command came to, as scripts and supervisors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did its work, and all is good: 0.
    Good,
    /// It did its work, and what it looked at is not good: 1.
    NotGood,
    /// It could not do its work, or not all of it: 2.
    NotDone,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::NotGood => 1,
            Exit::NotDone => 2,
        })
    }
}
