//! What a phone calls one batch.

use super::ids::phone_made_name;

phone_made_name! {
    /// The phone's name for one batch, unique within its client: 1..255 visible ASCII characters.
    IdempotencyKey, 255
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
