//! A pure book in place of a store: it answers read sets, and writes down plans.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use bson::oid::ObjectId;
use viveka_sync::model::{
    CustomerId, DealerId, GroupId, IdempotencyKey, Invoice, InvoiceId, Item, ItemId, LocalId, Payment, PaymentId,
    Purchase, PurchaseId, Revision,
};
use viveka_sync::plan::{
    LocalRecord, NumberSearch, Plan, ReadSet, Settlement, Snapshot, StoredInvoice, StoredItem, StoredReceipt, Write,
};

/// Everything of one client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    pub items: BTreeMap<ItemId, Item>,
    /// Old items of which name and price cannot be read; those of the record here do not count.
    pub unreadable_items: BTreeSet<ItemId>,
    pub invoices: BTreeMap<InvoiceId, Invoice>,
    /// Old invoices of which the total cannot be read.
    pub unreadable_invoices: BTreeSet<InvoiceId>,
    pub payments: BTreeMap<PaymentId, Payment>,
    pub purchases: BTreeMap<PurchaseId, Purchase>,
    pub groups: Vec<GroupId>,
    pub customers: Vec<CustomerId>,
    pub dealers: Vec<DealerId>,
    pub receipts: BTreeMap<IdempotencyKey, StoredReceipt>,
    pub local_ids: BTreeMap<LocalId, LocalRecord>,
    pub next_invoice: i64,
    pub revision: Revision,
}

impl Book {
    /// Just what a planner asked for, as a store loads it.
    pub fn answer(&self, reads: &ReadSet) -> Snapshot {
        let whole = self.whole();
        let local_ids: HashMap<_, _> =
            whole.local_ids.into_iter().filter(|(id, _)| reads.local_ids.contains(id)).collect();
        let named = |id: ObjectId| local_ids.values().any(|known| known.id == id);
        Snapshot {
            items: whole.items.into_iter().filter(|(id, _)| reads.items.contains(id) || named(id.0)).collect(),
            invoices: whole.invoices.into_iter().filter(|(id, _)| reads.invoices.contains(id) || named(id.0)).collect(),
            groups: known(&self.groups, &reads.groups),
            customers: known(&self.customers, &reads.customers),
            dealers: known(&self.dealers, &reads.dealers),
            taken_numbers: self.search(reads.free_numbers),
            receipts: whole.receipts.into_iter().filter(|(key, _)| reads.receipts.contains(key)).collect(),
            local_ids,
            ..whole
        }
    }

