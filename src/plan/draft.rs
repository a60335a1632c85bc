//! The books while a batch is planned: what was stored, with what the batch did so far.
//!
//! Rules look at the draft only, so later operations see earlier ones; and only the draft emits writes,
//! one for each touched record, with its final values.

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::oid::ObjectId;

use serde_json::Value;

use super::{
    IdMap, LocalRecord, Plan, Receipt, Settlement, Snapshot, StoredInvoice, StoredItem, Summary, Synced, Write,
};
use crate::batch::{Fingerprint, Identity, Problem, ProblemCode, Target, WarningKind, Warnings};
use crate::clock::{Ids, Stamp};
use crate::model::{
    Amount, Collection, CustomerId, Invoice, InvoiceId, Item, ItemChanges, ItemId, LocalId, Payment, Purchase,
    Timestamp, invoice_number,
};

/// The books as the batch leaves them so far.
pub(super) struct Draft<'a> {
    pub before: &'a Snapshot,
    pub now: Timestamp,
    pub problems: Vec<Problem>,
    pub synced: Synced,
    pub id_map: IdMap,
    pub payments: Vec<Payment>,
    warnings: Warnings,
    ids: Ids,
    local_ids: HashMap<LocalId, LocalRecord>,
    already_applied: i64,
    items: Items,
    invoices: Invoices,
    purchases: Vec<Purchase>,
    numbers: Numbers,
}

/// An item as the rules see it, stored or new.
#[derive(Clone)]
pub(super) struct ItemView {
    pub id: ItemId,
    pub name: Option<String>,
    pub price: Option<Amount>,
    pub stock: Amount,
}

/// What a reference leads to.
pub(super) enum Found<View> {
    /// A record of this client.
    Record(View),
    /// A create of this batch that has problems of its own, which are told already.
    Refused,
    /// No record of this client.
    Nothing,
}

/// What a create's local id says of it.
pub(super) enum Claim<Id> {
    /// It has not been applied; this is the id of its record.
    New(Id),
    /// It was applied before; this is the id of its record.
    Applied(Id),
    /// The local id belongs to a record of another kind.
    Refused,
}

/// An invoice as the rules see it, stored or new.
#[derive(Clone)]
pub(super) struct InvoiceView {
    pub id: InvoiceId,
    pub total_amount: Option<Amount>,
    pub paid_amount: Option<Amount>,
    pub customer_id: Option<CustomerId>,
    pub customer_phone: String,
    pub has_purchase: bool,
}

#[derive(Default)]
struct Items {
    created: Vec<Item>,
    created_at: HashMap<ItemId, usize>,
    /// The item of each `item.create` so far, less those that were refused.
    by_operation: HashMap<usize, ItemId>,
    changed: BTreeMap<ItemId, ItemChanges>,
}

#[derive(Default)]
struct Invoices {
    created: Vec<Invoice>,
    created_at: HashMap<InvoiceId, usize>,
    /// The invoice of each `invoice.create` so far, less those that were refused.
    by_operation: HashMap<usize, InvoiceId>,
    settled: BTreeMap<InvoiceId, Settlement>,
    purchased: HashSet<InvoiceId>,
}

struct Numbers {
    next: i64,
    /// The numbers that this batch's invoices state.
    stated: HashSet<String>,
}

impl<'a> Draft<'a> {
    /// The books before the first operation. `stated_numbers` are those that the batch's invoices bring.
    pub fn new(before: &'a Snapshot, stamp: &Stamp, warnings: Warnings, stated_numbers: HashSet<String>) -> Self {
        Self {
            before,
            now: stamp.time(),
            problems: Vec::new(),
            synced: Synced::default(),
            id_map: IdMap::default(),
            payments: Vec::new(),
            warnings,
            ids: stamp.ids(),
            local_ids: HashMap::new(),
            already_applied: 0,
            items: Items::default(),
            invoices: Invoices::default(),
            purchases: Vec::new(),
            numbers: Numbers { next: before.next_invoice, stated: stated_numbers },
        }
    }

    /// Notes a problem.
    pub fn problem(&mut self, path: String, code: ProblemCode, message: String) {
        self.problems.push(Problem { path, code, message });
    }

    /// Notes a warning.
    pub fn warn(&mut self, path: String, kind: WarningKind) {
        self.warnings.push(path, kind);
    }

    /// The next id of the batch's range.
    pub fn new_id<Id: From<ObjectId>>(&mut self) -> Id {
        self.ids.id().into()
    }

