//! Which tokens are good: the keys, who must have issued them, and whether their sessions are looked up.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use reqwest::Url;

use super::{Config, ConfigError, SECONDS, Secret};

/// The settings of authentication, beside `JWT_SECRET`.
#[derive(Debug, Clone, Args)]
pub struct AuthConfig {
    /// Former HS256 secrets, whose tokens are still good: separated by commas, or a JSON list
    #[arg(long, env = "JWT_PREVIOUS_SECRETS", hide_env_values = true)]
    pub jwt_previous_secrets: Option<Secret>,

    // Hidden, because it may be a private key by mistake.
    /// Public key of the tokens as PEM, or the path of such a file: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)
    #[arg(long, env = "JWT_PUBLIC_KEY", hide_env_values = true)]
    pub jwt_public_key: Option<Secret>,

    /// File with a JSON Web Key Set; read again when it changes
    #[arg(long, env = "JWKS_FILE")]
    pub jwks_file: Option<PathBuf>,

    /// Where a JSON Web Key Set is fetched; https, or http on a loopback address
    #[arg(long, env = "JWKS_URL", hide_env_values = true)]
    pub jwks_url: Option<Secret>,

    /// Seconds after which JWKS_URL is fetched again; an unknown key id has it fetched at once
    #[arg(long, env = "JWKS_REFRESH_SECONDS", default_value_t = 300, value_parser = SECONDS)]
    pub jwks_refresh_seconds: usize,

    /// What tokens must say.
    #[command(flatten)]
    pub rules: TokenRules,

    /// Ask the store whether a token's deviceSessionId names an active session, and its client is active
    #[arg(long, env = "SESSION_CHECK", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub session_check: bool,

    /// Seconds for which it is remembered whether a session is active
    #[arg(long, env = "SESSION_CACHE_SECONDS", default_value_t = 5, value_parser = SECONDS)]
    pub session_cache_seconds: usize,
}

/// What tokens must say, whichever key they are signed with.
#[derive(Debug, Clone, Args)]
pub struct TokenRules {
    /// What a token's iss must be
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,

    /// What a token's aud must be, or have among others
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
}

/// Where a JSON Web Key Set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// On a server.
    Url(Url),
}

impl AuthConfig {
    /// Former HS256 secrets.
    ///
    /// # Errors
    /// [`ConfigError`] if the list cannot be read, or one is too short.
    pub fn previous_secrets(&self) -> Result<Vec<String>, ConfigError> {
        let refuse = |text: &str| ConfigError(format!("JWT_PREVIOUS_SECRETS {text}"));
        let text = self.jwt_previous_secrets.as_ref().map_or("", Secret::expose).trim();
        let secrets: Vec<String> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(|_| refuse("begins with [ and is no JSON list of texts"))?,
            false => text.split(',').map(str::trim).filter(|secret| !secret.is_empty()).map(str::to_owned).collect(),
        };
        match secrets.iter().all(|secret| secret.len() >= Config::SHORTEST_SECRET) {
            true => Ok(secrets),
            false => Err(refuse("must be at least 32 bytes long, each")),
        }
    }

    /// The public key, or where it is. An empty one is none.
    pub fn public_key(&self) -> Option<&str> {
        set(self.jwt_public_key.as_ref().map(Secret::expose))
    }

    /// Where the key set is.
    ///
    /// # Errors
    /// [`ConfigError`] if there are two, or the address is none that keys may come from.
    pub fn jwks(&self) -> Result<Option<Jwks>, ConfigError> {
        let file = self.jwks_file.as_ref().filter(|path| !path.as_os_str().is_empty());
        match (file, set(self.jwks_url.as_ref().map(Secret::expose))) {
            (Some(_), Some(_)) => Err(ConfigError("JWKS_FILE and JWKS_URL cannot both be set".to_owned())),
            (Some(path), None) => Ok(Some(Jwks::File(path.clone()))),
            (None, Some(url)) => address(url).map(|url| Some(Jwks::Url(url))),
            (None, None) => Ok(None),
        }
    }

    /// Whether there are keys of now beside `JWT_SECRET`, all of them well-formed.
    pub(super) fn has_keys(&self) -> Result<bool, ConfigError> {
        Ok(self.jwks()?.is_some() || self.public_key().is_some())
    }
}

impl TokenRules {
    /// What a token's `iss` must be, if it matters.
    pub fn issuer(&self) -> Option<&str> {
        set(self.jwt_issuer.as_deref())
    }

    /// What a token's `aud` must hold, if it matters.
    pub fn audience(&self) -> Option<&str> {
        set(self.jwt_audience.as_deref())
    }
}

/// A variable that is set to nothing is not set.
fn set(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// Keys that anybody on the way could exchange are no keys: so https, or this very machine. The text never quotes
/// the address, which may hold a password.
fn address(text: &str) -> Result<Url, ConfigError> {
    let refuse = |why: &str| Err(ConfigError(format!("JWKS_URL {why}")));
    let Ok(url) = Url::parse(text) else { return refuse("is no URL") };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => refuse("must not hold a user or password"),
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => refuse("must be https, or http on a loopback address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for good in ["https://id.example/keys", "http://127.0.0.1:1/k", "http://localhost/k", "http://[::1]:8080/k"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["http://id.example/k", "ftp://127.0.0.1/k", "https://u:p-secret@id.example/k", "keys", "file:///k"]
        {
            let error = address(bad).unwrap_err().to_string();
            assert!(error.starts_with("JWKS_URL ") && !error.contains("p-secret"), "{bad}: {error}");
        }
    }
}
