//! The program with a subcommand, on the data of a server's setup.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Engine, Setup, eventually};

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

/// How long a file may be held by nobody who means it: a process that another test starts has this one's files open
/// for a moment, between its fork and its exec.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs it to its end.
pub fn run(mut command: Command) -> Ran {
    eventually("nobody has the file open", PATIENCE, || {
        let ran = run_once(&mut command);
        (!ran.error.contains("in use by another process")).then_some(ran)
    })
}

/// Runs it to its end, whoever has its file open.
pub fn run_once(command: &mut Command) -> Ran {
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
