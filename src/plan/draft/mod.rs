//! The books while a batch is planned: what was stored, with what the batch did so far.
//!
//! Rules look at the draft only, so later operations see earlier ones; and only the draft emits writes,
//! one for each touched record, with its final values.

mod invoices;
mod items;

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::oid::ObjectId;
use serde_json::Value;

use super::{IdMap, LocalRecord, Plan, Receipt, Snapshot, Summary, Synced, Write};
use crate::batch::{Fingerprint, Identity, Problem, ProblemCode, Target, WarningKind, Warnings};
use crate::clock::{Ids, Stamp};
use crate::model::{Collection, LocalId, Payment, Purchase, Timestamp, invoice_number};
pub(super) use invoices::InvoiceView;
use invoices::Invoices;
pub(super) use items::ItemView;
use items::Items;

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

/// What a reference leads to.
pub(super) enum Found<View> {
    /// A record of this client.
    Record(View),
    /// A create of this batch that has problems of its own, which are told already.
    Refused,
    /// No record of this client.
    Nothing,
}

impl<View> Found<View> {
    /// What the reference names: one way to resolve it for all kinds of records. `stored` is for a reference that is
    /// none of this batch.
    fn resolve<Id: Copy>(
        target: &Target<Id>,
        by_operation: &HashMap<usize, Id>,
        stored: Option<Id>,
        view: impl FnOnce(Id) -> Option<View>,
    ) -> Self {
        let id = match target {
            Target::Created(index) => match by_operation.get(index) {
                Some(id) => Some(*id),
                None => return Self::Refused,
            },
            Target::Stored { .. } | Target::Nothing(_) => stored,
        };
        id.and_then(view).map_or(Self::Nothing, Self::Record)
    }
}

impl Found<String> {
    /// The id, or else the reference as it was sent.
    fn or_sent(self, sent: &impl ToString) -> String {
        match self {
            Self::Record(id) => id,
            Self::Refused | Self::Nothing => sent.to_string(),
        }
    }
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
