//! The keys of the configuration: those that verify tokens, and the one that signs them.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::ServeError;
use crate::config::{Config, ConfigError, Jwks, TokenRules};
use crate::http::auth::{Caller, KeySources, Location, Rules, Tokens};
use crate::secret_file;
use crate::store::embedded::EmbeddedStore;

/// Which session of a device a minted token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionWish<'a> {
    /// Of none.
    Nothing,
    /// Of a new one, which is written into the embedded store.
    New,
    /// Of one that is there.
    Known(&'a str),
}

/// The tokens of the configured secret, or of the one in the data directory.
///
/// # Errors
/// [`ServeError::Secret`]; [`ServeError::Config`] if there are public keys only.
pub fn tokens(config: &Config) -> Result<Tokens, ServeError> {
    const NO_SECRET: &str = "no token can be minted without JWT_SECRET: JWT_PUBLIC_KEY, JWKS_FILE, JWKS_URL and \
                             JWT_PREVIOUS_SECRETS only verify them; whoever holds the private key mints tokens";
    let secret = secret(config)?.ok_or_else(|| refused(NO_SECRET.to_owned()))?;
    Ok(Tokens::new(&secret).keeping(rules(&config.auth.rules)))
}

/// The tokens of this secret, or else of the one that a server has made in the data directory. Makes none. They say what
/// the server asks for.
///
/// # Errors
/// [`ServeError::NoSecret`].
pub fn present_tokens(secret: Option<&str>, data_dir: &Path, said: &TokenRules) -> Result<Tokens, ServeError> {
    let tokens = match secret {
        Some(secret) => Tokens::new(secret),
        None => Tokens::new(&secret_file::read(data_dir).map_err(ServeError::NoSecret)?),
    };
    Ok(tokens.keeping(rules(said)))
}

/// Mints a token that is good for some days.
///
/// # Errors
/// [`ServeError`], in particular if an id is none.
pub fn mint(config: &Config, client: &str, session: SessionWish<'_>, days: u32) -> Result<String, ServeError> {
    let known = match session {
        SessionWish::Known(id) => Some(id),
        SessionWish::Nothing | SessionWish::New => None,
    };
    let caller = Caller::named(client, known);
    let mut caller = caller.ok_or_else(|| refused("--client and --session must be 24 hex digits".to_owned()))?;
    let tokens = tokens(config)?;
    if session == SessionWish::New {
        if config.mongo_url().is_some() {
            return Err(refused("--session needs the id of a session when MONGO_URL is set: --session=ID".to_owned()));
        }
        let store = EmbeddedStore::open(&config.data_dir, config.receipt_days, config.dataset_memory())?;
        let opened = store.open_session(&caller.client).map_err(|e| refused(format!("cannot open a session: {e}")))?;
        caller.session = Some(opened);
    }
    tokens.mint_for(&caller, days).ok_or_else(|| refused("the token cannot be signed".to_owned()))
}

/// All that verifies tokens, but for the secret of a development start.
///
/// # Errors
/// [`ServeError::Config`]; [`ServeError::Secret`] if that secret is there and is none.
pub(super) fn sources(config: &Config) -> Result<KeySources, ServeError> {
    if config.is_development() {
        match secret_file::read(&config.data_dir) {
            // The start makes it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => drop(read.map_err(ServeError::Secret)?),
        }
    }
    let secret = config.jwt_secret().map(str::to_owned);
    let secrets = secret.into_iter().chain(config.auth.previous_secrets()?).collect();
    let period = Duration::from_secs(config.auth.jwks_refresh_seconds as u64);
    let published = config.auth.jwks()?.map(|jwks| match jwks {
        Jwks::File(path) => Location::File(path),
        Jwks::Url(url) => Location::Url(url, period),
    });
    let public_key = config.auth.public_key().map(pem).transpose()?;
    Ok(KeySources { secrets, public_key, published, rules: rules(&config.auth.rules) })
}

/// The secret of a development start, which is made if it is not there; `None` if keys are set.
///
/// # Errors
/// [`ServeError::Secret`].
pub(super) fn development_secret(config: &Config) -> Result<Option<String>, ServeError> {
    let made = config.is_development().then(|| secret_file::read_or_create(&config.data_dir));
    made.transpose().map_err(ServeError::Secret)
}

fn secret(config: &Config) -> Result<Option<String>, ServeError> {
    match config.jwt_secret() {
        Some(secret) => Ok(Some(secret.to_owned())),
        None => development_secret(config),
    }
}

fn rules(said: &TokenRules) -> Rules {
    Rules { issuer: said.issuer().map(str::to_owned), audience: said.audience().map(str::to_owned) }
}

/// The text of a PEM, which stands in the variable, perhaps in one line with `\n` for its ends, or in a file.
fn pem(value: &str) -> Result<String, ServeError> {
    if value.contains("-----BEGIN ") {
        return Ok(value.replace("\\n", "\n"));
    }
    let unreadable = |e| refused(format!("JWT_PUBLIC_KEY is neither a PEM nor a file that can be read: {e}"));
    std::fs::read_to_string(Path::new(value)).map_err(unreadable)
}

fn refused(text: String) -> ServeError {
    ServeError::Config(ConfigError(text))
}
