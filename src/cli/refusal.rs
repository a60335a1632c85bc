//! What is said of a command line, or of an environment, that cannot be read.

use std::env;
use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory};

use super::Cli;

/// In one line: what is wrong, and with which variable if the value is from the environment. Values are shown without
/// what may be a password.
pub fn refusal(mut error: clap::Error) -> String {
    let variable = variable(&error, |name| env::var_os(name));
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(text)) = error.get(kind) {
            let text = without_credentials(text);
            error.insert(kind, ContextValue::String(text));
        }
    }
    let text = error.to_string();
    // What follows behind an empty line is usage, which --help tells.
    let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let variable = variable.map(|name| format!(" (set by the environment variable {name})"));
    said.join(" ") + &variable.unwrap_or_default()
}

/// The variable that holds the value that was refused.
fn variable<V: AsRef<OsStr>>(error: &clap::Error, set: impl Fn(&OsStr) -> Option<V>) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    };
    let (option, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let mut program = Cli::command();
    // Only then do options know how they are shown.
    program.build();
    let commands = program.get_subcommands().chain([&program]);
    let named = commands
        .flat_map(Command::get_arguments)
        .find(|known| known.get_env().is_some() && known.to_string() == *option);
    let name = named?.get_env()?;
    let is_it = set(name).is_some_and(|set| set.as_ref() == OsStr::new(value));
    is_it.then(|| name.to_string_lossy().into_owned())
}

/// Without what stands before an `@`, where URLs have user and password, even where it is no URL.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        None => text.to_owned(),
        Some((_, host)) if scheme.is_empty() => format!("***@{host}"),
        Some((_, host)) => format!("{scheme}://***@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for (text, shown) in [
            ("http://user:s3cret@host/", "http://***@host/"),
            ("http://user:s3cr/t?@host", "http://***@host"),
            ("http://user:s3c@ret@host", "http://***@host"),
            ("user:s3cret@host", "***@host"),
            ("http://host/", "http://host/"),
            ("http", "http"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn a_value_is_the_environments_only_if_it_stands_there() {
        let error = |option: &str| Cli::command().try_get_matches_from(["viveka-sync", option]).unwrap_err();
        let named = |option, set: Option<&'static str>| variable(&error(option), |_| set);
        assert_eq!(named("--port=x", Some("x")).as_deref(), Some("PORT"));
        assert_eq!(named("--port=x", Some("8080")), None);
        assert_eq!(named("--port=x", None), None);
        assert_eq!(named("--prot=x", Some("x")), None);
    }
}
