//! What a phone calls a record for ever.

use super::ids::phone_made_name;

phone_made_name! {
    /// An identifier that a phone made for a record and never uses for another: 1..64 visible ASCII
    /// characters, such as a UUID or a ULID. Unique within its client, over all kinds of records.
    LocalId, 64
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
