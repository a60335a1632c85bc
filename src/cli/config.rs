//! `viveka-sync config`: the configuration as a server with this environment and these flags would have it.

use std::any::TypeId;
use std::ffi::OsStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;

use super::output::{Table, print, print_json};
use super::{CliError, Exit};
use crate::config::{Config, Secret};
use crate::server::Prepared;
use crate::store::mongo::shown_url;

/// What `--help` says below the options.
const HELP: &str = "\
Takes the flags of `serve` and its environment, and prints what a server would make of them: each setting, its value, and
where it comes from. Secrets are never printed, nor the user, password and options of MONGO_URL. Then it says what a server
would refuse, as the server would: keys and files that are named are read. What only a start tells is whether the port is
free, the store can be opened, and JWKS_URL answers.

Exit code: 0 if a server would start with it, 1 if it would not, 2 if a flag or variable cannot be read at all.

Examples:
  viveka-sync config
  PORT=8080 viveka-sync config --max-operations 500 --json";

/// What to print.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct Arguments {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// The configuration and how it is to be shown. What there is to show follows from the definition of [`Config`], so a
/// new setting is among it, and one of the type [`Secret`] is hidden, without a word here.
#[derive(Debug)]
struct Settings {
    config: Config,
    shown: Vec<Setting>,
}

/// One setting, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Setting {
    /// The environment variable, or else the flag.
    name: String,
    flag: Option<String>,
    /// `None` if it is not set.
    value: Option<String>,
    /// Whether the value is not shown, or only a part of it.
    hidden: bool,
    source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Default,
    Environment,
    Flag,
    Unset,
}

/// Prints the settings, then checks them as a server would.
pub(super) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let Arguments { json, settings: Settings { config, shown } } = arguments;
    if json {
        print_json(&shown);
    } else {
        print(&table(&shown));
    }
    Prepared::of(config).await.map_err(CliError::Settings)?;
    Ok(Exit::Good)
}

fn table(settings: &[Setting]) -> String {
    let mut table = Table::new(&["setting", "value", "from"], &[]);
    for Setting { name, value, source, .. } in settings {
        let value = value.clone().unwrap_or_else(|| "-".to_owned());
        table.row([name.clone(), value, source.word().to_owned()]);
    }
    table.text()
}

impl Setting {
    /// What stands in place of a secret.
    const HIDDEN: &str = "(hidden)";

    fn of(setting: &Arg, matches: &ArgMatches) -> Self {
        let id = setting.get_id().as_str();
        let flag = setting.get_long().map(|long| format!("--{long}"));
        let name = setting.get_env().map(|name| name.to_string_lossy().into_owned());
        let values = matches.get_raw(id).into_iter().flatten().map(OsStr::to_string_lossy);
        let value: Vec<_> = values.collect();
        // An empty one is none, for servers too.
        let value = Some(value.join(",")).filter(|value| !value.is_empty());
        let hidden = is_secret(setting);
        let shown = |value: String| match hidden {
            false => value,
            true if id == "mongo_url" => shown_url(&value).unwrap_or_else(|| Self::HIDDEN.to_owned()),
            true => Self::HIDDEN.to_owned(),
        };
        let source = match matches.value_source(id) {
            _ if value.is_none() => Source::Unset,
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment,
            Some(_) => Source::Default,
            None => Source::Unset,
        };
        let name = name.or_else(|| flag.clone()).unwrap_or_else(|| id.to_owned());
        Self { name, flag, value: value.map(shown), hidden, source }
    }
}

/// Whether the values of a setting are secrets: its type says so, or its help does not show them either.
fn is_secret(setting: &Arg) -> bool {
    setting.get_value_parser().type_id() == TypeId::of::<Secret>() || setting.is_hide_env_values_set()
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::Flag => "flag",
            Self::Unset => "unset",
        }
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        Config::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Config::augment_args_for_update(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let config = Config::from_arg_matches(matches)?;
        let definition = Config::augment_args(Command::new(""));
        let shown = definition.get_arguments().map(|setting| Setting::of(setting, matches)).collect();
        Ok(Self { config, shown })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Command {
        Config::augment_args(Command::new("test"))
    }

    #[test]
    fn a_setting_is_a_secret_by_its_type_and_hidden_in_the_help_too() {
        let definition = definition();
        let secrets = definition.get_arguments().filter(|setting| is_secret(setting));
        let mut count = 0;
        for secret in secrets {
            assert_eq!(secret.get_value_parser().type_id(), TypeId::of::<Secret>(), "{}", secret.get_id());
            assert!(secret.is_hide_env_values_set(), "{}: its help would show it", secret.get_id());
            count += 1;
        }
        assert!(count >= 2);
    }

    #[test]
    fn what_is_named_like_a_secret_is_one() {
        let definition = definition();
        for setting in definition.get_arguments() {
            let name = setting.get_id().as_str();
            let sounds = ["secret", "password", "passphrase"].iter().any(|word| name.contains(word));
            assert!(!sounds || is_secret(setting), "{name} is not of the type Secret");
        }
    }

    #[test]
    fn no_secret_is_shown_wherever_it_comes_from() {
        let definition = definition();
        let secrets: Vec<_> = definition.get_arguments().filter(|setting| is_secret(setting)).collect();
        for value in [
            "keep-this-secret-keep-this-secret",
            "mongodb://user:keep-this-secret@host/db?authSource=admin&tlsCertificateKeyFilePassword=keep-this-secret",
            "mongodb://user:keep-this-secret@host@host",
            "mongodb://keep-this-secret",
        ] {
            for secret in &secrets {
                let flag = format!("--{}={value}", secret.get_long().unwrap());
                let Ok(matches) = definition.clone().try_get_matches_from(["test", &flag]) else { continue };
                let settings = Settings::from_arg_matches(&matches).unwrap();
                let shown = serde_json::to_string(&settings.shown).unwrap() + &table(&settings.shown);
                let host_alone = value == "mongodb://keep-this-secret" && secret.get_id() == "mongo_url";
                assert!(host_alone || !shown.contains("keep-this-secret"), "{flag}: {shown}");
                assert!(shown.contains("flag"), "{shown}");
            }
        }
    }
}
