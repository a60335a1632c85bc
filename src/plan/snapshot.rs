//! The stored records that a plan starts from.

use std::collections::{HashMap, HashSet};

use bson::oid::ObjectId;

use super::LocalRecord;
use super::receipt::StoredReceipt;
use crate::batch::Target;
use crate::model::{
    Amount, Collection, CustomerId, DealerId, GroupId, IdempotencyKey, InvoiceId, ItemId, LocalId, Revision,
};

/// What a [`ReadSet`](super::ReadSet) asked for, as it stood at one moment. What is absent does not
/// exist, or is not the client's, which is the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The client's last committed revision.
    pub revision: Revision,
    /// The number of its next invoice without a number, from 1.
    pub next_invoice: i64,
    /// The items asked for, be it by id or by local id.
    pub items: HashMap<ItemId, StoredItem>,
    /// The invoices asked for, be it by id or by local id.
    pub invoices: HashMap<InvoiceId, StoredInvoice>,
    /// Which of the groups exist.
    pub groups: HashSet<GroupId>,
    /// Which of the customers exist.
    pub customers: HashSet<CustomerId>,
    /// Which of the dealers exist.
    pub dealers: HashSet<DealerId>,
    /// The taken invoice numbers among those that a default could become.
    pub taken_numbers: HashSet<String>,
    /// What the local ids stand for that are known.
    pub local_ids: HashMap<LocalId, LocalRecord>,
    /// The receipts under the keys that are known.
    pub receipts: HashMap<IdempotencyKey, StoredReceipt>,
}

/// An item, as far as the rules look at it. Old records may lack anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredItem {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its price, if it has a readable one.
    pub price: Option<Amount>,
    /// Its stock; 0 if it has none.
    pub stock: Amount,
}

/// An invoice, as far as the rules look at it. Old records may lack anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredInvoice {
    /// Its total, if it has a readable one.
    pub total_amount: Option<Amount>,
    /// What was paid, if that is readable; 0 if the record does not say.
    pub paid_amount: Option<Amount>,
    /// Its customer.
    pub customer_id: Option<CustomerId>,
    /// The customer's phone number as printed.
    pub customer_phone: String,
    /// Whether it is in the purchase history already.
    pub has_purchase: bool,
}

impl Default for Snapshot {
    /// What a client without any record starts from.
    fn default() -> Self {
        Self {
            revision: Revision::default(),
            next_invoice: 1,
            items: HashMap::new(),
            invoices: HashMap::new(),
            groups: HashSet::new(),
            customers: HashSet::new(),
            dealers: HashSet::new(),
            taken_numbers: HashSet::new(),
            local_ids: HashMap::new(),
            receipts: HashMap::new(),
        }
    }
}

impl Snapshot {
    /// The id of the item that a reference to a stored one names; there may be no such item.
    pub fn item_id(&self, target: &Target<ItemId>) -> Option<ItemId> {
        self.stored_id(target, Collection::Items)
    }

    /// The id of the invoice that a reference to a stored one names; there may be no such invoice.
    pub fn invoice_id(&self, target: &Target<InvoiceId>) -> Option<InvoiceId> {
        self.stored_id(target, Collection::Invoices)
    }

    fn stored_id<Id: From<ObjectId> + Copy>(&self, target: &Target<Id>, kind: Collection) -> Option<Id> {
        let Target::Stored { local_id, id } = target else { return None };
        let known = self.local_ids.get(local_id).filter(|known| known.kind == kind);
        known.map(|known| known.id.into()).or(*id)
    }
}