    /// Finds out whether a create was applied before, by its local id. `content` is all that it says.
    pub fn claim<Id: From<ObjectId>>(
        &mut self,
        identity: &Identity,
        kind: Collection,
        path: &str,
        content: impl FnOnce(&Self) -> Value,
    ) -> Claim<Id> {
        let Some(local_id) = &identity.local_id else { return Claim::New(self.new_id()) };
        let content = Fingerprint::of(&content(self));
        match self.local_ids.get(local_id).or_else(|| self.before.local_ids.get(local_id)) {
            None => {
                let (id, revision) = (self.ids.id(), self.before.revision.next());
                let record = LocalRecord { id, local_id: local_id.clone(), kind, content, revision };
                self.local_ids.insert(local_id.clone(), record);
                Claim::New(id.into())
            }
            Some(known) if known.kind == kind => {
                let (id, differs) = (known.id, known.content != content);
                self.already_applied += 1;
                let warning = WarningKind::AlreadyApplied { local_id: local_id.clone(), id: id.to_hex(), differs };
                self.warn(path.to_owned(), warning);
                Claim::Applied(id.into())
            }
            Some(known) => {
                let message = format!("The localId {local_id} belongs to one of the {}", known.kind.data_name());
                self.problem(format!("{path}/localId"), ProblemCode::LocalIdTaken, message);
                Claim::Refused
            }
        }
    }

    /// Notes which item the `item.create` at an index stands for.
    pub fn name_item(&mut self, index: usize, id: ItemId) {
        self.items.by_operation.insert(index, id);
    }

    /// Notes which invoice the `invoice.create` at an index stands for.
    pub fn name_invoice(&mut self, index: usize, id: InvoiceId) {
        self.invoices.by_operation.insert(index, id);
    }

    /// The item that a reference names, as the batch leaves it so far.
    pub fn item(&self, target: &Target<ItemId>) -> Found<ItemView> {
        let id = match target {
            Target::Created(index) => match self.items.by_operation.get(index) {
                Some(id) => Some(*id),
                None => return Found::Refused,
            },
            stored => self.before.item_id(stored),
        };
        id.and_then(|id| self.view_item(id)).map_or(Found::Nothing, Found::Record)
    }

    fn view_item(&self, id: ItemId) -> Option<ItemView> {
        match self.items.created_at.get(&id) {
            Some(index) => Some(ItemView::from(&self.items.created[*index])),
            None => self.before.items.get(&id).map(|stored| self.items.view_stored(id, stored)),
        }
    }

    /// The id of the item that a reference names, or else the reference: the same for every way to name it.
    pub fn item_name(&self, target: &Target<ItemId>) -> String {
        let id = match target {
            Target::Created(index) => self.items.by_operation.get(index).copied(),
            stored => self.before.item_id(stored),
        };
        id.map_or_else(|| target.to_string(), |id| id.to_string())
    }

