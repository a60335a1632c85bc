//! The command line.

mod archive;
mod check;
mod config;
mod health;
mod output;
mod pages;
mod replay;
mod store_settings;
mod storm;
mod target;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::server::{self, ServeError};
use crate::store::archive::ArchiveError;
use crate::telemetry;
use replay::ReplayError;
use storm::StormError;
use target::TargetError;

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
    /// A tool has no server to talk to, or nobody to speak for.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// There is nothing that could be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// There was no storm.
    #[error(transparent)]
    Storm(#[from] StormError),
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
    /// Send queues that phones have kept, and tell what comes of each payload
    Replay(Box<replay::Arguments>),
    /// Load a server with many phones and retry storms, then audit its books
    Storm(Box<storm::Arguments>),
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

impl CliError {
    /// What the process ends with: 2 if a tool was used in a wrong way, so that 1 can be what it found out.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Serve(_) | Self::Config(_) | Self::Archive(_) | Self::Health(_) | Self::Pages(_) => ExitCode::FAILURE,
            Self::Target(_) | Self::Replay(_) | Self::Storm(_) => ExitCode::from(2),
        }
    }
}

impl Cli {
    /// Does what the command line says. The exit code is what the command found out.
    ///
    /// # Errors
    /// [`CliError`], in one line.
    pub async fn run(self) -> Result<ExitCode, CliError> {
        match self.command.unwrap_or_else(|| Command::Serve(Box::new(self.config))) {
            Command::Serve(config) => {
                let telemetry = telemetry::start(&config)?;
                let served = server::serve(*config).await;
                telemetry.finish();
                served?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Token(arguments) => token::run(&arguments),
            Command::Replay(arguments) => replay::run(&arguments).await,
            Command::Storm(arguments) => storm::run(&arguments).await,
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
