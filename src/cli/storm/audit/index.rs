//! The records of a client by the marks that this run gave them.

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::oid::ObjectId;

use super::books::{Books, Invoice, Item, Payment, Purchase};
use super::{Findings, Subject};
use crate::cli::output::counted;
use crate::cli::storm::script::{Label, Mark, Units};

/// What is in the books. What was asked for is taken out of it; what is left was never sent.
pub struct Index<'b> {
    /// Items by their names.
    pub items: Marked<&'b Item>,
    /// Invoices by their notes.
    pub invoices: Marked<&'b Invoice>,
    /// Payments by their notes.
    pub payments: Marked<&'b Payment>,
    /// The mark of each of our items, by its id.
    pub item_marks: HashMap<ObjectId, Mark>,
    /// The mark of each of our invoices, by its id.
    pub invoice_marks: HashMap<ObjectId, Mark>,
    /// What the payments on each invoice come to.
    pub paid: HashMap<Option<ObjectId>, Units>,
    /// Purchase histories by their invoice.
    pub purchases: HashMap<Option<ObjectId>, Vec<&'b Purchase>>,
}

/// Records of one kind by their mark, in its order, so that problems are told in the order of the syncs.
pub type Marked<T> = BTreeMap<Mark, T>;

impl<'b> Index<'b> {
    /// Reads the books, and tells what is there twice or is none of ours.
    pub fn of(subject: &Subject<'_>, books: &'b Books, findings: &mut Findings) -> Self {
        let data = &books.data;
        let mut reader = Reader { subject, findings };
        let items = reader.marked("item", data.items.iter().map(|item| (&item.name, item)));
        let invoices = reader.marked("invoice", data.invoices.iter().map(|invoice| (&invoice.notes, invoice)));
        let payments = reader.marked("payment", data.payments.iter().map(|payment| (&payment.note, payment)));
        reader.tenancy(books);
        reader.numbers(&data.invoices);
        let mut paid = HashMap::<_, Units>::new();
        for payment in &data.payments {
            *paid.entry(payment.invoice_id).or_default() += payment.amount;
        }
        let mut purchases = HashMap::<_, Vec<_>>::new();
        for purchase in &data.purchase_history {
            purchases.entry(purchase.invoice_id).or_default().push(purchase);
        }
        let item_marks = items.iter().map(|(mark, item)| (item.id, *mark)).collect();
        let invoice_marks = invoices.iter().map(|(mark, invoice)| (invoice.id, *mark)).collect();
        let looked_at = &mut findings.looked_at;
        looked_at.items = items.len() as u64;
        looked_at.invoices = invoices.len() as u64;
        looked_at.payments = payments.len() as u64;
        Self { items, invoices, payments, item_marks, invoice_marks, paid, purchases }
    }
}

struct Reader<'a, 's> {
    subject: &'a Subject<'s>,
    findings: &'a mut Findings,
}

impl Reader<'_, '_> {
    fn problem(&mut self, what: std::fmt::Arguments<'_>) {
        self.findings.problems.push(format!("client {}: {what}", self.subject.client));
    }

    /// Each mark is there once.
    fn marked<'l, T>(&mut self, kind: &str, all: impl Iterator<Item = (&'l Label, T)>) -> Marked<T> {
        let run = self.subject.script.run;
        let mut marked = Marked::new();
        let mut of_others = 0;
        for (label, record) in all {
            match label.mark(run) {
                Some(mark) if marked.contains_key(&mark) => {
                    self.problem(format_args!("{kind} {label} is in the books more than once ({mark})"));
                }
                Some(mark) => {
                    marked.insert(mark, record);
                }
                None if self.subject.is_ours_alone => {
                    self.problem(format_args!("{kind} {label} is in the books, and nobody sent it"));
                }
                None => of_others += 1,
            }
        }
        self.findings.looked_at.of_others += of_others;
        marked
    }

    fn tenancy(&mut self, books: &Books) {
        let data = &books.data;
        let clients = data.items.iter().map(|item| item.client_id);
        let clients = clients.chain(data.invoices.iter().map(|invoice| invoice.client_id));
        let clients = clients.chain(data.payments.iter().map(|payment| payment.client_id));
        let clients = clients.chain(data.purchase_history.iter().map(|purchase| purchase.client_id));
        let client = self.subject.client;
        let foreign = clients.filter(|of| *of != client).count() as u64;
        if foreign > 0 {
            self.problem(format_args!("{} of another client's books in its dataset", counted(foreign, "record")));
        }
    }

    /// The load leaves all numbers to the server, which gives each once.
    fn numbers(&mut self, invoices: &[Invoice]) {
        let run = self.subject.script.run;
        let mut seen = HashSet::new();
        for invoice in invoices.iter().filter(|invoice| invoice.notes.mark(run).is_some()) {
            if !seen.insert(&*invoice.invoice_number) {
                self.problem(format_args!("the number {} was given to two invoices", invoice.invoice_number));
            }
        }
    }
}
