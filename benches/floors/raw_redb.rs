//! redb by itself, with the very rows of the embedded engine: what any store on redb must do at least.

use std::collections::BTreeMap;
use std::path::Path;

use bson::oid::ObjectId;
use divan::black_box;
use redb::{Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value};
use tempfile::TempDir;
use viveka_sync::dataset::Records;
use viveka_sync::model::{ClientId, Collection};

use crate::testing::scratch;

/// The rows of the tables that commits write to, as bytes.
#[derive(Clone)]
pub struct Rows([BTreeMap<Vec<u8>, Vec<u8>>; 8]);

impl Rows {
    /// All that the embedded engine has put into the file in a directory, which it must have closed.
    pub fn of(directory: &Path) -> Self {
        type Bytes = &'static [u8];
        let database = Database::open(directory.join("viveka-sync.redb")).expect("a closed store");
        let read = database.begin_read().expect("a readable store");
        Self([
            rows::<Bytes, Bytes>(&read, "records"),
            rows::<Bytes, (i64, i64)>(&read, "clients"),
            rows::<Bytes, Bytes>(&read, "receipts"),
            rows::<(i64, Bytes), ()>(&read, "receipt_ages"),
            rows::<Bytes, Bytes>(&read, "local_ids"),
            rows::<Bytes, ()>(&read, "invoice_numbers"),
            rows::<Bytes, ()>(&read, "purchased_invoices"),
            rows::<Bytes, Bytes>(&read, "commits"),
        ])
    }

    /// Those that are new or different.
    pub fn since(mut self, before: &Self) -> Self {
        for (rows, before) in self.0.iter_mut().zip(&before.0) {
            rows.retain(|key, value| before.get(key) != Some(value));
        }
        self
    }

    /// The records among them; of several clients, those of the last.
    pub fn records(&self) -> Records {
        let record = |(key, record): (&Vec<u8>, &Vec<u8>)| {
            let id = key[13..].try_into().expect("client, collection, id");
            ((Collection::ALL[usize::from(key[12])], ObjectId::from_bytes(id)), record.clone())
        };
        self.0[RECORDS].iter().map(record).collect()
    }
}

fn rows<K: Key + 'static, V: Value + 'static>(read: &ReadTransaction, name: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let table = read.open_table(TableDefinition::<K, V>::new(name)).expect("a table of the embedded engine");
    let row = |entry: Result<(redb::AccessGuard<'_, K>, redb::AccessGuard<'_, V>), _>| {
        let (key, value) = entry.expect("a readable row");
        (K::as_bytes(&key.value()).as_ref().to_vec(), V::as_bytes(&value.value()).as_ref().to_vec())
    };
    table.iter().expect("a readable table").map(row).collect()
}

/// A file with tables of plain bytes.
pub struct RawFile {
    database: Database,
    _directory: TempDir,
}

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const RECORDS: usize = 0;
const TABLES: [Table; 8] = [
    Table::new("0"),
    Table::new("1"),
    Table::new("2"),
    Table::new("3"),
    Table::new("4"),
    Table::new("5"),
    Table::new("6"),
    Table::new("7"),
];

impl RawFile {
    /// A new one with these rows.
    pub fn with(rows: &Rows) -> Self {
        let directory = scratch::fresh_dir("redb-");
        // As much memory as the embedded engine gives it.
        let database = Database::builder().set_cache_size(32 << 20).create(directory.path().join("rows.redb"));
        let file = Self { database: database.expect("a new file"), _directory: directory };
        file.insert(rows, |_, key| key.to_vec());
        file
    }

    /// Commits rows: those that are in the file since `before` again, the others under keys that no round before
    /// this one had.
    pub fn commit(&self, rows: &Rows, before: &Rows, round: u32) {
        self.insert(
            rows,
            |table, key| if before.0[table].contains_key(key) { key.to_vec() } else { moved(key, round) },
        );
    }

    /// Looks at all records of a client, and says how many they are.
    pub fn scan(&self, client: &ClientId) -> usize {
        let read = self.database.begin_read().expect("a readable file");
        let table = read.open_table(TABLES[RECORDS]).expect("a table");
        let client = client.object_id().bytes();
        let (first, last) = ([&client[..], &[0; 13]].concat(), [&client[..], &[255; 13]].concat());
        let range = table.range::<&[u8]>(&first[..]..=&last[..]).expect("a readable table");
        range.fold(0, |found, entry| {
            black_box(entry.expect("a readable row").1.value());
            found + 1
        })
    }

    fn insert(&self, rows: &Rows, key_of: impl Fn(usize, &[u8]) -> Vec<u8>) {
        let mut write = self.database.begin_write().expect("a writable file");
        // As the embedded engine commits.
        write.set_quick_repair(true);
        for (number, rows) in rows.0.iter().enumerate() {
            let mut table = write.open_table(TABLES[number]).expect("a table");
            for (key, value) in rows {
                table.insert(&key_of(number, key)[..], &value[..]).expect("room for a row");
            }
        }
        write.commit().expect("a writable file");
    }
}

/// A key a little behind this one, as the next ids and numbers are.
fn moved(key: &[u8], round: u32) -> Vec<u8> {
    const ROWS_OF_A_ROUND: u32 = 1024;
    let (head, tail) = key.split_last_chunk::<4>().expect("no key is as short");
    let tail = u32::from_be_bytes(*tail).wrapping_add((round + 1) * ROWS_OF_A_ROUND);
    [head, &tail.to_be_bytes()].concat()
}
