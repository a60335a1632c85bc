//! The tables of the file. Every key starts with the client's id, so that no range crosses clients.

pub(super) mod whole;

use std::collections::{BTreeSet, HashSet};

use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use bson::raw::RawDocument;
use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, Value,
    WriteTransaction,
};

use super::super::StoreError;
use super::super::records::{self, Change, ChangeKind, decode, encode, named_by_local_ids};
use super::entry::{Entry, Finder, KeptReceipt, Row};
use super::{account, failed};
use crate::clock;
use crate::failpoint::{self, Point};
use crate::model::{ClientId, Collection, IdempotencyKey, InvoiceId, Lineage, LocalId, Revision, StoreId};
use crate::plan::{LocalRecord, NumberSearch, ReadSet, Snapshot, StoredReceipt};

/// Client, collection, `_id` -> the record, the same BSON as in MongoDB.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Client -> revision and number of the next invoice.
const CLIENTS: TableDefinition<'_, &[u8], (i64, i64)> = TableDefinition::new("clients");
/// Client, idempotency key -> the receipt as BSON.
const RECEIPTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("receipts");
/// Milliseconds of the commit, then the receipt's key: finds old receipts.
const RECEIPT_AGES: TableDefinition<'_, (i64, &[u8]), ()> = TableDefinition::new("receipt_ages");
/// Client, local id -> what it stands for as BSON.
const LOCAL_IDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("local_ids");
/// Client, invoice number: taken numbers.
const NUMBERS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("invoice_numbers");
/// Client, invoice id: invoices that have a purchase history.
const PURCHASED: TableDefinition<'_, &[u8], ()> = TableDefinition::new("purchased_invoices");
/// Client -> which commits belong to which history.
const LINEAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("lineages");
/// Client, revision -> the collections and ids of the records that the commit made or changed.
const COMMITS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("commits");
/// The identity of this store.
const STORE: TableDefinition<'_, (), i64> = TableDefinition::new("store");

/// Makes the tables of a new file, so that readers find them. One that has them all is not written, so that it can
/// be opened on a disk that is full.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let reading = database.begin_read()?;
    match Tables::open(&reading) {
        Ok(_) if account::is_made(&reading) => Ok(()),
        _ => make(database),
    }
}

fn make(database: &Database) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(RECORDS)?;
    transaction.open_table(CLIENTS)?;
    transaction.open_table(RECEIPTS)?;
    transaction.open_table(RECEIPT_AGES)?;
    transaction.open_table(LOCAL_IDS)?;
    transaction.open_table(NUMBERS)?;
    transaction.open_table(PURCHASED)?;
    transaction.open_table(LINEAGES)?;
    transaction.open_table(COMMITS)?;
    account::make(&transaction)?;
    let mut store = transaction.open_table(STORE)?;
    if store.get(())?.is_none() {
        store.insert((), clock::new_tag().0)?;
    }
    drop(store);
    Ok(transaction.commit()?)
}

/// Which store this is.
pub(super) fn store_id(transaction: &ReadTransaction) -> Result<StoreId, redb::Error> {
    let stored = transaction.open_table(STORE)?.get(())?;
    Ok(StoreId(stored.map_or(0, |id| id.value())))
}

/// The table of the records.
pub(super) fn records(
    transaction: &ReadTransaction,
) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
    transaction.open_table(RECORDS).map_err(failed)
}

/// Where a client's books stand.
pub(super) fn state(transaction: &ReadTransaction, client: &ClientId) -> Result<(Revision, Lineage), StoreError> {
    let (revision, _) = counters(&transaction.open_table(CLIENTS).map_err(failed)?, client)?;
    Ok((revision, lineage(&transaction.open_table(LINEAGES).map_err(failed)?, client)?))
}

