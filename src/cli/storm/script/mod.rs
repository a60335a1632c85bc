//! What phones send: a pure function of the run's script and of which sync of which phone of which shop it is.
//!
//! So nothing of what was sent needs to be kept: the audit writes every batch again.

mod body;
mod draw;
mod mark;
mod order;
mod recipe;
mod shop;
mod units;

pub use body::{Known, View};
pub use draw::Draw;
pub use mark::{Kind, Label, Mark, Run, Text};
pub use order::{Bill, NewInvoice, Order, Product};
#[cfg(test)]
pub use recipe::NAMED;
pub use recipe::Recipe;
use shop::CUSTOMERS;
pub use shop::{Opening, SHARED_ITEMS, ShopIds, customer, shared_item};
pub use units::Units;

/// What a run sends, and what becomes of it on the way.
#[derive(Debug, Clone)]
pub struct Script {
    /// The run.
    pub run: Run,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// The operations of a batch.
    pub recipe: Recipe,
    /// How many of 100 syncs lose their first answer.
    pub hangups: f64,
    /// How many of 100 syncs that lost their answer go on in a new batch. Above 0, every create has a local id.
    pub rebatch: f64,
    /// The most operations that a batch may have. Openings that have more are sent as several.
    pub most_operations: usize,
}

/// One sync of one phone. Phone 0 is the shop itself, whose only sync opens it; sync 0 of a phone fills its shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The shop, from 0.
    pub shop: u32,
    /// The phone of the shop, from 1.
    pub phone: u32,
    /// The sync of the phone, from 1.
    pub sync: u32,
}

/// What becomes of the first answer to a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// It is listened to.
    Heard,
    /// The phone hangs up before it has it, and sends the same batch with the same key again.
    Lost,
    /// The same, but the phone puts the operations into a new batch with a new key.
    LostAndRebatched,
}

impl Script {
    /// Whether creates have local ids. Without any, keys alone keep batches from being applied twice.
    pub fn has_local_ids(&self) -> bool {
        self.rebatch > 0.0
    }

    /// What becomes of the first answer to a sync.
    pub fn luck(&self, place: Place) -> Luck {
        let mut draw = self.draw(place, 1);
        match draw.percent(self.hangups) {
            false => Luck::Heard,
            true if draw.percent(self.rebatch) => Luck::LostAndRebatched,
            true => Luck::Lost,
        }
    }

    /// The key of a sync's batch: the first, or the one after it was rebatched.
    pub fn key(&self, place: Place, rebatched: bool) -> String {
        let Place { phone, sync, .. } = place;
        format!("storm-{}-{phone}-{sync}{}", self.run, if rebatched { "-again" } else { "" })
    }

    /// How many items are on the shelf that a phone has for itself, to update and delete.
    pub fn shelf(&self) -> u32 {
        (2 * self.recipe.updates.max(self.recipe.deletes)).clamp(1, LARGEST_SHELF)
    }

    /// The choices for one purpose at one place.
    fn draw(&self, place: Place, purpose: u32) -> Draw {
        Draw::of(self.seed, &[place.shop, place.phone, place.sync, purpose])
    }
}

/// Enough for phones to change different items each time.
const LARGEST_SHELF: u32 = 100;
