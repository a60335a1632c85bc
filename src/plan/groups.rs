//! Which operations of a batch hang together, because they name the same records.

use std::collections::{HashMap, HashSet};

use bson::oid::ObjectId;

use super::Snapshot;
use crate::batch::{Operation, OperationList, Target};
use crate::model::LocalId;

/// Operations that can be sent as a batch of their own: none of them names a record that another
/// operation of the batch names. (Groups, customers and dealers do not tie, for no rule looks at them.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// JSON pointers (RFC 6901) to its operations, in the order in which they are applied.
    pub operations: Vec<String>,
    /// Whether none of them has a problem.
    pub is_clean: bool,
}

/// Something that operations have in common.
#[derive(PartialEq, Eq, Hash)]
enum Record<'a> {
    NewItem(usize),
    NewInvoice(usize),
    Stored(ObjectId),
    /// What creates with this local id make, be it stored or not.
    Local(&'a LocalId),
}

/// Splits operations into groups. `refused` are the places, in `operations`, of those with problems.
pub(super) fn groups(operations: &[Operation], refused: &HashSet<usize>, before: &Snapshot) -> Vec<Group> {
    let mut sets = Sets((0..operations.len()).collect());
    let mut first_of = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        for record in records(operation, before) {
            sets.join(*first_of.entry(record).or_insert(place), place);
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let index = *group_of.entry(sets.first(place)).or_insert_with(|| {
            groups.push(Group { operations: Vec::new(), is_clean: true });
            groups.len() - 1
        });
        groups[index].operations.push(operation.path());
        groups[index].is_clean &= !refused.contains(&place);
    }
    groups
}

/// The records that an operation makes or names.
fn records<'a>(operation: &'a Operation, before: &Snapshot) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    match operation.list {
        OperationList::ItemCreate => records.push(Record::NewItem(operation.index)),
        OperationList::InvoiceCreate => records.push(Record::NewInvoice(operation.index)),
        OperationList::ItemUpdate | OperationList::ItemDelete | OperationList::PaymentCreate => {}
    }
    if let Some(local_id) = &operation.local_id {
        records.push(Record::Local(local_id));
        records.extend(before.local_ids.get(local_id).map(|known| Record::Stored(known.id)));
    }
    for item in &operation.items {
        records.extend(match item {
            Target::Created(index) => Some(Record::NewItem(*index)),
            stored => before.item_id(stored).map(|id| Record::Stored(id.0)),
        });
    }
    if let Some(invoice) = &operation.invoice {
        records.extend(match invoice {
            Target::Created(index) => Some(Record::NewInvoice(*index)),
            stored => before.invoice_id(stored).map(|id| Record::Stored(id.0)),
        });
    }
    records
}

/// Disjoint sets of places, each known by its first place.
struct Sets(Vec<usize>);

impl Sets {
    fn first(&mut self, place: usize) -> usize {
        let mut first = place;
        while self.0[first] != first {
            self.0[first] = self.0[self.0[first]];
            first = self.0[first];
        }
        first
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}