/// The records that the commits after one revision, up to another, made or changed, by the numbers of their
/// collections. `None` if a commit is not in the log, because another version of this program made it, or if they are
/// too many to be told one by one.
pub(super) fn changed_since(
    transaction: &ReadTransaction,
    client: &ClientId,
    since: Revision,
    until: Revision,
) -> Result<Option<BTreeSet<(u8, ObjectId)>>, StoreError> {
    const MOST: usize = 50_000;
    let commits = transaction.open_table(COMMITS).map_err(failed)?;
    let (first, last) = (commit_key(client, since.next()), commit_key(client, until));
    let (mut changed, mut found) = (BTreeSet::new(), 0);
    if since < until {
        for entry in commits.range::<&[u8]>(&first[..]..=&last[..]).map_err(failed)? {
            let (_, touched) = entry.map_err(failed)?;
            let (touched, _) = touched.value().as_chunks::<TOUCHED>();
            changed.extend(touched.iter().map(|[collection, id @ ..]| (*collection, ObjectId::from_bytes(*id))));
            found += 1;
            if changed.len() > MOST {
                return Ok(None);
            }
        }
    }
    Ok((found == until.0 - since.0).then_some(changed))
}

/// The bytes of one record in a row of [`COMMITS`].
const TOUCHED: usize = 13;

/// A transaction that tables can be opened in, for reading or for writing.
pub(super) trait Open {
    /// An open table.
    type Table<K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>;

    /// Opens one that [`create`] made.
    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<K, V>, TableError>;
}

impl Open for &ReadTransaction {
    type Table<K: Key + 'static, V: Value + 'static> = ReadOnlyTable<K, V>;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<K, V>, TableError> {
        self.open_table(table)
    }
}

impl<'txn> Open for &'txn WriteTransaction {
    type Table<K: Key + 'static, V: Value + 'static> = redb::Table<'txn, K, V>;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<K, V>, TableError> {
        self.open_table(table)
    }
}

/// All tables, open in one transaction.
pub(super) struct Tables<T: Open> {
    records: T::Table<&'static [u8], &'static [u8]>,
    clients: T::Table<&'static [u8], (i64, i64)>,
    receipts: T::Table<&'static [u8], &'static [u8]>,
    receipt_ages: T::Table<(i64, &'static [u8]), ()>,
    local_ids: T::Table<&'static [u8], &'static [u8]>,
    numbers: T::Table<&'static [u8], ()>,
    purchased: T::Table<&'static [u8], ()>,
    lineages: T::Table<&'static [u8], &'static [u8]>,
    commits: T::Table<&'static [u8], &'static [u8]>,
    _store: T::Table<(), i64>,
}

/// All tables, open for writing.
pub(super) type WritableTables<'txn> = Tables<&'txn WriteTransaction>;

impl<T: Open> Tables<T> {
    /// Opens them in a transaction.
    pub fn open(transaction: T) -> Result<Self, StoreError> {
        Ok(Self {
            records: transaction.open(RECORDS).map_err(failed)?,
            clients: transaction.open(CLIENTS).map_err(failed)?,
            receipts: transaction.open(RECEIPTS).map_err(failed)?,
            receipt_ages: transaction.open(RECEIPT_AGES).map_err(failed)?,
            local_ids: transaction.open(LOCAL_IDS).map_err(failed)?,
            numbers: transaction.open(NUMBERS).map_err(failed)?,
            purchased: transaction.open(PURCHASED).map_err(failed)?,
            lineages: transaction.open(LINEAGES).map_err(failed)?,
            commits: transaction.open(COMMITS).map_err(failed)?,
            _store: transaction.open(STORE).map_err(failed)?,
        })
    }

    /// Which commits of a client belong to which history.
    pub fn lineage(&self, client: &ClientId) -> Result<Lineage, StoreError> {
        lineage(&self.lineages, client)
    }

    /// Whether the books that an entry rests on are as they were: at that revision, and without its receipt. (A batch that
    /// changes nothing leaves a receipt and no revision.)
    pub fn still_bear(&self, client: &ClientId, entry: &Entry) -> Result<bool, StoreError> {
        let (revision, _) = counters(&self.clients, client)?;
        let known = match &entry.kept {
            Some(receipt) => self.receipts.get(&receipt.key[..]).map_err(failed)?.is_some(),
            None => false,
        };
        Ok(revision == entry.before && !known)
    }

