//! What a planner looks at, known before any I/O.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use crate::batch::Target;
use crate::model::{CustomerId, DealerId, GroupId, IdempotencyKey, InvoiceId, ItemId, LocalId, invoice_number};

/// The records to load for a plan. A store loads those of the client; what it does not find is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Items, with what [`super::StoredItem`] holds.
    pub items: BTreeSet<ItemId>,
    /// Invoices, with what [`super::StoredInvoice`] holds, purchase history included.
    pub invoices: BTreeSet<InvoiceId>,
    /// Groups, only whether they exist.
    pub groups: BTreeSet<GroupId>,
    /// Customers, only whether they exist.
    pub customers: BTreeSet<CustomerId>,
    /// Dealers, only whether they exist.
    pub dealers: BTreeSet<DealerId>,
    /// How many free invoice numbers from the client's next one on must be known; see [`NumberSearch`].
    pub free_numbers: usize,
    /// What these local ids stand for, and the items and invoices that they stand for.
    pub local_ids: BTreeSet<LocalId>,
    /// The receipts of earlier commits under these keys.
    pub receipts: BTreeSet<IdempotencyKey>,
}

impl ReadSet {
    /// Adds the item that a reference names, if it must be stored already.
    pub(super) fn item(&mut self, target: &Target<ItemId>) {
        self.local_ids.extend(target.local_id().cloned());
        if let Target::Stored { id: Some(id), .. } = target {
            self.items.insert(*id);
        }
    }

    /// Adds the invoice that a reference names, if it must be stored already.
    pub(super) fn invoice(&mut self, target: &Target<InvoiceId>) {
        self.local_ids.extend(target.local_id().cloned());
        if let Target::Stored { id: Some(id), .. } = target {
            self.invoices.insert(*id);
        }
    }
}

/// Looks for free invoice numbers in windows: a store asks which of a window's numbers are taken, until
/// enough are free. Windows grow, so that a database with many numbers of its own is searched quickly.
#[derive(Debug)]
pub struct NumberSearch {
    next: i64,
    window: usize,
    needed: usize,
    taken: HashSet<String>,
}

impl NumberSearch {
    const LARGEST_WINDOW: usize = 50_000;

    /// Starts at the client's next number.
    pub fn new(next: i64, needed: usize) -> Self {
        Self { next, window: needed, needed, taken: HashSet::new() }
    }

    /// The next numbers to ask for; `None` once enough are free.
    pub fn window(&self) -> Option<Vec<String>> {
        (self.needed > 0).then(|| self.range().map(invoice_number).collect())
    }

    /// Takes in which of the window's numbers are taken. Others may be among them.
    pub fn found(&mut self, taken: impl IntoIterator<Item = String>) {
        self.taken.extend(taken);
        let free = self.range().filter(|number| !self.taken.contains(&invoice_number(*number))).count();
        self.next = self.range().end;
        self.needed = self.needed.saturating_sub(free);
        self.window = (self.window * 4).clamp(self.needed.min(Self::LARGEST_WINDOW), Self::LARGEST_WINDOW);
    }

    /// All taken numbers that were found.
    pub fn into_taken(self) -> HashSet<String> {
        self.taken
    }

    fn range(&self) -> Range<i64> {
        self.next..self.next + self.window as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_until_enough_numbers_are_free() {
        let stored: HashSet<String> = (1..=70).chain(72..100).map(invoice_number).collect();
        let mut search = NumberSearch::new(1, 3);
        let mut asked = 0;
        while let Some(window) = search.window() {
            asked += window.len();
            search.found(window.into_iter().filter(|number| stored.contains(number)));
        }
        let taken = search.into_taken();
        let free: Vec<_> = (1..=asked as i64).map(invoice_number).filter(|n| !taken.contains(n)).take(3).collect();
        assert_eq!(free, ["INV-000071", "INV-000100", "INV-000101"]);
    }

    #[test]
    fn what_is_told_of_other_numbers_makes_none_of_them_free() {
        let stored: HashSet<String> = (1..=5000).map(invoice_number).collect();
        let others: Vec<String> = (500..=510).map(invoice_number).collect();
        let (mut search, mut asked) = (NumberSearch::new(1, 1), 0);
        while let Some(window) = search.window() {
            asked += window.len();
            let taken = window.into_iter().chain(others.clone()).filter(|number| stored.contains(number));
            search.found(taken);
        }
        let taken = search.into_taken();
        assert_eq!((1..=asked as i64).map(invoice_number).find(|n| !taken.contains(n)).unwrap(), "INV-005001");
    }

    #[test]
    fn asks_nothing_when_no_number_is_needed() {
        assert_eq!(NumberSearch::new(1, 0).window(), None);
    }
}
