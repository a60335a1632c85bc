//! The program with a subcommand, and what it comes to.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

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
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// Sends a signal to a command that has not been waited for, so that its pid is its own.
pub fn order(run: &Child, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap().success());
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), output: text(stdout), error: text(stderr) }
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

    /// All that a command has said that found something that is not good.
    #[track_caller]
    pub fn expect_findings(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.output, self.error);
        self.output + &self.error
    }

    /// All that a command has said that could not do its work.
    #[track_caller]
    pub fn expect_failure(self) -> String {
        assert_eq!(self.code, 2, "{}{}", self.output, self.error);
        self.output + &self.error
    }

    /// The JSON of a command that says there whether all is good, as its exit code must, which is this one.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{}{}", self.output, self.error);
        let told: Value = serde_json::from_str(&self.output).unwrap();
        let is_good = ["ok", "passed"].into_iter().find_map(|member| told.get(member));
        assert_eq!(is_good, Some(&json!(code == 0)), "{told}");
        told
    }

    /// The one line with which a command refused to do anything.
    #[track_caller]
    pub fn refusal(&self) -> &str {
        assert_eq!((self.code, self.output.as_str()), (2, ""), "{}", self.error);
        assert_eq!(self.error.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", self.error);
        self.error.lines().last().unwrap()
    }
}
