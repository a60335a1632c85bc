//! The mark that every record of a run carries, so that the audit finds it again.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A run of the load, by a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run(pub u32);

/// Which record of a client it is: unique within the client and the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The phone that made it.
    pub phone: u32,
    /// Which of the phone's syncs made it.
    pub sync: u32,
    /// What kind of operation made it.
    pub kind: Kind,
    /// Which of these operations.
    pub index: u32,
}

/// What makes a record, or gives it a new mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `item.create`.
    Item,
    /// A line of an invoice that makes an item.
    Line,
    /// `item.update`: the mark is in the description.
    Update,
    /// `invoice.create`.
    Invoice,
    /// `payment.create`.
    Payment,
}

/// A mark as it stands in records: a name, a note, an alias, a local id.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    run: Run,
    mark: Mark,
}

/// More than an invoice of the load has lines.
const LINES: u32 = 16;

/// A text in which a mark may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// A mark of this run or another one.
    Marked(Run, Mark),
    /// Anything else.
    Other(Box<str>),
}

impl Run {
    /// The mark as text: visible ASCII and within the 64 characters of a local id.
    pub fn text(self, mark: Mark) -> Text {
        Text { run: self, mark }
    }
}

impl Mark {
    /// The index of the item that a line of an invoice makes.
    pub fn line(invoice: u32, line: u32) -> u32 {
        invoice * LINES + line
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, mark: Mark { phone, sync, kind, index } } = self;
        write!(f, "storm-{run}-{phone}-{sync}-{}{index}", kind.letter())
    }
}

/// Prints 8 hex digits.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Prints it for people: `sync 12 of phone 3, invoice 0`.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phone, sync, kind, index } = self;
        write!(f, "sync {sync} of phone {phone}, {} {index}", kind.name())
    }
}

impl Kind {
    const ALL: [Self; 5] = [Self::Item, Self::Line, Self::Update, Self::Invoice, Self::Payment];

    fn letter(self) -> char {
        match self {
            Self::Item => 'i',
            Self::Line => 'l',
            Self::Update => 'u',
            Self::Invoice => 'v',
            Self::Payment => 'p',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Line => "item of line",
            Self::Update => "update",
            Self::Invoice => "invoice",
            Self::Payment => "payment",
        }
    }
}

impl Label {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        Self::marked(text).unwrap_or_else(|| Self::Other(text.into()))
    }

    /// The mark, if it is one of this run.
    pub fn mark(&self, run: Run) -> Option<Mark> {
        match self {
            Self::Marked(of, mark) if *of == run => Some(*mark),
            _ => None,
        }
    }

    fn marked(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("storm-")?.split('-');
        let run = u32::from_str_radix(parts.next()?, 16).ok()?;
        let (phone, sync) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let last = parts.next().filter(|_| parts.next().is_none())?;
        let kind = Kind::ALL.into_iter().find(|kind| last.starts_with(kind.letter()))?;
        let mark = Mark { phone, sync, kind, index: last[1..].parse().ok()? };
        Some(Self::Marked(Run(run), mark))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marked(run, mark) => run.text(*mark).fmt(f),
            Self::Other(text) => write!(f, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::of(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_from_their_text() {
        let largest = u32::MAX;
        for kind in Kind::ALL {
            for (number, run) in [(0, Run(0)), (17, Run(0x00c0_ffee)), (largest, Run(largest))] {
                let mark = Mark { phone: number, sync: number, kind, index: number };
                let text = run.text(mark).to_string();
                assert!(text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
                assert_eq!(Label::of(&text).mark(run), Some(mark));
                assert_eq!(Label::of(&text).mark(Run(1)), None);
            }
        }
    }

    #[test]
    fn other_texts_are_no_marks() {
        for text in
            ["", "tea", "storm-", "storm-1-2-3", "storm-1-2-3-x4", "storm-1-2-3-i4-5", "storm-1-2-3-i", "storm-1-2-3-é"]
        {
            assert_eq!(Label::of(text), Label::Other(text.into()));
        }
    }
}
