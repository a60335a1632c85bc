//! `viveka-sync token`: a development token.

use std::process::ExitCode;

use clap::Args;

use super::CliError;
use crate::config::{Config, ConfigError};
use crate::server::tokens;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The client's id: 24 hex digits
    #[arg(long)]
    client: String,
    /// How long the token is good
    #[arg(long, default_value_t = 30)]
    days: u32,
    #[command(flatten)]
    config: Config,
}

/// Prints the token and nothing else.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    arguments.config.check()?;
    let token = tokens(&arguments.config)?.mint(&arguments.client, arguments.days);
    let token = token.ok_or_else(|| ConfigError("--client must be 24 hex digits".into()))?;
    #[expect(clippy::print_stdout, reason = "the token is this command's result")]
    {
        println!("{token}");
    }
    Ok(ExitCode::SUCCESS)
}
