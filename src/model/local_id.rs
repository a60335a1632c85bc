//! What a phone calls a record for ever.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An identifier that a phone made for a record and never uses for another: 1..64 visible ASCII
/// characters, such as a UUID or a ULID. Unique within its client, over all kinds of records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalId(String);

impl LocalId {
    /// The longest one, in characters.
    pub const MOST_CHARACTERS: usize = 64;

    /// Takes an identifier as it stands; `None` if it is none.
    pub fn new(text: &str) -> Option<Self> {
        let visible = (1..=Self::MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        visible.then(|| Self(text.to_owned()))
    }

    /// As the phone sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::LocalId;

    #[test]
    fn a_local_id_is_1_to_64_visible_ascii_characters() {
        assert!(LocalId::new("a").is_some() && LocalId::new(&"~".repeat(64)).is_some());
        for text in ["", "a b", "a\t", "é", "\u{7f}", &"a".repeat(65)] {
            assert_eq!(LocalId::new(text), None, "{text:?}");
        }
    }
}
