//! Logging, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat};

/// Starts logging for the whole process.
///
/// # Errors
/// `LOG` is no filter.
pub fn start(config: &Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::builder().parse(quiet(&config.log));
    let filter = filter.map_err(|e| ConfigError(format!("LOG is invalid: {e}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Leaves out what actix says of requests that are not HTTP, at the level of errors: any stranger could fill the
/// log with it. A filter that names `actix_http` has its way.
fn quiet(filter: &str) -> String {
    if filter.contains("actix_http") { filter.to_owned() } else { format!("{filter},actix_http=off") }
}
