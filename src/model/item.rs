//! What a shop sells.

use serde::Serialize;

use super::ids::record_id;
use super::{Amount, GroupId, LocalId, Timestamp};

record_id! {
    /// An item.
    ItemId
}

record_id! {
    /// Somebody the shop buys an item from. Dealers are made elsewhere.
    DealerId
}

/// A whole new item, less what the store adds to every record (`clientId`, `revision`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The id that the server made.
    #[serde(rename = "_id")]
    pub id: ItemId,
    /// What the phone calls it for ever, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_id: Option<LocalId>,
    /// The group it is sorted into, if any.
    pub group_id: Option<GroupId>,
    /// 1..200 characters.
    pub name: String,
    /// Per unit, never negative.
    pub price: Amount,
    /// In units, never negative.
    pub stock: Amount,
    /// The stock at which the phone warns.
    pub low_stock_quantity: Amount,
    /// What the stock counts: `nos`, `kg`. 1..20 characters.
    pub unit: String,
    /// 0..2000 characters.
    pub description: String,
    /// Whom the shop buys it from.
    pub dealer_ids: Vec<DealerId>,
    /// False once it was deleted.
    pub is_active: bool,
    /// When it was created, by the server's clock.
    pub created_at: Timestamp,
    /// When it last changed, by the server's clock.
    pub updated_at: Timestamp,
}

impl Item {
    /// The unit of an item that names none.
    pub const DEFAULT_UNIT: &str = "nos";
    /// The stock at which a phone warns if the item does not say.
    pub const DEFAULT_LOW_STOCK: Amount = Amount::whole(5);

    /// Applies changes to an item that is not stored yet.
    pub fn apply(&mut self, changes: ItemChanges) {
        let ItemChanges {
            group_id,
            name,
            price,
            stock,
            low_stock_quantity,
            unit,
            description,
            dealer_ids,
            is_active,
            updated_at,
        } = changes;
        set(&mut self.group_id, group_id);
        set(&mut self.name, name);
        set(&mut self.price, price);
        set(&mut self.stock, stock);
        set(&mut self.low_stock_quantity, low_stock_quantity);
        set(&mut self.unit, unit);
        set(&mut self.description, description);
        set(&mut self.dealer_ids, dealer_ids);
        set(&mut self.is_active, is_active);
        set(&mut self.updated_at, updated_at);
    }
}

/// What changes on a stored item: absolute values, `None` where nothing changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemChanges {
    /// The new group; `Some(None)` takes the item out of its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Option<GroupId>>,
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Amount>,
    /// The new stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stock: Option<Amount>,
    /// The new warning level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_stock_quantity: Option<Amount>,
    /// The new unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new dealers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dealer_ids: Option<Vec<DealerId>>,
    /// False deletes, true brings back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// When the change was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

impl ItemChanges {
    /// Adds later changes, which win over these.
    pub fn merge(&mut self, later: Self) {
        let Self {
            group_id,
            name,
            price,
            stock,
            low_stock_quantity,
            unit,
            description,
            dealer_ids,
            is_active,
            updated_at,
        } = later;
        replace(&mut self.group_id, group_id);
        replace(&mut self.name, name);
        replace(&mut self.price, price);
        replace(&mut self.stock, stock);
        replace(&mut self.low_stock_quantity, low_stock_quantity);
        replace(&mut self.unit, unit);
        replace(&mut self.description, description);
        replace(&mut self.dealer_ids, dealer_ids);
        replace(&mut self.is_active, is_active);
        replace(&mut self.updated_at, updated_at);
    }
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}

fn replace<T>(field: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *field = later;
    }
}
