//! What an operator can set, each by its environment variable or its flag.

mod auth;
mod http;
mod observability;

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::store::DatasetMemory;
use crate::store::mongo::{check_database_name, check_url};
pub use auth::{AuthConfig, Jwks, TokenRules};
pub use http::{HttpConfig, Origins};
pub use observability::{Observability, PerhapsPort};

/// The configuration of a server.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// IP address to listen on, or localhost
    #[arg(long, env = "HOST", default_value = "127.0.0.1", value_parser = ip_address)]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 10000)]
    pub port: u16,

    /// MongoDB connection string; without it the embedded engine is used
    #[arg(long, env = "MONGO_URL", hide_env_values = true)]
    pub mongo_url: Option<Secret>,

    /// Database, when the connection string names none
    #[arg(long, env = "MONGO_DB_NAME", default_value = "vivekaDB", value_parser = database_name)]
    pub mongo_db_name: String,

    /// Where the embedded engine keeps its file
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// HS256 secret of the tokens, at least 32 bytes. Without it and any other key one is made in the data
    /// directory, which is allowed only with the embedded engine on a loopback address
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,

    /// The other settings of authentication.
    #[command(flatten)]
    pub auth: AuthConfig,

    /// What is around each request.
    #[command(flatten)]
    pub http: HttpConfig,

    /// Refuse a batch that writes and has no idempotency key
    #[arg(long, env = "REQUIRE_IDEMPOTENCY_KEY", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub require_idempotency_key: bool,

    /// Largest body of one batch, in bytes after decompression
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 16 << 20, value_parser = at_least::<1024>)]
    pub max_body_bytes: usize,

    /// Most operations of one batch
    #[arg(long, env = "MAX_OPERATIONS", default_value_t = 10_000, value_parser = at_least::<1>)]
    pub max_operations: usize,

    /// How many days receipts are kept; 0 keeps them for ever
    #[arg(long, env = "RECEIPT_DAYS", default_value_t = 400)]
    pub receipt_days: u32,

    /// Bytes of finished answers that are kept for retries
    #[arg(long, env = "REPLAY_CACHE_BYTES", default_value_t = 32 << 20)]
    pub replay_cache_bytes: u64,

    /// Requests that are handled or wait at once; one client leaves as many as it has to others
    #[arg(long, env = "MAX_REQUESTS", default_value_t = 1024, value_parser = at_least::<2>)]
    pub max_requests: usize,

    /// Batches that are executed at once; one client has a quarter of them at most
    #[arg(long, env = "MAX_CONCURRENT_BATCHES", default_value_t = 64, value_parser = at_least::<1>)]
    pub max_concurrent_batches: usize,

    /// Bytes that requests and their answers may take in memory; one client leaves as many as it has to others
    #[arg(long, env = "MEMORY_BUDGET_BYTES", default_value_t = 512 << 20,
          value_parser = at_least::<{ 1 << 20 }>)]
    pub memory_budget_bytes: usize,

    /// Nobody but servers like this one writes to the MongoDB database: datasets are kept in memory
    #[arg(long, env = "SOLE_WRITER", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub sole_writer: bool,

    /// Bytes of datasets that are kept in memory; 0 keeps none
    #[arg(long, env = "DATASET_CACHE_BYTES", default_value_t = 64 << 20)]
    pub dataset_cache_bytes: usize,

    /// A dataset of more bytes is sent while it is read, and never held as a whole
    #[arg(long, env = "STREAM_ABOVE_BYTES", default_value_t = 8 << 20, value_parser = at_least::<1024>)]
    pub stream_above_bytes: usize,

    /// Connections at once; more wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 4096, value_parser = at_least::<1>)]
    pub max_connections: usize,

    /// What to log: a level, or a filter in the syntax of the tracing crate
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,

    /// How to log
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// How the server tells what it does, beside its log.
    #[command(flatten)]
    pub observability: Observability,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// A value that must not be shown. Its `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A wrong configuration, in one line that names the setting and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// The shortest secret that is allowed, in bytes: as long as the hash that HS256 uses (RFC 7518, 3.2).
    pub const SHORTEST_SECRET: usize = 32;

    /// The MongoDB connection string, if MongoDB is the engine. An empty one is none.
    pub fn mongo_url(&self) -> Option<&str> {
        self.mongo_url.as_ref().map(Secret::expose).filter(|url| !url.is_empty())
    }

    /// The secret of the tokens, if the operator set one. An empty one is none.
    pub fn jwt_secret(&self) -> Option<&str> {
        self.jwt_secret.as_ref().map(Secret::expose).filter(|secret| !secret.is_empty())
    }

    /// Whether no key is set, so that a secret is made in the data directory.
    pub fn is_development(&self) -> bool {
        self.jwt_secret().is_none() && matches!(self.auth.has_keys(), Ok(false))
    }

    /// What is allowed and may not be what the operator wants, in one sentence each that names the setting.
    pub fn advice(&self) -> Vec<&'static str> {
        const OF_OTHERS: &str = "JWKS_URL is set without JWT_AUDIENCE: tokens that the issuer signs for its other apps \
                                 are good here too, if they have a clientId";
        const NO_LOGINS: &str = "SESSION_CHECK with the embedded engine: no login service writes its sessions; they \
                                 come by `import` or `token --session`, while the server is stopped";
        let of_others = matches!(self.auth.jwks(), Ok(Some(Jwks::Url(_)))) && self.auth.rules.audience().is_none();
        let no_logins = self.auth.session_check && self.mongo_url().is_none();
        [(of_others, OF_OTHERS), (no_logins, NO_LOGINS)]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, text)| text)
            .collect()
    }

    /// How much memory datasets may take.
    pub fn dataset_memory(&self) -> DatasetMemory {
        DatasetMemory { cache: self.dataset_cache_bytes, stream_above: self.stream_above_bytes }
    }

    /// Checks what one setting alone cannot tell.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        let no_key = !self.auth.has_keys()? && self.jwt_secret().is_none();
        let previous = self.auth.previous_secrets()?;
        match self.jwt_secret() {
            Some(secret) if secret.len() < Self::SHORTEST_SECRET => {
                return refuse("JWT_SECRET must be at least 32 bytes long");
            }
            _ if no_key && !previous.is_empty() => {
                return refuse(
                    "JWT_PREVIOUS_SECRETS needs JWT_SECRET, JWT_PUBLIC_KEY, JWKS_FILE or JWKS_URL beside it",
                );
            }
            _ if no_key && self.mongo_url().is_some() => {
                return refuse("JWT_SECRET, JWT_PUBLIC_KEY, JWKS_FILE or JWKS_URL must be set when MONGO_URL is");
            }
            _ if no_key && !self.host.is_loopback() => {
                return refuse(
                    "JWT_SECRET, JWT_PUBLIC_KEY, JWKS_FILE or JWKS_URL must be set when HOST is not a loopback address",
                );
            }
            _ => {}
        }
        if self.http.rate_limit_burst > 0 && self.http.rate_limit_per_minute == 0 {
            return refuse("RATE_LIMIT_BURST needs RATE_LIMIT_PER_MINUTE");
        }
        if let Some(url) = self.mongo_url() {
            check_url(url).map_err(|e| ConfigError(format!("MONGO_URL is invalid: {e}")))?;
        }
        if self.metrics_meet_requests() {
            return refuse(
                "METRICS_PORT and PORT must differ, for METRICS_HOST and HOST are one address, or one is any",
            );
        }
        Ok(())
    }

    /// Whether metrics are to be served where requests are. Port 0 is a free one for each.
    fn metrics_meet_requests(&self) -> bool {
        let Observability { metrics_port, metrics_host, .. } = &self.observability;
        let one_address = self.host == *metrics_host || self.host.is_unspecified() || metrics_host.is_unspecified();
        self.port != 0 && metrics_port.0 == Some(self.port) && one_address
    }
}

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// Reads an IP address, or the name of this machine.
///
/// # Errors
/// It is neither; no name is looked up.
pub fn ip_address(text: &str) -> Result<IpAddr, AddrParseError> {
    if text == "localhost" { Ok(Ipv4Addr::LOCALHOST.into()) } else { text.parse() }
}

fn database_name(text: &str) -> Result<String, String> {
    check_database_name(text).map(|()| text.to_owned())
}

fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if value >= LEAST => Ok(value),
        Ok(_) => Err(format!("must be at least {LEAST}")),
        Err(e) => Err(format!("{e}")),
    }
}

fn within<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    match at_least::<LEAST>(text)? {
        value if value <= MOST => Ok(value),
        _ => Err(format!("must be at most {MOST}")),
    }
}

/// The parser of a time in seconds: of a day at most, which all sums of times bear.
const SECONDS: fn(&str) -> Result<usize, String> = within::<1, 86_400>;
