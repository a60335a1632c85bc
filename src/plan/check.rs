//! What would come of a batch, without writing it: all that is wrong with it, or what it would do, and how
//! its operations could be sent in smaller batches.

use std::collections::HashSet;

use super::groups::{Group, groups};
use super::{ReadSet, Snapshot, Summary, sync};
use crate::batch::{Operation, OperationList, Problem, ProblemCode, Reading, Warning};
use crate::clock::Stamp;
use crate::model::IdempotencyKey;

/// Plans a request body that may be partly malformed, by the same rules as a sync.
#[derive(Debug)]
pub struct Check {
    reading: Reading,
    key: Option<IdempotencyKey>,
    stamp: Stamp,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// All problems, in the order in which they were found; none if a sync would commit the batch.
    pub problems: Vec<Problem>,
    /// What a sync would do otherwise than the phone may expect.
    pub warnings: Vec<Warning>,
    /// What a sync would answer; all zero if it would apply nothing.
    pub summary: Summary,
    /// The operations in independent sets, in the order of their first operations.
    pub groups: Vec<Group>,
}

impl Check {
    /// A check of a body that would be sent under `key`. The stamp must hold as many ids as its batch needs.
    pub fn new(reading: Reading, key: Option<IdempotencyKey>, stamp: Stamp) -> Self {
        Self { reading, key, stamp }
    }

    /// Everything that [`Check::run`] will look at.
    pub fn reads(&self) -> ReadSet {
        let mut reads = sync::reads(&self.reading.batch);
        for operation in &self.reading.operations {
            reads.local_ids.extend(operation.local_id.clone());
            operation.items.iter().for_each(|item| reads.item(item));
            operation.invoice.iter().for_each(|invoice| reads.invoice(invoice));
        }
        reads.receipts.extend(self.key.clone());
        reads
    }

    /// Applies the rules to a snapshot that holds at least what [`Check::reads`] asked for.
    pub fn run(self, before: &Snapshot) -> Findings {
        let mut draft = sync::apply(&self.reading.batch, &self.stamp, before);
        let refused = self.refused(&draft.problems);
        let groups = groups(&self.reading.operations, &refused, before);
        let problems: Vec<_> =
            self.reading.problems.iter().cloned().chain(std::mem::take(&mut draft.problems)).collect();
        let summary = if problems.is_empty() { draft.summary() } else { Summary::default() };
        let findings = Findings { problems, summary, warnings: draft.into_warnings().into_list(), groups };
        self.consider_key(findings, before)
    }

    /// The operations with problems of their own, by their places.
    fn refused(&self, problems: &[Problem]) -> HashSet<usize> {
        let batch = &self.reading.batch;
        let mut well_formed = HashSet::new();
        well_formed.extend(batch.new_items.iter().map(|create| (OperationList::ItemCreate, create.identity.index)));
        well_formed.extend(batch.item_updates.iter().map(|update| (OperationList::ItemUpdate, update.index)));
        well_formed.extend(batch.item_deletes.iter().map(|delete| (OperationList::ItemDelete, delete.index)));
        well_formed
            .extend(batch.new_invoices.iter().map(|create| (OperationList::InvoiceCreate, create.identity.index)));
        well_formed
            .extend(batch.new_payments.iter().map(|create| (OperationList::PaymentCreate, create.identity.index)));
        let told: HashSet<_> = problems.iter().filter_map(|problem| operation_of(&problem.path)).collect();
        let is_refused = |operation: &Operation| {
            let place = (operation.list, operation.index);
            !well_formed.contains(&place) || told.contains(&place)
        };
        let places = self.reading.operations.iter().enumerate();
        places.filter(|(_, operation)| is_refused(operation)).map(|(place, _)| place).collect()
    }

    /// A key that was used says more than the records do, and less than the shape: what is malformed is refused before
    /// its key is looked up, even where it is no part of the payload, as `since` is not.
    fn consider_key(&self, findings: Findings, before: &Snapshot) -> Findings {
        if !self.reading.problems.is_empty() {
            return findings;
        }
        let Some(stored) = self.key.as_ref().and_then(|key| before.receipts.get(key)) else { return findings };
        if stored.fingerprint != self.reading.batch.fingerprint {
            let problem = Problem {
                path: String::new(),
                code: ProblemCode::IdempotencyKeyReused,
                message: "The idempotency key was used for another batch".into(),
            };
            return Findings { problems: vec![problem], summary: Summary::default(), ..findings };
        }
        let groups = findings.groups.into_iter().map(|group| Group { is_clean: true, ..group }).collect();
        let receipt = &stored.receipt;
        Findings { problems: Vec::new(), warnings: receipt.warnings.clone(), summary: receipt.summary, groups }
    }
}

/// The operation that a problem's path leads to, if it leads to one.
fn operation_of(path: &str) -> Option<(OperationList, usize)> {
    let (end, _) = path.match_indices('/').nth(2)?;
    let list = OperationList::ALL.into_iter().find(|list| list.path() == &path[..end])?;
    let index = path[end + 1..].split('/').next()?.parse().ok()?;
    Some((list, index))
}
