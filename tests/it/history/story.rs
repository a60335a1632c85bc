//! A history as data: what the phones of one shop do, step by step.

use std::fmt;

use serde_json::{Value, json};

use super::author::Author;

/// What the phones of one shop do. It can be read, run again, and run with steps left out.
#[derive(Clone, Debug)]
pub struct Story {
    /// How many phones the shop has.
    pub phones: usize,
    /// What they do, one after the other.
    pub steps: Vec<Step>,
}

/// One thing that a phone does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Freezes its queue into a batch and sends it, under a key of its own or without one.
    Send { phone: usize, keyed: bool, batch: Value, fate: Fate },
    /// Sends what was sent before (the newest is 0) once more, in another spelling perhaps.
    Again { phone: usize, which: usize, respelled: bool, fate: Fate },
    /// Sends another batch under the key of what was sent before.
    UnderOldKey { phone: usize, which: usize, batch: Value },
    /// Packs what it sent last, some of it altered perhaps, together with what came since into a new batch under a new
    /// key.
    Repack { phone: usize, more: Value, altered: bool, fate: Fate },
    /// Asks for the data.
    Pull { phone: usize },
    /// Sends a batch that names another client.
    WrongShop { phone: usize, batch: Value },
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The phone hears the answer.
    Heard,
    /// The answer comes, but the phone has crashed.
    Unheard,
    /// The phone closes the connection right after the last byte of the request.
    HungUp,
    /// The phone closes the connection after this percentage of the body.
    CutOff(usize),
}

impl Story {
    /// The story of a seed.
    pub fn new(seed: u64) -> Self {
        let mut author = Author::new(seed);
        let (phones, length) = (author.pick(&[1, 2, 2, 3]), 3 + author.below(5));
        let steps = (0..length).map(|number| Step::new(&mut author, phones, number)).collect();
        Self { phones, steps }
    }
}

impl Step {
    fn new(author: &mut Author, phones: usize, number: usize) -> Self {
        let phone = author.below(phones);
        let fresh = number == 0;
        match author.below(if fresh { 9 } else { 22 }) {
            0..9 => {
                let keyed = !author.one_in(6);
                let fate = if keyed { Fate::new(author) } else { Fate::Heard };
                Self::Send { phone, keyed, batch: author.batch(fresh), fate }
            }
            9..13 => Self::Again {
                phone,
                which: author.pick(&[0, 0, 0, 1, 2, 5]),
                respelled: author.one_in(2),
                fate: Fate::new(author),
            },
            13..15 => Self::UnderOldKey { phone, which: author.below(3), batch: author.batch(false) },
            15..20 => Self::Repack {
                phone,
                more: if author.one_in(3) { json!({}) } else { author.batch(false) },
                altered: author.one_in(4),
                fate: Fate::new(author),
            },
            20 => Self::Pull { phone },
            _ => Self::WrongShop { phone, batch: author.batch(false) },
        }
    }
}

impl Fate {
    fn new(author: &mut Author) -> Self {
        match author.below(10) {
            0..6 => Self::Heard,
            6..8 => Self::Unheard,
            8 => Self::HungUp,
            _ => Self::CutOff(author.below(100)),
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {}. {step}", number + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { phone, keyed: true, batch, fate } => write!(f, "phone {phone} sends ({fate}): {batch}"),
            Self::Send { phone, batch, fate, .. } => write!(f, "phone {phone} sends without a key ({fate}): {batch}"),
            Self::Again { phone, which, respelled, fate } => {
                let spelling = if *respelled { "in another spelling" } else { "as it was" };
                write!(f, "phone {phone} sends number {which} before this again, {spelling} ({fate})")
            }
            Self::UnderOldKey { phone, which, batch } => {
                write!(f, "phone {phone} sends under the key of number {which} before this: {batch}")
            }
            Self::Repack { phone, more, altered, fate } => {
                let last = if *altered { "its last batch, altered," } else { "its last batch" };
                write!(f, "phone {phone} sends {last} under a new key ({fate}) with, in addition: {more}")
            }
            Self::Pull { phone } => write!(f, "phone {phone} pulls"),
            Self::WrongShop { phone, batch } => write!(f, "phone {phone} sends as another client: {batch}"),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard => f.write_str("and hears the answer"),
            Self::Unheard => f.write_str("and crashes before it reads the answer"),
            Self::HungUp => f.write_str("and hangs up"),
            Self::CutOff(percentage) => write!(f, "and is cut off after {percentage}% of the body"),
        }
    }
}
