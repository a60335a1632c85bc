//! How the command line and the environment become a command.

use std::env;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, Error, FromArgMatches};

use super::Cli;

impl Cli {
    /// Reads the arguments and the environment of this process. A variable that is set to nothing is not set, whichever
    /// it is: so a compose file may pass all of them on.
    ///
    /// # Errors
    /// [`clap::Error`], help and version among them.
    pub fn read() -> Result<Self, Error> {
        let mut definition = Self::command().mut_args(without_empty);
        definition = definition.mut_subcommands(|command| command.mut_args(without_empty));
        let matches = definition.try_get_matches()?;
        refuse_two_stores(&matches)?;
        Self::from_arg_matches(&matches)
    }
}

/// The setting without its variable, if that is set to nothing.
fn without_empty(setting: Arg) -> Arg {
    let is_empty = setting.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { setting.env(Resettable::Reset) } else { setting }
}

/// Refuses a directory that is named on the command line and would not be looked at, because there is a database: who
/// names it means it. Variables may both be set, as images and compose files do.
fn refuse_two_stores(matches: &ArgMatches) -> Result<(), Error> {
    if let Some((_, matches)) = matches.subcommand() {
        return refuse_two_stores(matches);
    }
    let source = |id| matches.try_contains_id(id).is_ok_and(|is_there| is_there).then(|| matches.value_source(id))?;
    let url = matches.try_get_raw("mongo_url").ok().flatten();
    let is_on_mongodb = url.is_some_and(|mut values| values.any(|url| !url.is_empty()));
    if source("data_dir") != Some(ValueSource::CommandLine) || !is_on_mongodb {
        return Ok(());
    }
    let why = match source("mongo_url") {
        Some(ValueSource::EnvVariable) => {
            "--data-dir names a directory, and the environment variable MONGO_URL a database: leave out one of them \
             (MONGO_URL= before the command takes the variable away)"
        }
        _ => "--data-dir names a directory, and --mongo-url a database: leave out one of them",
    };
    Err(Command::new("viveka-sync").error(ErrorKind::ArgumentConflict, why))
}
