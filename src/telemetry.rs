//! Logging, to standard error; and where spans go besides.

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{Config, ConfigError, LogFormat};

/// Logging that has begun. To be finished when the process is about to end.
#[must_use]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    export: Option<crate::otel::Export>,
}

/// Starts logging for the whole process.
///
/// # Errors
/// `LOG` is no filter, or spans cannot be sent to where they should be.
pub fn start(config: &Config) -> Result<Telemetry, ConfigError> {
    tell_of_panics();
    let filter = EnvFilter::builder().parse(quiet(&config.log));
    let filter = filter.map_err(|e| ConfigError(format!("LOG is invalid: {e}")))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        // A request has one span, which need not be told twice.
        LogFormat::Json => lines.json().with_span_list(false).boxed(),
    };
    let registry = tracing_subscriber::registry().with(filter).with(lines);
    #[cfg(feature = "otel")]
    {
        let export = config.observability.otlp_endpoint.as_deref().map(crate::otel::Export::begin).transpose();
        let export = export.map_err(|e| ConfigError(format!("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used: {e}")))?;
        registry.with(export.as_ref().map(crate::otel::Export::layer)).init();
        Ok(Telemetry { export })
    }
    #[cfg(not(feature = "otel"))]
    {
        registry.init();
        Ok(Telemetry {})
    }
}

impl Telemetry {
    /// Sends what has not been sent yet. It takes some seconds at most.
    pub fn finish(self) {
        #[cfg(feature = "otel")]
        self.export.into_iter().for_each(crate::otel::Export::finish);
    }
}

/// Tells where the program panicked, and why if the program says so in fixed words: a text that was put together may hold
/// anything of a request.
fn tell_of_panics() {
    panic::set_hook(Box::new(|panicked| {
        let (at, why) = (panicked.location().map(ToString::to_string), panicked.payload().downcast_ref::<&str>());
        tracing::error!(at, why, "the program panicked");
    }));
}

/// Leaves out what actix says of requests that are not HTTP, at the level of errors: any stranger could fill the
/// log with it. A filter that names `actix_http` has its way.
fn quiet(filter: &str) -> String {
    if filter.contains("actix_http") { filter.to_owned() } else { format!("{filter},actix_http=off") }
}
