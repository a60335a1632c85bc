//! What is in a shop before the load: items and open bills that its phones share, and some that each has for itself.

use std::collections::HashMap;
use std::ops::Range;

use bson::oid::ObjectId;
use bytes::Bytes;
use serde::Deserialize;

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

    /// The parts in which an opening is sent: one, if the server takes so many operations in a batch.
    pub fn opening_parts(&self, phone: u32) -> Vec<Range<usize>> {
        let (all, most) = (self.opening(phone).len(), self.most_operations.max(1));
        (0..all).step_by(most).map(|start| start..all.min(start + most)).collect()
    }

    /// The key of a part of an opening.
    pub fn opening_key(&self, place: Place, part: &Range<usize>) -> String {
        format!("{}-{}", self.key(place, false), part.start)
    }

    /// The ids of an opening, from the answers to its parts. The message says what they lack.
    ///
    /// # Errors
    /// One line.
    pub fn opened(&self, place: Place, answers: &[Bytes]) -> Result<ShopIds, String> {
        let mut id_map = IdMap::default();
        for answer in answers {
            let answer: Opened =
                serde_json::from_slice(answer).map_err(|error| format!("no answer to a sync: {error}"))?;
            id_map.items.extend(answer.id_map.items);
            id_map.invoices.extend(answer.id_map.invoices);
        }
        let id = |of: &HashMap<String, ObjectId>, kind, index| {
            let mark = Mark { phone: place.phone, sync: place.sync, kind, index };
            let alias = self.run.text(mark).to_string();
            of.get(&alias).copied().ok_or_else(|| format!("the answer's idMap lacks {alias}"))
        };
        let IdMap { items, invoices } = &id_map;
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

#[derive(Default, Deserialize)]
struct IdMap {
    items: HashMap<String, ObjectId>,
    invoices: HashMap<String, ObjectId>,
}
