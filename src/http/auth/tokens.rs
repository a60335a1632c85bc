//! Minting tokens with the HS256 secret, for development and for the program's own commands.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::Caller;
use super::key::Rules;
use super::provider;
use crate::clock;

/// Signs tokens with one HS256 secret.
pub struct Tokens {
    signing: EncodingKey,
    rules: Rules,
}

impl Tokens {
    /// Takes the secret.
    pub fn new(secret: &str) -> Self {
        provider::install();
        Self { signing: EncodingKey::from_secret(secret.as_bytes()), rules: Rules::default() }
    }

    /// The same for a server that asks this of tokens.
    pub fn keeping(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Mints a token that is good for some days; `None` if the client is not 24 hex digits.
    pub fn mint(&self, client: &str, days: u32) -> Option<String> {
        self.mint_for(&Caller::named(client, None)?, days)
    }

    /// Mints one that stands for this caller.
    pub fn mint_for(&self, caller: &Caller, days: u32) -> Option<String> {
        let exp = clock::now().date_time().timestamp_millis() / 1000 + i64::from(days) * 86_400;
        let mut claims = json!({"clientId": caller.client.to_string(), "exp": exp});
        let session = caller.session.map(|session| session.to_string());
        let others = [("deviceSessionId", session.as_ref()), ("iss", self.rules.issuer.as_ref())];
        for (name, value) in others.into_iter().chain([("aud", self.rules.audience.as_ref())]) {
            if let Some(value) = value {
                claims[name] = value.as_str().into();
            }
        }
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).ok()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}
