//! `viveka-sync token`: a development token.

use std::process::ExitCode;

use clap::Args;

use super::CliError;
use crate::config::Config;
use crate::server::{SessionWish, mint};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The client's id: 24 hex digits
    #[arg(long)]
    client: String,
    /// The token is of a session of a device, for SESSION_CHECK: of this one, or without an id of a new one, which
    /// is written into the embedded store (while no server has it open)
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true)]
    session: Option<Option<String>>,
    /// How long the token is good, in days
    #[arg(long, default_value_t = 30)]
    days: u32,
    #[command(flatten)]
    config: Config,
}

/// Prints the token and nothing else.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    arguments.config.check()?;
    let session = match &arguments.session {
        None => SessionWish::Nothing,
        Some(None) => SessionWish::New,
        Some(Some(id)) => SessionWish::Known(id),
    };
    let token = mint(&arguments.config, &arguments.client, session, arguments.days)?;
    #[expect(clippy::print_stdout, reason = "the token is this command's result")]
    {
        println!("{token}");
    }
    Ok(ExitCode::SUCCESS)
}
