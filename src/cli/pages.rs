//! `viveka-sync completions` and `viveka-sync man`: made from the definition of the command line.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::print;
use super::{Cli, CliError, Exit};

const COMPLETIONS: &str = "\
Exit code: 0 if they are printed, 2 if there is no such shell.

Examples:
  viveka-sync completions bash > /etc/bash_completion.d/viveka-sync
  viveka-sync completions zsh > ~/.zfunc/_viveka-sync
  viveka-sync completions fish > ~/.config/fish/completions/viveka-sync.fish";

const MAN: &str = "\
Exit code: 0 if the pages are there, 2 if there is no such command or they cannot be written.

Examples:
  viveka-sync man | man -l -
  viveka-sync man export | man -l -
  viveka-sync man --directory /usr/local/share/man/man1";

/// For which shell.
#[derive(Debug, Args)]
#[command(after_long_help = COMPLETIONS)]
pub(super) struct Completions {
    /// The shell whose completions are printed
    shell: Shell,
}

/// Which pages.
#[derive(Debug, Args)]
#[command(after_long_help = MAN)]
pub(super) struct Pages {
    /// The command whose page is printed; that of the program if none is named
    #[arg(conflicts_with = "directory")]
    command: Option<String>,
    /// Write the pages of all commands into this directory instead
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Prints completions.
pub(super) fn complete(arguments: &Completions) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), NAME, &mut text);
    print(&with_labels_of_one_spelling(&String::from_utf8_lossy(&text)));
    Ok(Exit::Good)
}

/// The script for bash, as clap_complete 4.6 writes it, remembers the command in one spelling and looks it up in another,
/// because the program's name has a hyphen: it would complete nothing behind a command. Other scripts hold neither.
fn with_labels_of_one_spelling(script: &str) -> String {
    script.replace("viveka__subcmd__sync", "viveka__sync")
}

/// Prints one page, or writes all of them.
pub(super) fn man(arguments: &Pages) -> Result<Exit, CliError> {
    // `help` is no command of its own: it would have a page for each of the others.
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives each command the names of its parents.
    program.build();
    if let Some(directory) = &arguments.directory {
        let told = |error: io::Error| CliError::Pages(format!("{}: {error}", directory.display()));
        fs::create_dir_all(directory).map_err(told)?;
        clap_mangen::generate_to(program, directory).map_err(told)?;
        return Ok(Exit::Good);
    }
    let page = match &arguments.command {
        None => program,
        Some(name) => {
            let unknown = || CliError::Pages(format!("there is no command {name}"));
            program.find_subcommand(name).cloned().ok_or_else(unknown)?
        }
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text).map_err(|error| CliError::Pages(error.to_string()))?;
    print(&String::from_utf8_lossy(&text));
    Ok(Exit::Good)
}

/// The program's name.
const NAME: &str = "viveka-sync";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_defined() {
        Cli::command().debug_assert();
    }
}