    /// A record of the dataset as a change leaves it.
    pub fn changed(
        &self,
        client: &ClientId,
        collection: Collection,
        change: Change<RawDocumentBuf>,
    ) -> Result<Vec<u8>, StoreError> {
        let stored = match change.kind {
            ChangeKind::Insert => None,
            ChangeKind::Set => {
                self.records.get(&record_key(client, collection, change.id.bytes())[..]).map_err(failed)?
            }
        };
        records::changed(change, stored.as_ref().map(|stored| stored.value()))
    }

    /// Loads what a planner reads.
    pub fn load(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError> {
        let (revision, next_invoice) = counters(&self.clients, client)?;
        let mut snapshot = Snapshot { revision, next_invoice, ..Snapshot::default() };
        for local_id in &reads.local_ids {
            if let Some(known) = self.local_id(client, local_id)? {
                snapshot.local_ids.insert(local_id.clone(), known);
            }
        }
        let (items, invoices) = named_by_local_ids(&snapshot, reads);
        for id in items {
            if let Some(item) = self.read(client, Collection::Items, id.0, records::stored_item)? {
                snapshot.items.insert(id, item);
            }
        }
        for id in invoices {
            let has_purchase = self.has_purchase(client, id)?;
            let decode = |record: &RawDocument| records::stored_invoice(record, has_purchase);
            if let Some(invoice) = self.read(client, Collection::Invoices, id.0, decode)? {
                snapshot.invoices.insert(id, invoice);
            }
        }
        snapshot.groups = self.existing(client, Collection::ItemGroups, reads.groups.iter().map(|id| id.0))?;
        snapshot.customers =
            self.existing(client, Collection::ClientCustomers, reads.customers.iter().map(|id| id.0))?;
        snapshot.taken_numbers = self.taken_numbers(client, next_invoice, reads.free_numbers)?;
        for key in &reads.receipts {
            if let Some(receipt) = self.receipt(client, key)? {
                snapshot.receipts.insert(key.clone(), receipt);
            }
        }
        Ok(snapshot)
    }

    fn read<R>(
        &self,
        client: &ClientId,
        collection: Collection,
        id: ObjectId,
        decode: impl FnOnce(&RawDocument) -> R,
    ) -> Result<Option<R>, StoreError> {
        let record = self.records.get(&record_key(client, collection, id.bytes())[..]).map_err(failed)?;
        record.map(|record| raw(record.value()).map(decode)).transpose()
    }

    fn existing<Id: From<ObjectId> + Eq + std::hash::Hash>(
        &self,
        client: &ClientId,
        collection: Collection,
        ids: impl Iterator<Item = ObjectId>,
    ) -> Result<HashSet<Id>, StoreError> {
        let found = ids.map(|id| Ok(self.read(client, collection, id, |_| ())?.map(|()| id.into())));
        found.filter_map(Result::transpose).collect()
    }

    fn has_purchase(&self, client: &ClientId, invoice: InvoiceId) -> Result<bool, StoreError> {
        Ok(self.purchased.get(&purchased_key(client, invoice)[..]).map_err(failed)?.is_some())
    }

    fn taken_numbers(&self, client: &ClientId, next: i64, free: usize) -> Result<HashSet<String>, StoreError> {
        let mut search = NumberSearch::new(next, free);
        while let Some(window) = search.window() {
            let mut taken = Vec::new();
            for number in window {
                if self.numbers.get(&number_key(client, &number)[..]).map_err(failed)?.is_some() {
                    taken.push(number);
                }
            }
            search.found(taken);
        }
        Ok(search.into_taken())
    }

    fn receipt(&self, client: &ClientId, key: &IdempotencyKey) -> Result<Option<StoredReceipt>, StoreError> {
        let stored = self.receipts.get(&receipt_key(client, key)[..]).map_err(failed)?;
        stored.map(|receipt| decode(receipt.value())).transpose()
    }

    fn local_id(&self, client: &ClientId, local_id: &LocalId) -> Result<Option<LocalRecord>, StoreError> {
        let stored = self.local_ids.get(&local_key(client, local_id.as_str())[..]).map_err(failed)?;
        stored.map(|record| decode(record.value())).transpose()
    }
}

impl WritableTables<'_> {
    /// Writes all rows of an entry that are records of the client, or lead to them.
    pub fn write(&mut self, client: &ClientId, entry: &Entry) -> Result<(), StoreError> {
        for ((collection, id), row) in &entry.records {
            self.write_record(client, *collection, *id, row)?;
            failpoint::reached(Point::MidApply);
        }
        for finder in &entry.finders {
            self.write_finder(client, finder)?;
        }
        for (key, record) in &entry.local_ids {
            let replaced = self.local_ids.insert(&key[..], &record[..]).map_err(failed)?.is_some();
            refuse_if(replaced, || "of a local id".to_owned())?;
        }
        Ok(())
    }

