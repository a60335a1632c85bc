//! The command line.

mod archive;
mod check;
mod config;
mod exit;
mod health;
mod interruption;
mod output;
mod pages;
mod place;
mod reading;
mod refusal;
mod replay;
mod store_settings;
mod storm;
mod target;
mod token;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::server::{self, Prepared, ServeError};
use crate::store::archive::ArchiveError;
pub use exit::Exit;
pub use refusal::refusal;
use replay::ReplayError;
use storm::StormError;
use target::TargetError;

/// What `--help` of the program says below the options.
const HELP: &str = "\
Exit code, of all commands: 0 if all is good; 1 if the command did its work, and what it looked at is not good; 2 if it could
not do its work. `viveka-sync COMMAND --help` says more, with examples.";

/// What `serve --help` says below the options.
const SERVE: &str = "\
Without any setting it serves on 127.0.0.1:10000 from a file in ./data, with a secret of its own that it keeps there, and logs
a line to try it with. A flag goes before its variable, and a variable that is set to nothing is not set. SIGTERM and Ctrl-C
stop it when what is in flight is done.

Exit code: 0 after an orderly stop, 2 if the server did not start or could not go on.

Examples:
  viveka-sync
  JWT_SECRET=.. HOST=0.0.0.0 viveka-sync serve --max-operations 5000
  JWT_SECRET=.. MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync serve";

/// The sync server for offline-first business apps: all or nothing, exactly once.
#[derive(Debug, Parser)]
#[command(name = "viveka-sync", version, args_conflicts_with_subcommands = true, after_long_help = HELP)]
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
    /// A server would not start with these settings.
    #[error(transparent)]
    Settings(ServeError),
    /// A server does not answer.
    #[error("{0}")]
    Health(String),
    /// Pages or completions could not be written.
    #[error("{0}")]
    Pages(String),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    #[command(after_long_help = SERVE)]
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
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            // These were to be looked at.
            Self::Settings(_) | Self::Health(_) => Exit::NotGood,
            Self::Serve(_)
            | Self::Config(_)
            | Self::Target(_)
            | Self::Replay(_)
            | Self::Storm(_)
            | Self::Archive(_)
            | Self::Pages(_) => Exit::NotDone,
        }
    }
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// [`CliError`], in one line.
    pub async fn run(self) -> Result<Exit, CliError> {
        match self.command.unwrap_or_else(|| Command::Serve(Box::new(self.config))) {
            Command::Serve(config) => {
                server::serve(Prepared::of(*config).await?).await?;
                Ok(Exit::Good)
            }
            Command::Token(arguments) => token::run(&arguments),
            Command::Replay(arguments) => replay::run(&arguments).await,
            Command::Storm(arguments) => storm::run(&arguments).await,
            Command::Config(arguments) => config::run(*arguments).await,
            Command::Health(arguments) => health::run(&arguments).await,
            Command::Completions(arguments) => pages::complete(&arguments),
            Command::Man(arguments) => pages::man(&arguments),
            Command::Check(arguments) => check::run(*arguments).await,
            Command::Export(arguments) => archive::export::run(*arguments).await,
            Command::Import(arguments) => archive::import::run(*arguments).await,
        }
    }
}
