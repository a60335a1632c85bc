//! The server under test: the one of the library, in a process of its own, with at most one armed failpoint.

use std::process::ExitCode;

use clap::{Args, Parser};
use viveka_sync::cli::{Cli, Exit};
use viveka_sync::failpoint::{self, Point};

/// How to serve. All settings of the server come from its environment, as always.
#[derive(Debug, Args)]
pub struct Serve {
    /// Stand still for ever at this point
    #[arg(long)]
    halt_at: Option<Point>,
    /// ... when it is reached for the nth time
    #[arg(long, default_value_t = 1)]
    nth: u32,
}

impl Serve {
    /// Serves until the process is told to stop.
    pub fn run(self) -> ExitCode {
        if let Some(point) = self.halt_at {
            failpoint::arm(point, self.nth);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let served = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            runtime.block_on(Cli::parse_from(["viveka-sync"]).run()).map_err(|error| error.to_string())
        });
        let exit = served.unwrap_or_else(|error| {
            eprintln!("error: {error}");
            Exit::NotDone
        });
        exit.into()
    }
}
