//! The command line.

mod archive;
mod check;
mod config;
mod health;
mod output;
mod pages;
mod store_settings;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::server::{self, ServeError};
use crate::store::archive::ArchiveError;
use crate::telemetry;

/// The sync server for offline-first business apps: all or nothing, exactly once.
#[derive(Debug, Parser)]
#[command(name = "viveka-sync", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Why a command did not do what it was asked, in one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server did not start, or did not go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A client could not be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A server did not answer, or cannot be asked.
    #[error("{0}")]
    Health(String),
    /// Pages or completions could not be written.
    #[error("{0}")]
    Pages(String),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve(Box<Config>),
    /// Mint a development token with the configured secret
    Token(Box<token::Arguments>),
    /// Print the effective configuration, without secrets
    Config(Box<config::Arguments>),
    /// Ask a server whether it can work
    Health(health::Arguments),
    /// Verify the store and the books of all clients
    Check(Box<check::Arguments>),
    /// Write one client or a whole store into an archive
    Export(Box<archive::export::Arguments>),
    /// Write the clients of an archive into a store
    Import(Box<archive::import::Arguments>),
    /// Print completions for a shell
    Completions(pages::Completions),
    /// Print or write manual pages
    Man(pages::Pages),
}

impl Cli {
    /// Does what the command line says. The exit code is what the command found out.
    ///
    /// # Errors
    /// [`CliError`], in one line.
    pub async fn run(self) -> Result<ExitCode, CliError> {
        match self.command.unwrap_or_else(|| Command::Serve(Box::new(self.config))) {
            Command::Serve(config) => {
                telemetry::start(&config)?;
                server::serve(*config).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Token(arguments) => token::run(&arguments),
            Command::Config(arguments) => config::run(&arguments),
            Command::Health(arguments) => health::run(&arguments),
            Command::Completions(arguments) => pages::complete(&arguments),
            Command::Man(arguments) => pages::man(&arguments),
            Command::Check(arguments) => check::run(*arguments).await,
            Command::Export(arguments) => archive::export::run(*arguments).await,
            Command::Import(arguments) => archive::import::run(*arguments).await,
        }
    }
}