    /// Writes a record of the dataset.
    pub fn write_record(
        &mut self,
        client: &ClientId,
        collection: Collection,
        id: ObjectId,
        row: &Row,
    ) -> Result<(), StoreError> {
        let key = record_key(client, collection, id.bytes());
        let replaced = self.records.insert(&key[..], &row.bytes[..]).map_err(failed)?.is_some();
        refuse_if(replaced && row.is_new, || id.to_hex())
    }

    /// Writes what finds a record.
    pub fn write_finder(&mut self, client: &ClientId, finder: &Finder) -> Result<(), StoreError> {
        match finder {
            Finder::Number(number) => self.numbers.insert(&number_key(client, number)[..], ()).map_err(failed)?,
            Finder::Purchase(invoice) => {
                self.purchased.insert(&purchased_key(client, *invoice)[..], ()).map_err(failed)?
            }
        };
        Ok(())
    }

    /// Keeps which records a commit made or changed.
    pub fn log_commit(&mut self, client: &ClientId, entry: &Entry) -> Result<(), StoreError> {
        let revision = entry.receipt.revision;
        let mut touched = Vec::with_capacity(entry.records.len() * TOUCHED);
        for (collection, id) in entry.records.keys() {
            touched.push(*collection as u8);
            touched.extend(id.bytes());
        }
        self.commits.insert(&commit_key(client, revision)[..], &touched[..]).map_err(failed)?;
        Ok(())
    }

    /// Keeps which commits of a client belong to which history.
    pub fn set_lineage(&mut self, client: &ClientId, lineage: &Lineage) -> Result<(), StoreError> {
        let bytes = encode(&bson::doc! { "branches": records::bson(lineage)? })?;
        self.lineages.insert(&client_key(client)[..], &bytes[..]).map_err(failed)?;
        Ok(())
    }

    /// Sets the client's revision and the number of its next invoice.
    pub fn set_counters(&mut self, client: &ClientId, revision: Revision, next_invoice: i64) -> Result<(), StoreError> {
        self.clients.insert(&client_key(client)[..], (revision.0, next_invoice)).map_err(failed)?;
        Ok(())
    }

    /// Keeps a receipt under its key.
    pub fn remember(&mut self, receipt: &KeptReceipt) -> Result<(), StoreError> {
        self.receipts.insert(&receipt.key[..], &receipt.bytes[..]).map_err(failed)?;
        self.receipt_ages.insert((receipt.age, &receipt.key[..]), ()).map_err(failed)?;
        Ok(())
    }
}

/// Removes old receipts, some at a time and once an hour, so that no batch waits long for it.
pub(super) struct ReceiptSweep {
    /// How long receipts are kept, in milliseconds; 0 keeps them for ever.
    keep: i64,
    /// When the next sweep is due, in milliseconds.
    due: i64,
}

impl ReceiptSweep {
    const HOUR: i64 = 3_600_000;
    const MOST: usize = 10_000;

    /// The first sweep is due at once.
    pub fn new(receipt_days: u32) -> Self {
        Self { keep: i64::from(receipt_days) * 24 * Self::HOUR, due: i64::MIN }
    }

