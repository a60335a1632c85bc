//! `viveka-sync token`: a development token.

use clap::{Arg, Args};

use super::{CliError, Exit};
use crate::config::Config;
use crate::server::{SessionWish, mint};

/// What `--help` says below the options.
const HELP: &str = "\
Prints a token that a server with the same settings takes, and nothing else: for development and for first steps. It is
signed with JWT_SECRET, or else with the secret that is kept in DATA_DIR, which is made if it is not there.

Exit code: 0 if there is a token, 2 if not.

Examples:
  viveka-sync token --client 64b0000000000000000000c1
  TOKEN=$(viveka-sync token --client 64b0000000000000000000c1 --days 1) viveka-sync replay queue.json";

/// Whose token.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, mut_args = show)]
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

/// Shows the settings that a token depends on. All are taken, so that the command runs in the server's environment as it
/// is.
fn show(option: Arg) -> Arg {
    const SHOWN: [&str; 8] =
        ["client", "session", "days", "jwt_secret", "jwt_issuer", "jwt_audience", "data_dir", "mongo_url"];
    let is_shown = SHOWN.contains(&option.get_id().as_str());
    option.hide(!is_shown)
}

/// Prints the token and nothing else.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, CliError> {
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
    Ok(Exit::Good)
}
