//! What is in a shop before the load: items and open bills that its phones share, and some that each has for itself.

use bson::oid::ObjectId;
use serde::Deserialize;
use std::collections::HashMap;

use super::{Kind, Mark, Place, Script, Units};

/// How many items all phones of a shop sell, with stock for any run.
pub const SHARED_ITEMS: u32 = 16;
/// How many customers a shop has. They are made elsewhere, so the server has not heard of them.
pub const CUSTOMERS: u32 = 8;

/// Something that an opening puts into the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// An item.
    Item {
        /// Its price.
        price: Units,
        /// Its stock.
        stock: Units,
    },
    /// A bill that is never paid in full, on which phones pay.
    Tab {
        /// What it comes to.
        total: Units,
    },
}

/// The ids that the server gave to what an opening made: of a shop, or of a phone.
#[derive(Debug, Clone)]
pub struct ShopIds {
    /// The items. Of those of a shop, the last one is the scarce one.
    pub items: Vec<ObjectId>,
    /// The tab.
    pub tab: ObjectId,
}

/// The price and the stock of a shared item. The last one, the scarce one, runs out.
pub fn shared_item(index: u32) -> (Units, Units) {
    let price = Units::cents(1_025 + 325 * i64::from(index));
    let stock = if index == SHARED_ITEMS { Units::whole(100) } else { Units::whole(50_000_000_000) };
    (price, stock)
}

/// The id of a customer: not a client's, and the same in all shops.
pub fn customer(index: u32) -> ObjectId {
    let mut bytes = *b"storm-custom";
    bytes[8..].copy_from_slice(&index.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

impl Script {
    /// What sync 0 of a phone puts into the shop; phone 0 is the shop itself. The tab comes last.
    pub fn opening(&self, phone: u32) -> Vec<Opening> {
        let item = |(price, stock)| Opening::Item { price, stock };
        let mut all: Vec<_> = match phone {
            0 => (0..=SHARED_ITEMS).map(|index| item(shared_item(index))).collect(),
            _ => {
                (0..self.shelf()).map(|index| item((Units::cents(500 + i64::from(index)), Units::whole(10)))).collect()
            }
        };
        all.push(Opening::Tab { total: Units::whole(90_000_000_000) });
        all
    }

    /// The ids of an opening, from its answer. The message says what the answer lacks.
    ///
    /// # Errors
    /// One line.
    pub fn opened(&self, place: Place, answer: &[u8]) -> Result<ShopIds, String> {
        let answer: Opened = serde_json::from_slice(answer).map_err(|error| format!("no answer to a sync: {error}"))?;
        let id = |of: &HashMap<String, ObjectId>, kind, index| {
            let mark = Mark { phone: place.phone, sync: place.sync, kind, index };
            let alias = self.run.text(mark).to_string();
            of.get(&alias).copied().ok_or_else(|| format!("the answer's idMap lacks {alias}"))
        };
        let IdMap { items, invoices } = &answer.id_map;
        let count = self.opening(place.phone).len() as u32 - 1;
        Ok(ShopIds {
            items: (0..count).map(|index| id(items, Kind::Item, index)).collect::<Result<_, _>>()?,
            tab: id(invoices, Kind::Invoice, 0)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    id_map: IdMap,
}

#[derive(Deserialize)]
struct IdMap {
    items: HashMap<String, ObjectId>,
    invoices: HashMap<String, ObjectId>,
}
