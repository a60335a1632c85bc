//! All that the file keeps of one client, read and written as it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use bson::raw::RawDocument;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::super::super::StoreError;
use super::super::super::archive::{Counters, Finding, Head, Part, Severity, bare_receipt};
use super::super::entry::{Finder, Row};
use super::super::failed;
use super::{Open, TOUCHED, Tables, WritableTables, client_key, counters, local_key, raw};
use crate::model::{ClientId, Collection, Revision};

/// Client -> the archive that its books came from.
const IMPORTED: TableDefinition<'_, &[u8], &str> = TableDefinition::new("imported_clients");
/// Client, 0 for its account or 1 for a session, `_id` -> the login service's record, the same BSON as in MongoDB.
const ACCOUNTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("accounts");

/// Which archive a client's books came from, if any.
pub(in super::super) fn imported(
    transaction: &ReadTransaction,
    client: &ClientId,
) -> Result<Option<String>, StoreError> {
    match transaction.open_table(IMPORTED) {
        Ok(table) => Ok(table.get(&client_key(client)[..]).map_err(failed)?.map(|archive| archive.value().to_owned())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Notes which archive a client's books came from.
pub(in super::super) fn set_imported(
    transaction: &WriteTransaction,
    client: &ClientId,
    archive: &str,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(IMPORTED).map_err(failed)?;
    table.insert(&client_key(client)[..], archive).map_err(failed)?;
    Ok(())
}

/// Shows a client's records of the login service under their ids, in the order of these.
pub(in super::super) fn visit_accounts<T: Open>(
    transaction: T,
    client: &ClientId,
    part: Part,
    visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match transaction.open(ACCOUNTS) {
        // In a file of a version that kept none.
        Err(TableError::TableDoesNotExist(_)) => Ok(()),
        table => visit_prefix(&table.map_err(failed)?, &account_prefix(client, part), visit),
    }
}

/// What is kept of the login service in the place of a record, if anything.
pub(in super::super) fn account(
    transaction: &WriteTransaction,
    client: &ClientId,
    part: Part,
    record: &RawDocument,
) -> Result<Option<RawDocumentBuf>, StoreError> {
    let key = account_key(client, part, record)?;
    let table = transaction.open_table(ACCOUNTS).map_err(failed)?;
    let held = table.get(&key[..]).map_err(failed)?;
    held.map(|held| raw(held.value()).map(RawDocument::to_owned)).transpose()
}

/// Keeps a client's record of the login service.
pub(in super::super) fn put_account(
    transaction: &WriteTransaction,
    client: &ClientId,
    part: Part,
    record: &RawDocument,
) -> Result<(), StoreError> {
    let key = account_key(client, part, record)?;
    let mut table = transaction.open_table(ACCOUNTS).map_err(failed)?;
    table.insert(&key[..], record.as_bytes()).map_err(failed)?;
    Ok(())
}

fn account_key(client: &ClientId, part: Part, record: &RawDocument) -> Result<Vec<u8>, StoreError> {
    let id = record.get_object_id("_id").map_err(|e| StoreError::Internal(e.to_string()))?;
    Ok([&account_prefix(client, part)[..], &id.bytes()].concat())
}

fn account_prefix(client: &ClientId, part: Part) -> [u8; 13] {
    let mut prefix = [0; 13];
    prefix[..12].copy_from_slice(&client_key(client));
    // The numbers are part of the file's format.
    prefix[12] = u8::from(part == Part::Sessions);
    prefix
}

/// The clients that the file holds anything of.
pub(in super::super) fn clients(transaction: &ReadTransaction) -> Result<BTreeSet<ClientId>, StoreError> {
    let (mut clients, tables) = (BTreeSet::new(), Tables::open(transaction)?);
    add_clients(&tables.records, &mut clients)?;
    add_clients(&tables.clients, &mut clients)?;
    add_clients(&tables.receipts, &mut clients)?;
    add_clients(&tables.local_ids, &mut clients)?;
    match transaction.open_table(ACCOUNTS) {
        Err(TableError::TableDoesNotExist(_)) => {}
        table => add_clients(&table.map_err(failed)?, &mut clients)?,
    }
    Ok(clients)
}

impl<T: Open> Tables<T> {
    /// What a client's books count.
    pub fn head(&self, client: &ClientId) -> Result<Head, StoreError> {
        let (revision, next_invoice) = counters(&self.clients, client)?;
        Ok(Head { revision, next_invoice })
    }

    /// Whether there is anything of a client in these tables.
    pub fn hold_books_of(&self, client: &ClientId) -> Result<bool, StoreError> {
        let client = client_key(client);
        Ok(has_any(&self.records, &client)?
            || has_any(&self.receipts, &client)?
            || has_any(&self.local_ids, &client)?
            || self.clients.get(&client[..]).map_err(failed)?.is_some_and(|counters| counters.value().0 != 0))
    }

    /// Shows each record of one part that is in these tables, in the part's order, under the name that its key gives it.
    pub fn visit(
        &self,
        client: &ClientId,
        part: Part,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let client_key = client_key(client);
        match part {
            Part::Data(collection) => {
                let prefix = [&client_key[..], &[collection as u8]].concat();
                visit_prefix(&self.records, &prefix, visit)
            }
            Part::Receipts => visit_prefix(&self.receipts, &client_key, visit),
            Part::LocalIds => visit_prefix(&self.local_ids, &client_key, visit),
            Part::Account | Part::Sessions => Ok(()),
        }
    }

    /// In what state the client's counters are.
    pub fn counters(&self, client: &ClientId) -> Result<Counters, StoreError> {
        let is_there = self.clients.get(&client_key(client)[..]).map_err(failed)?.is_some();
        Ok(if is_there { Counters::Kept } else { Counters::Missing })
    }

    /// Where the tables that find records are not in step with the records. Records that cannot be read are left out:
    /// whoever reads the books hears of them.
    pub fn findings_of(&self, client: &ClientId) -> Result<Vec<Finding>, StoreError> {
        let mut findings = self.numbers_out_of_step(client)?;
        if self.lineage(client).is_err() {
            let why = "which commits belong to which history cannot be read, so no request is answered".to_owned();
            findings.push(Finding::of(Severity::Problem, client, "lineages", None, why));
        }
        findings.extend(self.purchases_out_of_step(client)?);
        findings.extend(self.ages_out_of_step(client)?);
        findings.extend(self.commits_out_of_step(client)?);
        Ok(findings)
    }

    fn numbers_out_of_step(&self, client: &ClientId) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        self.visit(client, Part::Data(Collection::Invoices), |_, record| {
            let Ok(record) = raw(record) else { return Ok(()) };
            let Ok(number) = record.get_str("invoiceNumber") else { return Ok(()) };
            if self.numbers.get(&super::number_key(client, number)[..]).map_err(failed)?.is_none() {
                let why = format!("its number {number:?} is not among the taken ones, so it may be given again");
                findings.push(out_of_step(client, Collection::Invoices, record, why));
            }
            Ok(())
        })?;
        Ok(findings)
    }

    fn purchases_out_of_step(&self, client: &ClientId) -> Result<Vec<Finding>, StoreError> {
        let (mut findings, mut invoices) = (Vec::new(), HashSet::new());
        self.visit(client, Part::Data(Collection::PurchaseHistories), |_, record| {
            let Ok(record) = raw(record) else { return Ok(()) };
            let Ok(invoice) = record.get_object_id("invoiceId") else { return Ok(()) };
            invoices.insert(invoice);
            if self.purchased.get(&super::purchased_key(client, invoice.into())[..]).map_err(failed)?.is_none() {
                let why = format!("its invoice {invoice} is not noted to have a history, so it may get another one");
                findings.push(out_of_step(client, Collection::PurchaseHistories, record, why));
            }
            Ok(())
        })?;
        visit_prefix(&self.purchased, &client_key(client), |key, ()| {
            let noted = <[u8; 12]>::try_from(key).map(ObjectId::from_bytes);
            if let Ok(noted) = noted
                && !invoices.contains(&noted)
            {
                let why = format!("the invoice {noted} is noted to have a history and has none");
                let collection = Collection::PurchaseHistories.name();
                findings.push(Finding::of(Severity::Problem, client, collection, Some(noted.to_hex()), why));
            }
            Ok(())
        })?;
        Ok(findings)
    }

    fn ages_out_of_step(&self, client: &ClientId) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        visit_prefix(&self.receipts, &client_key(client), |key, record| {
            let Ok(record) = raw(record) else { return Ok(()) };
            let age = record.get_datetime("createdAt").map(|at| at.timestamp_millis());
            let full_key = [&client_key(client)[..], key].concat();
            let noted = match age {
                Ok(age) => self.receipt_ages.get((age, &full_key[..])).map_err(failed)?.is_some(),
                Err(_) => false,
            };
            if !noted {
                let (name, id) = (Part::Receipts.name(), String::from_utf8_lossy(key).into_owned());
                let why = "its age is not noted, so it never expires".to_owned();
                findings.push(Finding::of(Severity::Problem, client, name, Some(id), why));
            }
            Ok(())
        })?;
        Ok(findings)
    }

    /// Deltas are read from the log of commits: what it names must be there, and what a commit wrote must be named.
    fn commits_out_of_step(&self, client: &ClientId) -> Result<Vec<Finding>, StoreError> {
        let (head, mut log, mut findings) = (self.head(client)?, Log::new(), Vec::new());
        visit_prefix(&self.commits, &client_key(client), |key, touched| {
            let revision = <[u8; 8]>::try_from(key).map(i64::from_be_bytes).unwrap_or_default();
            let find = |why| Finding::of(Severity::Problem, client, "commits", Some(revision.to_string()), why);
            let (touched, cut) = touched.as_chunks::<TOUCHED>();
            // If a record of it says so too, that is told of the client as a whole.
            if Revision(revision) > head.revision && !self.any_is_beyond(client, head.revision, touched)? {
                let why = format!("the commit {revision} is logged, and the client is at revision {}", head.revision.0);
                findings.push(find(why));
            }
            if !cut.is_empty() {
                findings.push(find("what it wrote cannot be read".to_owned()));
            }
            for touched in touched {
                if self.records.get(&[&client_key(client)[..], touched].concat()[..]).map_err(failed)?.is_none() {
                    let [number, id @ ..] = *touched;
                    let collection = Collection::ALL.into_iter().find(|collection| *collection as u8 == number);
                    let collection = collection.map_or("no collection", Collection::name);
                    let id = ObjectId::from_bytes(id);
                    findings
                        .push(find(format!("it is logged to have written {id} of {collection}, which is not there")));
                }
            }
            log.insert(revision, touched.iter().copied().collect());
            Ok(())
        })?;
        findings.extend(self.unlogged(client, &log)?);
        Ok(findings)
    }

    /// Whether one of the records of a logged commit says that it is of a later commit than the client is at.
    fn any_is_beyond(&self, client: &ClientId, last: Revision, touched: &[[u8; TOUCHED]]) -> Result<bool, StoreError> {
        for touched in touched {
            let record = self.records.get(&[&client_key(client)[..], touched].concat()[..]).map_err(failed)?;
            let record = record.as_ref().and_then(|record| raw(record.value()).ok());
            if record.and_then(|record| record.get_i64("revision").ok()).is_some_and(|revision| revision > last.0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that say they are of a commit whose log does not name them.
    fn unlogged(&self, client: &ClientId, log: &Log) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for collection in Collection::ALL {
            self.visit(client, Part::Data(collection), |_, record| {
                let Ok(record) = raw(record) else { return Ok(()) };
                let (Ok(revision), Ok(id)) = (record.get_i64("revision"), record.get_object_id("_id")) else {
                    return Ok(());
                };
                let mut touched = [collection as u8; TOUCHED];
                touched[1..].copy_from_slice(&id.bytes());
                if log.get(&revision).is_some_and(|logged| !logged.contains(&touched)) {
                    let why = format!("it is of the commit {revision}, whose log does not name it, so deltas miss it");
                    findings.push(out_of_step(client, collection, record, why));
                }
                Ok(())
            })?;
        }
        Ok(findings)
    }
}

/// What each logged commit wrote, as the log has it. An imported client has no log of what it did before.
type Log = HashMap<i64, HashSet<[u8; TOUCHED]>>;

impl WritableTables<'_> {
    /// Writes a record as it is, with what finds it.
    pub fn put(&mut self, client: &ClientId, part: Part, record: RawDocumentBuf) -> Result<(), StoreError> {
        match part {
            Part::Data(collection) => {
                let id = record.get_object_id("_id").map_err(|e| StoreError::Internal(e.to_string()))?;
                if let Some(finder) = Finder::of(collection, &record) {
                    self.write_finder(client, &finder)?;
                }
                self.write_record(client, collection, id, &Row { bytes: record.into_bytes(), is_new: true })
            }
            Part::Receipts => self.put_receipt(client, &record),
            Part::LocalIds => {
                let local_id = record.get_str("localId").map_err(|e| StoreError::Internal(e.to_string()))?;
                self.local_ids.insert(&local_key(client, local_id)[..], record.as_bytes()).map_err(failed)?;
                Ok(())
            }
            Part::Account | Part::Sessions => Ok(()),
        }
    }

    fn put_receipt(&mut self, client: &ClientId, record: &RawDocument) -> Result<(), StoreError> {
        let unreadable = |e: bson::error::Error| StoreError::Internal(e.to_string());
        let record = bare_receipt(record)?;
        let key = record.get_str("key").map_err(unreadable)?;
        let age = record.get_datetime("createdAt").map_err(unreadable)?.timestamp_millis();
        let key = [&client_key(client)[..], key.as_bytes()].concat();
        self.receipts.insert(&key[..], record.as_bytes()).map_err(failed)?;
        self.receipt_ages.insert((age, &key[..]), ()).map_err(failed)?;
        Ok(())
    }
}

fn out_of_step(client: &ClientId, collection: Collection, record: &RawDocument, why: String) -> Finding {
    let id = record.get_object_id("_id").map(|id| id.to_hex()).ok();
    Finding::of(Severity::Problem, client, collection.name(), id, why)
}

/// Takes in the clients of a table's keys, with one look-up for each.
fn add_clients<V: redb::Value + 'static>(
    table: &impl ReadableTable<&'static [u8], V>,
    clients: &mut BTreeSet<ClientId>,
) -> Result<(), StoreError> {
    let mut from = Vec::new();
    while let Some(entry) = table.range::<&[u8]>(&from[..]..).map_err(failed)?.next() {
        let (key, _) = entry.map_err(failed)?;
        let Some(client) = key.value().first_chunk::<12>() else {
            return Err(StoreError::Internal("a key is too short for a client".to_owned()));
        };
        clients.insert(ClientId::for_operator(ObjectId::from_bytes(*client)));
        let Some(next) = after(client) else { break };
        from = next.to_vec();
    }
    Ok(())
}

/// Whether a key begins with a prefix.
fn has_any<V: redb::Value + 'static>(
    table: &impl ReadableTable<&'static [u8], V>,
    prefix: &[u8],
) -> Result<bool, StoreError> {
    let first = table.range::<&[u8]>(prefix..).map_err(failed)?.next().transpose().map_err(failed)?;
    Ok(first.is_some_and(|(key, _)| key.value().starts_with(prefix)))
}

/// Shows what lies under the keys that begin with a prefix: the rest of each key, and its value.
fn visit_prefix<V: redb::Value + 'static>(
    table: &impl ReadableTable<&'static [u8], V>,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], V::SelfType<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in table.range::<&[u8]>(prefix..).map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        let Some(rest) = key.value().strip_prefix(prefix) else { break };
        visit(rest, value.value())?;
    }
    Ok(())
}

/// The first client after this one.
fn after(client: &[u8; 12]) -> Option<[u8; 12]> {
    let mut next = *client;
    for byte in next.iter_mut().rev() {
        let (raised, carries) = byte.overflowing_add(1);
        *byte = raised;
        if !carries {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_after_one_is_the_next_number() {
        assert_eq!(after(&[0; 12]).unwrap()[11], 1);
        assert_eq!(after(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]), Some([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
        assert_eq!(after(&[255; 12]), None);
    }
}
