//! A batch worked out: what it comes to, and every row that it writes.
//!
//! That takes most of the time of a large batch, and the books need only be read for it. So whoever brings a batch has it
//! worked out beside the one thread that writes, which then has to put in rows only. If the client's books
//! have moved meanwhile, that thread works the batch out anew, by the same function, where nothing can come between.

use std::collections::BTreeMap;

use bson::RawDocumentBuf;
use bson::oid::ObjectId;

use super::super::records::{self, Change, ChangeKind, OwnTable, Table};
use super::super::{Moment, Outcome, StoreError};
use super::tables::{Open, Tables, local_key, receipt_key};
use crate::dataset::Records;
use crate::failpoint::{self, Point};
use crate::model::{ClientId, Collection, InvoiceId, Position, Revision};
use crate::plan::{Decision, Plan, Planner, Receipt, Reject, StoredReceipt};

/// What a batch comes to that is not refused.
pub(super) enum Work {
    /// This is to be written.
    Entry(Box<Entry>),
    /// It was committed before.
    Known(Box<Outcome>),
}

/// The rows that a batch writes, on top of one revision of its client's books.
#[derive(Debug)]
pub(super) struct Entry {
    /// The revision that it rests on.
    pub before: Revision,
    /// What came of the batch.
    pub receipt: Receipt,
    /// The number of the client's next invoice, once this is written.
    pub next_invoice: i64,
    /// The receipt as it is kept.
    pub kept: Option<KeptReceipt>,
    /// The records that are new or changed, in the order of their keys.
    pub records: BTreeMap<(Collection, ObjectId), Row>,
    /// What finds records by more than their ids.
    pub finders: Vec<Finder>,
    /// What local ids stand for, as BSON, by their keys. All are new.
    pub local_ids: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A row under its key.
#[derive(Debug)]
pub(super) struct Row {
    /// The whole record, as BSON.
    pub bytes: Vec<u8>,
    /// Whether there must be none under the key yet.
    pub is_new: bool,
}

/// A receipt under the batch's key.
#[derive(Debug)]
pub(super) struct KeptReceipt {
    /// Its key in the table.
    pub key: Vec<u8>,
    /// When it was made, in milliseconds.
    pub age: i64,
    /// The receipt, as BSON.
    pub bytes: Vec<u8>,
}

/// By what else a record is found.
#[derive(Debug)]
pub(super) enum Finder {
    /// An invoice by its number.
    Number(String),
    /// The purchase history of an invoice.
    Purchase(InvoiceId),
}

/// Works a batch out on the books as a transaction finds them.
///
/// # Errors
/// [`StoreError`], or else [`Reject`] if the rules say no.
pub(super) fn work_out<T: Open>(
    tables: &Tables<T>,
    client: &ClientId,
    planner: &dyn Planner,
) -> Result<Result<Work, Reject>, StoreError> {
    let snapshot = tables.load(client, &planner.reads())?;
    failpoint::reached(Point::BeforePlanning);
    let decision = match planner.plan(&snapshot) {
        Ok(decision) => decision,
        Err(reject) => return Ok(Err(reject)),
    };
    Ok(Ok(match decision {
        Decision::Commit(plan) => {
            failpoint::reached(Point::AfterPlanning);
            let next_invoice = plan.next_invoice.unwrap_or(snapshot.next_invoice);
            Work::Entry(Box::new(Entry::of(tables, client, snapshot.revision, next_invoice, *plan)?))
        }
        Decision::Replay(receipt) => {
            let moment = moment(tables.lineage(client)?.at(snapshot.revision));
            Work::Known(Box::new(Outcome { receipt: *receipt, replayed: true, after: moment.into() }))
        }
    }))
}

/// When what a client's books hold at a position is in its dataset.
pub(super) fn moment(position: Position) -> Moment {
    Moment { position, time: 0 }
}

impl Entry {
    fn of<T: Open>(
        tables: &Tables<T>,
        client: &ClientId,
        before: Revision,
        next_invoice: i64,
        plan: Plan,
    ) -> Result<Self, StoreError> {
        let kept = plan.remember.as_ref().map(|receipt| KeptReceipt::of(client, receipt)).transpose()?;
        let changes = records::changes(client, &plan)?;
        let (records, finders, local_ids) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut entry = Self { before, receipt: plan.receipt, next_invoice, kept, records, finders, local_ids };
        for change in changes {
            entry.add(tables, client, change)?;
        }
        Ok(entry)
    }

    /// Adds one of the plan's writes, of which no two are of the same record.
    fn add<T: Open>(
        &mut self,
        tables: &Tables<T>,
        client: &ClientId,
        change: Change<RawDocumentBuf>,
    ) -> Result<(), StoreError> {
        match change.table {
            Table::Data(collection) => {
                let (id, is_new) = (change.id, change.kind == ChangeKind::Insert);
                self.finders.extend(Finder::of(collection, &change.fields));
                let bytes = tables.changed(client, collection, change)?;
                self.records.insert((collection, id), Row { bytes, is_new });
            }
            Table::Own(OwnTable::LocalIds) => {
                let local_id = change.fields.get_str("localId").map_err(|e| StoreError::Internal(e.to_string()))?;
                let key = local_key(client, local_id);
                self.local_ids.push((key, change.fields.into_bytes()));
            }
        }
        Ok(())
    }

    /// Whether it changes the client's books, and not only what is remembered of batches.
    pub fn is_commit(&self) -> bool {
        !self.records.is_empty() || !self.local_ids.is_empty()
    }

    /// What came of the batch, and the dataset's records as this leaves them.
    pub fn into_parts(self) -> (Receipt, Records) {
        (self.receipt, self.records.into_iter().map(|(key, row)| (key, row.bytes)).collect())
    }
}

impl KeptReceipt {
    fn of(client: &ClientId, receipt: &StoredReceipt) -> Result<Self, StoreError> {
        let age = receipt.created_at.date_time().timestamp_millis();
        Ok(Self { key: receipt_key(client, &receipt.key), age, bytes: records::encode(receipt)? })
    }
}

impl Finder {
    /// What finds a record with these fields.
    pub fn of(collection: Collection, fields: &bson::raw::RawDocument) -> Option<Self> {
        match collection {
            Collection::Invoices => fields.get_str("invoiceNumber").ok().map(|number| Self::Number(number.to_owned())),
            Collection::PurchaseHistories => {
                fields.get_object_id("invoiceId").ok().map(|id| Self::Purchase(InvoiceId(id)))
            }
            _ => None,
        }
    }
}
