//! Invoices and their purchase histories while a batch is planned.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Draft, Found};
use crate::batch::Target;
use crate::model::{Amount, CustomerId, Invoice, InvoiceId, Purchase};
use crate::plan::{Settlement, StoredInvoice};

/// An invoice as the rules see it, stored or new.
#[derive(Clone)]
pub(in crate::plan) struct InvoiceView {
    pub id: InvoiceId,
    pub total_amount: Option<Amount>,
    pub paid_amount: Option<Amount>,
    pub customer_id: Option<CustomerId>,
    pub customer_phone: String,
    pub has_purchase: bool,
}

#[derive(Default)]
pub(super) struct Invoices {
    pub created: Vec<Invoice>,
    pub created_at: HashMap<InvoiceId, usize>,
    /// The invoice of each `invoice.create` so far, less those that were refused.
    pub by_operation: HashMap<usize, InvoiceId>,
    pub settled: BTreeMap<InvoiceId, Settlement>,
    pub purchased: HashSet<InvoiceId>,
}

impl Draft<'_> {
    /// Notes which invoice the `invoice.create` at an index stands for.
    pub fn name_invoice(&mut self, index: usize, id: InvoiceId) {
        self.invoices.by_operation.insert(index, id);
    }

    /// The id of the invoice that a reference names, or else the reference: the same for every way to name it.
    pub fn invoice_name(&self, target: &Target<InvoiceId>) -> String {
        let stored = self.before.invoice_id(target);
        Found::resolve(target, &self.invoices.by_operation, stored, |id| Some(id.to_string())).or_sent(target)
    }

    /// The invoice that a reference names, as the batch leaves it so far.
    pub fn invoice(&self, target: &Target<InvoiceId>) -> Found<InvoiceView> {
        let stored = self.before.invoice_id(target);
        Found::resolve(target, &self.invoices.by_operation, stored, |id| self.view_invoice(id))
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
