//! A JSON Web Key Set (RFC 7517, 5), as far as this server can use it.

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, Rules};

/// The largest set that is read, in bytes: some tens of keys.
pub(super) const MOST_BYTES: usize = 256 << 10;
/// Keys beyond these are left out: a token without a key id is tried with each of its algorithm.
const MOST_KEYS: usize = 32;

/// Reads a set. Keys that cannot be used are left out, and the log says why.
///
/// # Errors
/// What is wrong, if it is no set or none of its keys can be used.
pub(super) fn parse(json: &[u8], rules: &Rules) -> Result<Vec<Key>, String> {
    /// Each key by itself, so that one that is malformed does not spoil the others.
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
    if set.keys.len() > MOST_KEYS {
        tracing::warn!(keys = set.keys.len(), "only the first {MOST_KEYS} token keys are used");
    }
    let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| usable(key, rules)).collect();
    if keys.is_empty() { Err("it holds no key that can be used".to_owned()) } else { Ok(keys) }
}

fn usable(key: Value, rules: &Rules) -> Option<Key> {
    let id = key["kid"].as_str().unwrap_or_default().to_owned();
    let key = serde_json::from_value::<Jwk>(key).map_err(|_| "is malformed".to_owned());
    match key.and_then(|jwk| Key::from_jwk(&jwk, rules).map_err(|e| e.to_string())) {
        Ok(key) => Some(key),
        Err(why) => {
            // Escaped, for an id is anybody's text.
            tracing::warn!(key.id = ?id, "a token key is left out: it {why}");
            None
        }
    }
}
