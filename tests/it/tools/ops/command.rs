//! The program with a subcommand, on the data of a server's setup.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Engine, Setup};

/// What a command came to.
pub struct Ran {
    pub code: i32,
    pub output: String,
    pub error: String,
}

/// The program with nothing but these arguments and this environment.
pub fn program(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_viveka-sync"));
    program.args(arguments).env_clear().envs(environment.iter().copied()).current_dir("/");
    program
}

/// The program on the data of this setup, in the server's way to say where they are.
pub fn on(engine: Engine, setup: &Setup, arguments: &[&str]) -> Command {
    match engine.topology() {
        None => program(arguments, &[("DATA_DIR", setup.directory().to_str().unwrap())]),
        Some(_) => program(arguments, &[("MONGO_URL", setup.mongo_url()), ("MONGO_DB_NAME", setup.database_name())]),
    }
}

/// Runs it to its end.
pub fn run(mut command: Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// What a successful command has printed.
    #[track_caller]
    pub fn expect_ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.output, self.error);
        self.output
    }

    /// The same as JSON.
    #[track_caller]
    pub fn expect_json(self) -> Value {
        serde_json::from_str(&self.expect_ok()).unwrap()
    }

    /// All that a failed command has said.
    #[track_caller]
    pub fn expect_failure(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.output, self.error);
        self.output + &self.error
    }
}
