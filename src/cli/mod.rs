//! The command line.

mod token;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::server::{self, ServeError};
use crate::telemetry;

/// The sync server for offline-first business apps: all or nothing, exactly once.
#[derive(Debug, Parser)]
#[command(name = "viveka-sync", version)]
pub struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Mint a development token with the configured secret
    Token(token::Arguments),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// [`ServeError`], in one line.
    pub async fn run(self) -> Result<(), ServeError> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => {
                telemetry::start(&self.config)?;
                server::serve(self.config).await
            }
            Command::Token(arguments) => token::run(&self.config, &arguments),
        }
    }
}