    /// Removes what is too old, if it is time.
    pub fn run_if_due(&mut self, database: &Database) -> Result<(), StoreError> {
        let now = clock::now().date_time().timestamp_millis();
        if self.keep == 0 || now < self.due {
            return Ok(());
        }
        let mut transaction = database.begin_write().map_err(failed)?;
        transaction.set_quick_repair(true);
        let old = remove_receipts_before(now - self.keep, &mut Tables::open(&transaction)?)?;
        if old > 0 {
            transaction.commit().map_err(failed)?
        } else {
            transaction.abort().map_err(failed)?
        }
        // With more to remove the next batch goes on.
        self.due = if old < Self::MOST { now + Self::HOUR } else { now };
        Ok(())
    }
}

fn remove_receipts_before(age: i64, tables: &mut WritableTables<'_>) -> Result<usize, StoreError> {
    let mut old = Vec::new();
    for entry in tables.receipt_ages.range(..(age, &[][..])).map_err(failed)?.take(ReceiptSweep::MOST) {
        let (age, key) = {
            let entry = entry.map_err(failed)?;
            let (age, key) = entry.0.value();
            (age, key.to_vec())
        };
        old.push((age, key));
    }
    for (age, key) in &old {
        tables.receipt_ages.remove((*age, &key[..])).map_err(failed)?;
        tables.receipts.remove(&key[..]).map_err(failed)?;
    }
    Ok(old.len())
}

fn refuse_if(exists: bool, id: impl FnOnce() -> String) -> Result<(), StoreError> {
    if exists { Err(StoreError::Internal(format!("a record {} exists already", id()))) } else { Ok(()) }
}

/// A client's revision and the number of its next invoice.
fn counters(
    clients: &impl ReadableTable<&'static [u8], (i64, i64)>,
    client: &ClientId,
) -> Result<(Revision, i64), StoreError> {
    let stored = clients.get(&client_key(client)[..]).map_err(failed)?;
    let (revision, next_invoice) = stored.map_or((0, 1), |counters| counters.value());
    Ok((Revision(revision), next_invoice))
}

fn lineage(
    lineages: &impl ReadableTable<&'static [u8], &'static [u8]>,
    client: &ClientId,
) -> Result<Lineage, StoreError> {
    #[derive(serde::Deserialize)]
    struct Stored {
        branches: Lineage,
    }
    let stored = lineages.get(&client_key(client)[..]).map_err(failed)?;
    stored.map_or_else(|| Ok(Lineage::default()), |stored| Ok(decode::<Stored>(stored.value())?.branches))
}

fn client_key(client: &ClientId) -> [u8; 12] {
    client.object_id().bytes()
}

fn commit_key(client: &ClientId, revision: Revision) -> [u8; 20] {
    let mut key = [0; 20];
    key[..12].copy_from_slice(&client_key(client));
    key[12..].copy_from_slice(&revision.0.to_be_bytes());
    key
}

pub(super) fn record_key(client: &ClientId, collection: Collection, id: [u8; 12]) -> [u8; 25] {
    let mut key = [0; 25];
    key[..12].copy_from_slice(&client_key(client));
    // The number is part of the file's format: collections keep their places in the enum.
    key[12] = collection as u8;
    key[13..].copy_from_slice(&id);
    key
}

pub(super) fn receipt_key(client: &ClientId, key: &IdempotencyKey) -> Vec<u8> {
    [&client_key(client)[..], key.as_str().as_bytes()].concat()
}

pub(super) fn local_key(client: &ClientId, local_id: &str) -> Vec<u8> {
    [&client_key(client)[..], local_id.as_bytes()].concat()
}

fn number_key(client: &ClientId, number: &str) -> Vec<u8> {
    [&client_key(client)[..], number.as_bytes()].concat()
}

fn purchased_key(client: &ClientId, invoice: InvoiceId) -> Vec<u8> {
    [client_key(client), invoice.0.bytes()].concat()
}

fn raw(bytes: &[u8]) -> Result<&RawDocument, StoreError> {
    RawDocument::from_bytes(bytes).map_err(|e| StoreError::Internal(e.to_string()))
}