    /// Everything that there is, whether or not somebody asked for it.
    pub fn whole(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            next_invoice: self.next_invoice,
            items: self.items.keys().map(|id| (*id, self.stored_item(*id))).collect(),
            invoices: self.invoices.keys().map(|id| (*id, self.stored_invoice(*id))).collect(),
            groups: self.groups.iter().copied().collect(),
            customers: self.customers.iter().copied().collect(),
            dealers: self.dealers.iter().copied().collect(),
            taken_numbers: self.numbers(),
            local_ids: self.local_ids.clone().into_iter().collect(),
            receipts: self.receipts.clone().into_iter().collect(),
        }
    }

    /// All invoice numbers.
    pub fn numbers(&self) -> HashSet<String> {
        self.invoices.values().map(|invoice| invoice.invoice_number.clone()).collect()
    }

    /// The purchase histories of one invoice.
    pub fn purchases_of(&self, invoice: InvoiceId) -> Vec<&Purchase> {
        self.purchases.values().filter(|purchase| purchase.invoice_id == invoice).collect()
    }

    /// The invoices whose amounts can be read.
    pub fn readable_invoices(&self) -> impl Iterator<Item = &Invoice> {
        self.invoices.values().filter(|invoice| !self.unreadable_invoices.contains(&invoice.id))
    }

    /// Writes a whole plan down.
    pub fn commit(&mut self, plan: &Plan) {
        for write in &plan.writes {
            self.write(write);
        }
        self.finish(plan);
    }

    /// Writes one record down.
    pub fn write(&mut self, write: &Write) {
        match write.clone() {
            Write::InsertItem(item) => drop(self.items.insert(item.id, item)),
            Write::UpdateItem(id, changes) => {
                if changes.name.is_some() && changes.price.is_some() {
                    self.unreadable_items.remove(&id);
                }
                self.items.get_mut(&id).expect("only a stored item is updated").apply(changes);
            }
            Write::InsertInvoice(invoice) => drop(self.invoices.insert(invoice.id, invoice)),
            Write::SettleInvoice(id, settlement) => {
                let Settlement { paid_amount, is_finalized, updated_at } = settlement;
                let invoice = self.invoices.get_mut(&id).expect("only a stored invoice is settled");
                (invoice.paid_amount, invoice.is_finalized, invoice.updated_at) =
                    (paid_amount, is_finalized, updated_at);
            }
            Write::InsertPayment(payment) => drop(self.payments.insert(payment.id, payment)),
            Write::InsertPurchase(purchase) => drop(self.purchases.insert(purchase.id, purchase)),
            Write::InsertLocalId(record) => drop(self.local_ids.insert(record.local_id.clone(), record)),
        }
    }

    /// Writes down what goes with the records of a plan.
    pub fn finish(&mut self, plan: &Plan) {
        self.next_invoice = plan.next_invoice.unwrap_or(self.next_invoice);
        self.revision = plan.receipt.revision;
        self.receipts.extend(plan.remember.clone().map(|stored| (stored.key.clone(), stored)));
    }

    fn stored_item(&self, id: ItemId) -> StoredItem {
        let item = &self.items[&id];
        let readable = !self.unreadable_items.contains(&id);
        StoredItem {
            name: readable.then(|| item.name.clone()),
            price: readable.then_some(item.price),
            stock: item.stock,
        }
    }

    fn stored_invoice(&self, id: InvoiceId) -> StoredInvoice {
        let invoice = &self.invoices[&id];
        StoredInvoice {
            total_amount: (!self.unreadable_invoices.contains(&id)).then_some(invoice.totals.total_amount),
            paid_amount: Some(invoice.paid_amount),
            customer_id: invoice.client_customer_id,
            customer_phone: invoice.client_customer_phone.clone(),
            has_purchase: !self.purchases_of(id).is_empty(),
        }
    }

    fn search(&self, free_numbers: usize) -> HashSet<String> {
        let numbers = self.numbers();
        let mut search = NumberSearch::new(self.next_invoice, free_numbers);
        while let Some(window) = search.window() {
            search.found(window.into_iter().filter(|number| numbers.contains(number)));
        }
        search.into_taken()
    }
}

/// The ids that a plan makes.
pub fn made_ids(plan: &Plan) -> Vec<ObjectId> {
    let made = |write: &Write| match write {
        Write::InsertItem(item) => Some(item.id.0),
        Write::InsertInvoice(invoice) => Some(invoice.id.0),
        Write::InsertPayment(payment) => Some(payment.id.0),
        Write::InsertPurchase(purchase) => Some(purchase.id.0),
        Write::UpdateItem(..) | Write::SettleInvoice(..) | Write::InsertLocalId(_) => None,
    };
    plan.writes.iter().filter_map(made).collect()
}

/// The record that a write touches.
pub fn touched(write: &Write) -> ObjectId {
    match write {
        Write::InsertItem(item) => item.id.0,
        Write::UpdateItem(id, _) => id.0,
        Write::InsertInvoice(invoice) => invoice.id.0,
        Write::SettleInvoice(id, _) => id.0,
        Write::InsertPayment(payment) => payment.id.0,
        Write::InsertPurchase(purchase) => purchase.id.0,
        Write::InsertLocalId(record) => record.id,
    }
}

fn known<Id: Copy + Ord + Hash>(all: &[Id], asked: &BTreeSet<Id>) -> HashSet<Id> {
    all.iter().copied().filter(|id| asked.contains(id)).collect()
}
