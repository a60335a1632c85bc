//! The books while a batch is planned: what was stored, with what the batch did so far.
//!
//! Rules look at the draft only, so later operations see earlier ones; and only the draft emits writes,
//! one for each touched record, with its final values.

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::oid::ObjectId;

use super::{IdMap, Plan, Receipt, Settlement, Snapshot, StoredInvoice, StoredItem, Synced, Write};
use crate::batch::{Problem, ProblemCode, Target, WarningKind, Warnings};
use crate::clock::{Ids, Stamp};
use crate::model::{
    Amount, CustomerId, Invoice, InvoiceId, Item, ItemChanges, ItemId, Payment, Purchase, Timestamp, invoice_number,
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

/// What a reference to an invoice leads to.
pub(super) enum FoundInvoice {
    /// An invoice of this client.
    Invoice(InvoiceView),
    /// An invoice of this batch that has problems of its own, which are told already.
    Refused,
    /// No invoice of this client.
    Nothing,
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
    changed: BTreeMap<ItemId, ItemChanges>,
}

#[derive(Default)]
struct Invoices {
    created: Vec<Invoice>,
    /// For each `invoice.create` so far its place in `created`; `None` where it was refused.
    by_operation: Vec<Option<usize>>,
    created_at: HashMap<InvoiceId, usize>,
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

    /// The item that a reference names, as the batch leaves it so far.
    pub fn item(&self, target: &Target<ItemId>) -> Option<ItemView> {
        match target {
            // The creates of a batch come before all that can refer to them, and none of them is refused.
            Target::Created(index) => self.items.created.get(*index).map(view_created_item),
            Target::Stored(id) => match self.items.created_at.get(id) {
                Some(index) => Some(view_created_item(&self.items.created[*index])),
                None => self.before.items.get(id).map(|stored| self.items.view_stored(*id, stored)),
            },
            Target::Nothing(_) => None,
        }
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
    pub fn invoice(&self, target: &Target<InvoiceId>) -> FoundInvoice {
        let found = match target {
            Target::Created(operation) => match self.invoices.by_operation.get(*operation).copied().flatten() {
                Some(index) => Some(self.invoices.view_created(index)),
                None => return FoundInvoice::Refused,
            },
            Target::Stored(id) => self.before.invoices.get(id).map(|stored| self.invoices.view_stored(*id, stored)),
            Target::Nothing(_) => None,
        };
        found.map_or(FoundInvoice::Nothing, FoundInvoice::Invoice)
    }

    /// Notes that the next `invoice.create` has problems.
    pub fn refuse_invoice(&mut self) {
        self.invoices.by_operation.push(None);
    }

    /// Adds a new invoice for the next `invoice.create`.
    pub fn insert_invoice(&mut self, invoice: Invoice) {
        let index = self.invoices.created.len();
        self.synced.invoices_created.push(invoice.id);
        self.invoices.by_operation.push(Some(index));
        self.invoices.created_at.insert(invoice.id, index);
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

    /// All that is to be written.
    pub fn into_plan(self) -> Plan {
        let receipt = Receipt {
            revision: self.before.revision.next(),
            summary: self.synced.summary(),
            synced: self.synced,
            id_map: self.id_map,
            warnings: self.warnings.into_list(),
        };
        let mut writes = Vec::new();
        writes.extend(self.items.created.into_iter().map(Write::InsertItem));
        writes.extend(self.items.changed.into_iter().map(|(id, changes)| Write::UpdateItem(id, changes)));
        writes.extend(self.invoices.created.into_iter().map(Write::InsertInvoice));
        writes.extend(self.invoices.settled.into_iter().map(|(id, settlement)| Write::SettleInvoice(id, settlement)));
        writes.extend(self.payments.into_iter().map(Write::InsertPayment));
        writes.extend(self.purchases.into_iter().map(Write::InsertPurchase));
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

fn view_created_item(item: &Item) -> ItemView {
    ItemView { id: item.id, name: Some(item.name.clone()), price: Some(item.price), stock: item.stock }
}
