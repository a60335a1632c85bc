//! From a token to who is calling.

use std::fmt;

use jsonwebtoken::{Algorithm, decode_header};

use super::Caller;
use super::key::{Key, Rules};
use super::location::Location;
use super::published::Published;

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

/// Verifies tokens.
pub struct Verifier {
    own: Vec<Key>,
    published: Option<Published>,
}

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

impl Verifier {
    /// Takes the keys. Those that are published are read now, and from now on.
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
                let opened = Published::open(location, rules).await;
                Some(opened.map_err(|e| KeyError(format!("{setting} cannot be used: {e}")))?)
            }
            None => None,
        };
        Ok(Self { own, published })
    }

    /// Who shows this token, as far as the keys at hand tell.
    ///
    /// # Errors
    /// [`Refusal`], but for [`Refusal::KeysAway`].
    pub fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let Some(published) = &self.published else {
            return self.own.iter().find_map(|key| key.verify(token)).ok_or(Refusal::Bad);
        };
        let header = decode_header(token).map_err(|_| Refusal::Bad)?;
        if let Some(caller) = self.own.iter().filter(|key| key.fits(&header)).find_map(|key| key.verify(token)) {
            return Ok(caller);
        }
        published.with(|keys| {
            let mut fitting = keys.iter().filter(|key| key.fits(&header)).peekable();
            let can_be_published = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
            if can_be_published && fitting.peek().is_none() {
                return Err(Refusal::UnknownKey);
            }
            fitting.find_map(|key| key.verify(token)).ok_or(Refusal::Bad)
        })
    }

    /// The same, after the published keys were read again.
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

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(hidden)")
    }
}
