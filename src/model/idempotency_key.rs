//! What a phone calls one batch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The phone's name for one batch, unique within its client: 1..255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Takes a key as it stands; `None` if it is none.
    pub fn new(key: &str) -> Option<Self> {
        let visible = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then(|| Self(key.to_owned()))
    }

    /// The key as the phone sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::IdempotencyKey;

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        assert!(IdempotencyKey::new("a").is_some() && IdempotencyKey::new(&"~".repeat(255)).is_some());
        for key in ["", "a b", "a\t", "é", "\u{7f}", &"a".repeat(256)] {
            assert_eq!(IdempotencyKey::new(key), None, "{key:?}");
        }
    }
}
