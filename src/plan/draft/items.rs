//! Items while a batch is planned.

use std::collections::{BTreeMap, HashMap};

use super::{Draft, Found};
use crate::batch::Target;
use crate::model::{Amount, Item, ItemChanges, ItemId};
use crate::plan::StoredItem;

/// An item as the rules see it, stored or new.
#[derive(Clone)]
pub(in crate::plan) struct ItemView {
    pub id: ItemId,
    pub name: Option<String>,
    pub price: Option<Amount>,
    pub stock: Amount,
}

#[derive(Default)]
pub(super) struct Items {
    pub created: Vec<Item>,
    pub created_at: HashMap<ItemId, usize>,
    /// The item of each `item.create` so far, less those that were refused.
    pub by_operation: HashMap<usize, ItemId>,
    pub changed: BTreeMap<ItemId, ItemChanges>,
}

impl Draft<'_> {
    /// Notes which item the `item.create` at an index stands for.
    pub fn name_item(&mut self, index: usize, id: ItemId) {
        self.items.by_operation.insert(index, id);
    }

    /// The item that a reference names, as the batch leaves it so far.
    pub fn item(&self, target: &Target<ItemId>) -> Found<ItemView> {
        let stored = self.before.item_id(target);
        Found::resolve(target, &self.items.by_operation, stored, |id| self.view_item(id))
    }

    fn view_item(&self, id: ItemId) -> Option<ItemView> {
        match self.items.created_at.get(&id) {
            Some(index) => Some(ItemView::from(&self.items.created[*index])),
            None => self.before.items.get(&id).map(|stored| self.items.view_stored(id, stored)),
        }
    }

    /// The id of the item that a reference names, or else the reference: the same for every way to name it.
    pub fn item_name(&self, target: &Target<ItemId>) -> String {
        let stored = self.before.item_id(target);
        Found::resolve(target, &self.items.by_operation, stored, |id| Some(id.to_string())).or_sent(target)
    }

    /// Adds a new item.
    pub fn insert_item(&mut self, item: Item) {
        self.synced.items_created.push(item.id);
        self.items.created_at.insert(item.id, self.items.created.len());
        self.items.created.push(item);
    }

    /// Changes an item that [`Draft::item`] found.
    pub fn change_item(&mut self, id: ItemId, mut changes: ItemChanges) {
        changes.updated_at = Some(self.now);
        match self.items.created_at.get(&id) {
            Some(index) => self.items.created[*index].apply(changes),
            None => self.items.changed.entry(id).or_default().merge(changes),
        }
    }
}

impl Items {
    fn view_stored(&self, id: ItemId, stored: &StoredItem) -> ItemView {
        let changes = self.changed.get(&id);
        ItemView {
            id,
            name: changes.and_then(|c| c.name.clone()).or_else(|| stored.name.clone()),
            price: changes.and_then(|c| c.price).or(stored.price),
            stock: changes.and_then(|c| c.stock).unwrap_or(stored.stock),
        }
    }
}

impl From<&Item> for ItemView {
    fn from(item: &Item) -> Self {
        Self { id: item.id, name: Some(item.name.clone()), price: Some(item.price), stock: item.stock }
    }
}
