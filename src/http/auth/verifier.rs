//! From a token to who is calling.

use std::fmt;

use jsonwebtoken::{Algorithm, decode_header};

use super::Caller;
use super::key::{Key, Rules, Wrong};
use super::location::Location;
use super::published::{Opened, Published};

/// Where the keys come from.
#[derive(Clone, Default)]
pub struct KeySources {
    /// HS256 secrets, the likeliest first.
    pub secrets: Vec<String>,
    /// A public key as PEM.
    pub public_key: Option<String>,
    /// A key set.
    pub published: Option<Location>,
    /// What tokens must say.
    pub rules: Rules,
}

/// Why there are no keys, in one line that names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// Keys that can be used: those of the settings and of files. What an address publishes is not asked for yet.
pub struct Keys {
    own: Vec<Key>,
    published: Option<Opened>,
    rules: Rules,
}

/// Verifies tokens.
pub struct Verifier {
    own: Vec<Key>,
    published: Option<Published>,
}

/// With how many published keys a token is tried: one that names none could cost as many as a set holds.
const MOST_TRIED: usize = 4;

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Whatever is wrong with it.
    Bad,
    /// It may be signed with a key that its issuer has published since the set was read.
    UnknownKey,
    /// The same, and the issuer cannot be asked.
    KeysAway,
}

impl Keys {
    /// Takes the keys out of where they come from.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn open(sources: KeySources) -> Result<Self, KeyError> {
        let KeySources { secrets, public_key, published, rules } = sources;
        let mut own: Vec<Key> = secrets.iter().map(|secret| Key::hs256(secret, &rules)).collect();
        if let Some(pem) = public_key {
            own.push(Key::from_pem(&pem, &rules).map_err(|e| KeyError(format!("JWT_PUBLIC_KEY {e}")))?);
        }
        let published = match published {
            Some(location) => {
                let setting = location.setting();
                let opened = Opened::at(location, rules.clone()).await;
                Some(opened.map_err(|e| KeyError(format!("{setting} cannot be used: {e}")))?)
            }
            None => None,
        };
        Ok(Self { own, published, rules })
    }

    /// The same keys and an HS256 secret.
    pub fn and_secret(mut self, secret: &str) -> Self {
        self.own.push(Key::hs256(secret, &self.rules));
        self
    }
}

impl Verifier {
    /// Verifies with these keys. Those that are published are read from now on.
    pub async fn begin(Keys { own, published, .. }: Keys) -> Self {
        let published = match published {
            Some(opened) => Some(Published::begin(opened).await),
            None => None,
        };
        Self { own, published }
    }

    /// Who shows this token, as far as the keys at hand tell.
    ///
    /// # Errors
    /// [`Refusal`], but for [`Refusal::KeysAway`].
    pub fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let Some(published) = &self.published else {
            return judge(&self.own, token).map_err(|_| Refusal::Bad);
        };
        let header = decode_header(token).map_err(|_| Refusal::Bad)?;
        let own = judge(self.own.iter().filter(|key| key.fits(&header)), token);
        if own != Err(Wrong::Key) {
            return own.map_err(|_| Refusal::Bad);
        }
        published.with(|keys| {
            let fitting = || keys.iter().filter(|key| key.fits(&header)).take(MOST_TRIED);
            judge(fitting(), token).map_err(|wrong| {
                let can_be_published = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
                let is_known = wrong == Wrong::Token || fitting().any(|key| key.is_named(&header));
                if can_be_published && !is_known { Refusal::UnknownKey } else { Refusal::Bad }
            })
        })
    }

    /// The same, after the published keys were read again, which takes some seconds at most.
    ///
    /// # Errors
    /// [`Refusal`], but for [`Refusal::UnknownKey`].
    pub async fn verify_anew(&self, token: &str) -> Result<Caller, Refusal> {
        let renewed = match &self.published {
            Some(published) => published.renew().await,
            None => Ok(()),
        };
        self.verify(token).map_err(|refusal| match (refusal, renewed) {
            (Refusal::UnknownKey, Ok(())) => Refusal::Bad,
            (Refusal::UnknownKey, Err(_)) => Refusal::KeysAway,
            (refusal, _) => refusal,
        })
    }
}

/// What the key says that a token is signed with, if it is among these.
fn judge<'a>(keys: impl IntoIterator<Item = &'a Key>, token: &str) -> Result<Caller, Wrong> {
    let mut said = keys.into_iter().map(|key| key.verify(token));
    said.find(|said| *said != Err(Wrong::Key)).unwrap_or(Err(Wrong::Key))
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(hidden)")
    }
}