    /// The id of the invoice that a reference names, or else the reference: the same for every way to name it.
    pub fn invoice_name(&self, target: &Target<InvoiceId>) -> String {
        let id = match target {
            Target::Created(index) => self.invoices.by_operation.get(index).copied(),
            stored => self.before.invoice_id(stored),
        };
        id.map_or_else(|| target.to_string(), |id| id.to_string())
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

    /// The invoice that a reference names, as the batch leaves it so far.
    pub fn invoice(&self, target: &Target<InvoiceId>) -> Found<InvoiceView> {
        let id = match target {
            Target::Created(index) => match self.invoices.by_operation.get(index) {
                Some(id) => Some(*id),
                None => return Found::Refused,
            },
            stored => self.before.invoice_id(stored),
        };
        id.and_then(|id| self.view_invoice(id)).map_or(Found::Nothing, Found::Record)
    }

    fn view_invoice(&self, id: InvoiceId) -> Option<InvoiceView> {
        match self.invoices.created_at.get(&id) {
            Some(index) => Some(self.invoices.view_created(*index)),
            None => self.before.invoices.get(&id).map(|stored| self.invoices.view_stored(id, stored)),
        }
    }

    /// Adds a new invoice.
    pub fn insert_invoice(&mut self, invoice: Invoice) {
        self.synced.invoices_created.push(invoice.id);
        self.invoices.created_at.insert(invoice.id, self.invoices.created.len());
        self.invoices.created.push(invoice);
    }

    /// Sets what was paid on an invoice that [`Draft::invoice`] found.
    pub fn settle_invoice(&mut self, id: InvoiceId, paid_amount: Amount, is_finalized: bool) {
        let settlement = Settlement { paid_amount, is_finalized, updated_at: self.now };
        match self.invoices.created_at.get(&id) {
            Some(index) => {
                let invoice = &mut self.invoices.created[*index];
                (invoice.paid_amount, invoice.is_finalized) = (settlement.paid_amount, settlement.is_finalized);
                invoice.updated_at = settlement.updated_at;
            }
            None => drop(self.invoices.settled.insert(id, settlement)),
        }
    }

    /// Adds the purchase-history record of an invoice that has just been finalised, if the invoice has a
    /// customer and no such record yet.
    pub fn insert_purchase(&mut self, invoice: InvoiceView) {
        let (Some(client_customer_id), Some(total_amount), false) =
            (invoice.customer_id, invoice.total_amount, invoice.has_purchase)
        else {
            return;
        };
        self.invoices.purchased.insert(invoice.id);
        let purchase = Purchase {
            id: self.new_id(),
            client_customer_id,
            client_customer_phone: invoice.customer_phone,
            invoice_id: invoice.id,
            total_amount,
            created_at: self.now,
            updated_at: self.now,
        };
        self.purchases.push(purchase);
    }

    /// The client's next invoice number that neither the store nor this batch has.
    pub fn next_number(&mut self) -> String {
        loop {
            let number = invoice_number(self.numbers.next);
            self.numbers.next += 1;
            if !self.before.taken_numbers.contains(&number) && !self.numbers.stated.contains(&number) {
                return number;
            }
        }
    }

    /// How many operations were applied, and how many had been applied before.
    pub fn summary(&self) -> Summary {
        Summary {
            items_created: self.items.created.len() as i64,
            items_updated: self.synced.items_updated.len() as i64,
            items_deleted: self.synced.items_deleted.len() as i64,
            invoices_created: self.invoices.created.len() as i64,
            payments_created: self.payments.len() as i64,
            already_applied: self.already_applied,
        }
    }

    /// What was done otherwise than the phone may have expected.
    pub fn into_warnings(self) -> Warnings {
        self.warnings
    }

    /// All that is to be written.
    pub fn into_plan(self) -> Plan {
        let summary = self.summary();
        let mut writes = Vec::new();
        writes.extend(self.items.created.into_iter().map(Write::InsertItem));
        writes.extend(self.items.changed.into_iter().map(|(id, changes)| Write::UpdateItem(id, changes)));
        writes.extend(self.invoices.created.into_iter().map(Write::InsertInvoice));
        writes.extend(self.invoices.settled.into_iter().map(|(id, settlement)| Write::SettleInvoice(id, settlement)));
        writes.extend(self.payments.into_iter().map(Write::InsertPayment));
        writes.extend(self.purchases.into_iter().map(Write::InsertPurchase));
        let local_ids: BTreeMap<_, _> = self.local_ids.into_iter().collect();
        writes.extend(local_ids.into_values().map(Write::InsertLocalId));
        let receipt = Receipt {
            revision: if writes.is_empty() { self.before.revision } else { self.before.revision.next() },
            summary,
            synced: self.synced,
            id_map: self.id_map,
            warnings: self.warnings.into_list(),
        };
        let next_invoice = (self.numbers.next != self.before.next_invoice).then_some(self.numbers.next);
        Plan { writes, next_invoice, receipt, remember: None }
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

impl Invoices {
    fn view_created(&self, index: usize) -> InvoiceView {
        let invoice = &self.created[index];
        InvoiceView { has_purchase: self.purchased.contains(&invoice.id), ..InvoiceView::from(invoice) }
    }

    fn view_stored(&self, id: InvoiceId, stored: &StoredInvoice) -> InvoiceView {
        InvoiceView {
            id,
            total_amount: stored.total_amount,
            paid_amount: self.settled.get(&id).map(|settled| settled.paid_amount).or(stored.paid_amount),
            customer_id: stored.customer_id,
            customer_phone: stored.customer_phone.clone(),
            has_purchase: stored.has_purchase || self.purchased.contains(&id),
        }
    }
}

/// A new invoice before anything else happened to it.
impl From<&Invoice> for InvoiceView {
    fn from(invoice: &Invoice) -> Self {
        Self {
            id: invoice.id,
            total_amount: Some(invoice.totals.total_amount),
            paid_amount: Some(invoice.paid_amount),
            customer_id: invoice.client_customer_id,
            customer_phone: invoice.client_customer_phone.clone(),
            has_purchase: false,
        }
    }
}

impl From<&Item> for ItemView {
    fn from(item: &Item) -> Self {
        Self { id: item.id, name: Some(item.name.clone()), price: Some(item.price), stock: item.stock }
    }
}
