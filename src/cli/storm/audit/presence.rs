//! How much of a batch is in the books.

use super::index::Index;
use crate::cli::storm::script::{Kind, Mark, Opening, Order, Place};

/// How many of the records that a batch makes are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// All of them.
    Whole,
    /// Some; these are missing.
    InPart(Vec<Mark>),
    /// None.
    Absent,
    /// It makes none to know it by.
    Untold,
}

impl Index<'_> {
    /// How many of these records are there.
    pub fn presence(&self, records: &[Mark]) -> Presence {
        let missing: Vec<_> = records.iter().copied().filter(|mark| !self.holds(mark)).collect();
        match missing.len() {
            _ if records.is_empty() => Presence::Untold,
            0 => Presence::Whole,
            all if all == records.len() => Presence::Absent,
            _ => Presence::InPart(missing),
        }
    }

    fn holds(&self, mark: &Mark) -> bool {
        match mark.kind {
            Kind::Item | Kind::Line => self.items.contains_key(mark),
            Kind::Invoice => self.invoices.contains_key(mark),
            Kind::Payment => self.payments.contains_key(mark),
            // It marks a record that another batch has made.
            Kind::Update => false,
        }
    }
}

/// The records that a sync makes, those of invoice lines included.
pub fn records_of(place: Place, order: &Order) -> Vec<Mark> {
    let many = |kind, count: usize| (0..count as u32).map(move |index| mark(place, kind, index));
    let lines = order.new_lines().map(|(invoice, line, ..)| mark(place, Kind::Line, Mark::line(invoice, line)));
    let items = many(Kind::Item, order.items.len()).chain(lines);
    items.chain(many(Kind::Invoice, order.invoices.len())).chain(many(Kind::Payment, order.payments.len())).collect()
}

/// The records that an opening makes.
pub fn records_of_opening(place: Place, openings: &[Opening]) -> Vec<Mark> {
    let records = (0..).zip(openings).flat_map(|(index, opening)| match opening {
        Opening::Item { .. } => vec![mark(place, Kind::Item, index)],
        Opening::Tab { .. } => vec![mark(place, Kind::Line, Mark::line(0, 0)), mark(place, Kind::Invoice, 0)],
    });
    records.collect()
}

/// A record of a batch.
pub fn mark(place: Place, kind: Kind, index: u32) -> Mark {
    Mark { phone: place.phone, sync: place.sync, kind, index }
}
