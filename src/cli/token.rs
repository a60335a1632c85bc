//! `viveka-sync token`: a development token.

use clap::Args;

use crate::config::{Config, ConfigError};
use crate::server::{ServeError, tokens};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The client's id: 24 hex digits
    #[arg(long)]
    client: String,
    /// How long the token is good
    #[arg(long, default_value_t = 30)]
    days: u32,
}

/// Prints the token and nothing else.
pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), ServeError> {
    config.check()?;
    let token = tokens(config)?.mint(&arguments.client, arguments.days);
    let token = token.ok_or_else(|| ConfigError("--client must be 24 hex digits".into()))?;
    #[expect(clippy::print_stdout, reason = "the token is this command's result")]
    {
        println!("{token}");
    }
    Ok(())
}
