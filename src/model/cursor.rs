//! What a phone has seen, and how a store knows that it still holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ClientId, Revision};

/// Tells one history of a client's commits from another: a random number that a store sets anew when it
/// cannot know that it goes on where it was, as after a restored backup. 0 is the tag of commits from before
/// there were tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(pub i64);

/// One state of a client's books: a commit of one history. Two equal positions are the same state, as far as
/// this program wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The client's commit counter.
    pub revision: Revision,
    /// The history that the commit belongs to.
    pub tag: Tag,
}

/// The identity of a store, made with it and kept with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub i64);

/// What a phone sends back to hear only of what changed since: a position in the books of one client in one
/// store. Opaque to the phone: 24 hex digits of the client, 16 of the store, 16 of the tag, then the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The store that made it.
    pub store: StoreId,
    /// Whose books.
    pub client: ClientId,
    /// Which state of them.
    pub position: Position,
}

/// A text that is no cursor, or one of another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCursor;

impl Cursor {
    /// Reads a cursor that this client sent.
    ///
    /// # Errors
    /// [`UnknownCursor`].
    pub fn parse(text: &str, client: &ClientId) -> Result<Self, UnknownCursor> {
        let mut rest = text;
        let own = take::<24>(&mut rest).is_some_and(|stated| client.is(stated));
        let store = take::<16>(&mut rest).and_then(hex).map(|store| StoreId(store as i64));
        let tag = take::<16>(&mut rest).and_then(hex).map(|tag| Tag(tag as i64));
        let revision = hex(rest).and_then(|revision| i64::try_from(revision).ok()).map(Revision);
        match (own, store, tag, revision) {
            (true, Some(store), Some(tag), Some(revision)) => {
                Ok(Self { store, client: *client, position: Position { revision, tag } })
            }
            _ => Err(UnknownCursor),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { revision, tag } = self.position;
        write!(f, "{}{:016x}{:016x}{:x}", self.client, self.store.0, tag.0, revision.0)
    }
}

/// Which commits of a client belong to which history: the first revision of each, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(Vec<Branch>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Branch {
    from: Revision,
    tag: Tag,
}

impl Lineage {
    /// More are not kept, so that a client's counter stays small however often its servers start.
    const MOST: usize = 64;

    /// A history that begins here, whatever was before: no position that was seen until now is part of it, not even
    /// that of a client without commits.
    pub fn anew(tag: Tag) -> Self {
        Self(vec![Branch { from: Revision::default(), tag }])
    }

    /// The position of a commit, by its revision.
    pub fn at(&self, revision: Revision) -> Position {
        let branch = self.0.iter().rev().find(|branch| branch.from <= revision);
        Position { revision, tag: branch.map_or_else(Tag::default, |branch| branch.tag) }
    }

    /// Whether a state is in the past of this history, which has come to `revision`.
    pub fn holds(&self, position: Position, revision: Revision) -> bool {
        position.revision <= revision && self.at(position.revision) == position
    }

    /// The same history, with a new tag for the commits from a revision on. Both tags are to be new: when more
    /// branches than are kept have come together, the oldest become one with a tag that no phone knows, so that
    /// none of their cursors holds any more.
    pub fn branched(&self, from: Revision, tag: Tag, forgotten: Tag) -> Self {
        let mut branches = self.0.clone();
        branches.push(Branch { from, tag });
        if branches.len() > Self::MOST {
            branches.drain(..branches.len() - Self::MOST);
            branches.insert(0, Branch { from: Revision::default(), tag: forgotten });
        }
        Self(branches)
    }
}

/// Takes so many characters off the front.
fn take<'a, const COUNT: usize>(rest: &mut &'a str) -> Option<&'a str> {
    let (taken, left) = rest.split_at_checked(COUNT)?;
    *rest = left;
    Some(taken)
}

/// Hex digits and nothing else: `from_str_radix` takes a sign.
fn hex(digits: &str) -> Option<u64> {
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientId {
        ClientId::from_verified_claim(text).unwrap()
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_by_its_own_client() {
        let own = client("64b000000000000000000001");
        for revision in [0, 1, 42, i64::MAX] {
            let position = Position { revision: Revision(revision), tag: Tag(-7) };
            let cursor = Cursor { store: StoreId(-1), client: own, position };
            assert_eq!(Cursor::parse(&cursor.to_string(), &own), Ok(cursor));
            assert_eq!(Cursor::parse(&cursor.to_string(), &client("64b000000000000000000002")), Err(UnknownCursor));
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        let own = client("64b000000000000000000001");
        let good = Cursor { store: StoreId(1), client: own, position: Position::default() }.to_string();
        let cut = &good[..good.len() - 1];
        for text in [
            "",
            "x",
            cut,
            &format!("{good}g"),
            &format!("{cut}+1"),
            &format!("{cut}ffffffffffffffff"),
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(Cursor::parse(text, &own), Err(UnknownCursor), "{text}");
        }
    }

    #[test]
    fn a_branch_ends_what_would_have_come_after_it() {
        let lineage = Lineage::default().branched(Revision(1), Tag(7), Tag(-1));
        let (seen, lost) = (lineage.at(Revision(40)), lineage.at(Revision(41)));
        // A backup of revision 40 is restored, and another history goes on from it.
        let restored = lineage.branched(Revision(41), Tag(8), Tag(-1));
        assert!(restored.holds(seen, Revision(50)));
        assert!(!restored.holds(lost, Revision(40)), "it is ahead");
        assert!(!restored.holds(lost, Revision(50)), "it is of the other history");
        assert!(restored.holds(restored.at(Revision(41)), Revision(50)));
        assert!(restored.holds(Position::default(), Revision(50)));
    }

    #[test]
    fn nothing_that_was_seen_is_part_of_a_history_that_begins_anew() {
        let before = Lineage::default().branched(Revision(1), Tag(7), Tag(-1));
        let anew = Lineage::anew(Tag(9));
        for revision in [0, 1, 40] {
            assert!(!anew.holds(before.at(Revision(revision)), Revision(40)), "{revision}");
            assert!(anew.holds(anew.at(Revision(revision)), Revision(40)));
        }
        assert!(!anew.holds(Position::default(), Revision(0)));
    }

    #[test]
    fn what_is_forgotten_does_not_hold() {
        let mut lineage = Lineage::default();
        let mut positions = vec![lineage.at(Revision(0))];
        for branch in 1..=100 {
            lineage = lineage.branched(Revision(branch), Tag(branch), Tag(-branch));
            positions.push(lineage.at(Revision(branch)));
        }
        let held = positions.iter().filter(|position| lineage.holds(**position, Revision(100))).count();
        assert_eq!(held, Lineage::MOST);
        assert!(lineage.0.len() <= Lineage::MOST + 1);
        assert!(lineage.holds(positions[100], Revision(100)) && !lineage.holds(positions[0], Revision(100)));
    }
}
