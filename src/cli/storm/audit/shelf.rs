//! The items that a phone has for itself: what its updates and deletes have made of them.

use std::collections::BTreeMap;

use crate::cli::storm::script::{Kind, Mark, Order, Place, Units};

/// What each item of a phone's shelf may be.
///
/// The last sync that sets a field decides, as a phone waits for each. But updates and deletes have no identity of
/// their own: of a batch that was given up for another one, they may still be applied at any later time.
pub struct Shelf {
    slots: Vec<Slot>,
}

/// The values that an item may have.
#[derive(Clone)]
struct Slot {
    price: Priced,
    is_active: bool,
    /// Prices that may have come in later.
    late_prices: Vec<Priced>,
    /// Activities that may have come in later.
    late_activities: Vec<bool>,
}

/// A price, and the update that set it: none is the opening's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// The price.
    pub price: Units,
    /// The mark in the description.
    pub by: Option<Mark>,
}

/// How sure it is that a sync was applied, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It was, after all syncs of the phone before it.
    Applied,
    /// It may have been, and it may have been later.
    MayBe,
}

impl Shelf {
    /// The shelf as the opening left it.
    pub fn new(prices: impl Iterator<Item = Units>) -> Self {
        let slot = |price| Slot {
            price: Priced { price, by: None },
            is_active: true,
            late_prices: Vec::new(),
            late_activities: Vec::new(),
        };
        Self { slots: prices.map(slot).collect() }
    }

    /// Takes in what a sync does to the shelf.
    pub fn take(&mut self, place: Place, order: &Order, certainty: Certainty) {
        let mut effects = BTreeMap::<u32, (Option<Priced>, bool)>::new();
        for (index, (item, price)) in (0..).zip(&order.updates) {
            let by = Mark { phone: place.phone, sync: place.sync, kind: Kind::Update, index };
            effects.insert(*item, (Some(Priced { price: *price, by: Some(by) }), true));
        }
        for item in &order.deletes {
            effects.entry(*item).or_default().1 = false;
        }
        for (item, (priced, is_active)) in effects {
            self.slots[item as usize].set(priced, is_active, certainty);
        }
    }

    /// Whether an item may have this price, set by this update.
    pub fn may_cost(&self, item: u32, priced: Priced) -> bool {
        let slot = &self.slots[item as usize];
        slot.price == priced || slot.late_prices.contains(&priced)
    }

    /// Whether an item may be active or not.
    pub fn may_be_active(&self, item: u32, is_active: bool) -> bool {
        let slot = &self.slots[item as usize];
        slot.is_active == is_active || slot.late_activities.contains(&is_active)
    }

    /// What the item costs, if nothing came in late.
    pub fn price(&self, item: u32) -> Priced {
        self.slots[item as usize].price
    }
}

impl Slot {
    fn set(&mut self, priced: Option<Priced>, is_active: bool, certainty: Certainty) {
        match certainty {
            Certainty::Applied => {
                self.price = priced.unwrap_or(self.price);
                self.is_active = is_active;
            }
            Certainty::MayBe => {
                self.late_prices.extend(priced);
                if !self.late_activities.contains(&is_active) {
                    self.late_activities.push(is_active);
                }
            }
        }
    }
}
