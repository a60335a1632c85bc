//! How much memory a batch takes, told before it is taken.

use super::{Batch, Reading, json};

impl Batch {
    /// What the batch takes, in bytes, beside its texts.
    pub fn footprint(&self) -> usize {
        const RECORD: usize = 512;
        self.records() * RECORD
    }

    /// What planning and writing it takes on top of that, from the plan to the documents that a store makes of it.
    pub fn execution_footprint(&self) -> usize {
        const RECORD: usize = 4 << 10;
        self.records() * RECORD
    }

    /// The number of records that it touches or makes, at most.
    fn records(&self) -> usize {
        self.ids() + self.item_updates.len() + self.item_deletes.len()
    }
}

impl Reading {
    /// What it takes with all that a check makes of it, in bytes, beside its texts.
    pub fn footprint(&self) -> usize {
        const OPERATION: usize = 512;
        const REFERENCE: usize = 128;
        let references: usize = self.operations.iter().map(|operation| operation.items.len()).sum();
        let operations = self.operations.len() * OPERATION + references * REFERENCE;
        operations + self.batch.footprint() + self.batch.execution_footprint()
    }
}

/// What reading a body takes at most, in bytes, beside the body itself. A glance at its punctuation says
/// how many values it has at most; what stands in strings is counted too, which is too much and does no harm.
pub fn reading_footprint(body: &[u8], max_operations: usize) -> usize {
    /// A value's place in a list that has grown by doubling.
    const VALUE: usize = 64;
    /// The smallest piece of memory for a text.
    const TEXT: usize = 32;
    /// The first piece of memory of a list.
    const LIST: usize = 144;
    /// The first node of an object: room for eleven members.
    const OBJECT: usize = 640;
    /// A member's part of the further, half-filled nodes of an object, beside its value.
    const MEMBER: usize = 64;

    let most = json::most_values(max_operations);
    let [mut commas, mut colons, mut quotes, mut braces, mut brackets] = [0_usize; 5];
    for byte in body {
        match byte {
            b',' => commas += 1,
            b':' => colons += 1,
            b'"' => quotes += 1,
            b'{' => braces += 1,
            b'[' => brackets += 1,
            _ => {}
        }
    }
    let values = (1 + commas + braces + brackets).min(most);
    let members = colons.min(most);
    let texts = (quotes / 2).min(2 * most);
    let objects = braces.min(members).min(most / json::OBJECT);
    let lists = brackets.min(most);
    body.len() + texts * TEXT + values * VALUE + lists * LIST + objects * OBJECT + members * MEMBER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_what_it_becomes() {
        let few = reading_footprint(b"[1]", 1000);
        assert!(reading_footprint(b"[1,2]", 1000) > few);
        assert!(reading_footprint(b"[{}]", 1000) < reading_footprint(br#"[{"a":1}]"#, 1000));
        assert!(reading_footprint(&b"1,".repeat(20_000), 1) >= 20_000 * 32);
    }

    #[test]
    fn what_is_refused_anyway_counts_no_more_than_what_is_not() {
        let most = |body: &[u8]| reading_footprint(body, 1) - body.len();
        assert_eq!(most(&b"{:[,\"\"\"\"".repeat(20_000)), most(&b"{:[,\"\"\"\"".repeat(40_000)));
    }
}
