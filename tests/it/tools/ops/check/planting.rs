//! What is wrong on purpose: a store's records are taken out, changed, and put back.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc, oid::ObjectId};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use viveka_sync::model::Collection;

use super::command::PATIENCE;
use crate::harness::{Engine, Setup, block_on, database_at, eventually};

/// One thing that is done to a store behind its back, and what the check must say of it.
pub struct Fault {
    pub what: &'static str,
    pub place: Place,
    /// Changes the first record for which it does not say [`Fate::Skip`].
    pub edit: fn(&mut Document) -> Fate,
    pub severity: &'static str,
    pub said: &'static str,
}

#[derive(Clone, Copy)]
pub enum Place {
    Data(Collection),
    Receipts,
    LocalIds,
    Counters,
}

pub enum Fate {
    Skip,
    Replace,
    Remove,
    /// The changed record comes beside the one that is there.
    Twin,
}

/// All records of one place in a store, by their keys.
#[derive(Clone)]
pub struct Held(pub BTreeMap<Vec<u8>, Document>);

type Bytes<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
const COUNTERS: TableDefinition<'_, &[u8], (i64, i64)> = TableDefinition::new("clients");

/// Changes these fields.
pub fn set(record: &mut Document, fields: Document) -> Fate {
    record.extend(fields);
    Fate::Replace
}

impl Place {
    pub fn collection(self) -> &'static str {
        match self {
            Self::Data(collection) => collection.name(),
            Self::Receipts => "syncreceipts",
            Self::LocalIds => "synclocalids",
            Self::Counters => "syncclients",
        }
    }

    pub fn table(self) -> Bytes<'static> {
        TableDefinition::new(match self {
            Self::Data(_) => "records",
            Self::Receipts => "receipts",
            Self::LocalIds => "local_ids",
            Self::Counters => unreachable!("it has another type"),
        })
    }

    /// Whether a key of the table is of this place.
    fn has(self, key: &[u8]) -> bool {
        match self {
            Self::Data(collection) => key[12] == collection as u8,
            _ => true,
        }
    }
}

/// The file of a store that no server has open.
pub fn open(setup: &Setup) -> redb::Database {
    let path = setup.directory().join("viveka-sync.redb");
    eventually("nobody has the file open", PATIENCE, || redb::Database::open(&path).ok())
}

impl Held {
    /// What is there now.
    pub fn take(engine: Engine, setup: &Setup, place: Place) -> Self {
        if engine.topology().is_some() {
            return Self(block_on(async {
                let collection = database_at(setup).await.collection::<Document>(place.collection());
                let all: Vec<Document> =
                    collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
                (0_u32..).zip(all).map(|(index, record)| (index.to_be_bytes().to_vec(), record)).collect()
            }));
        }
        let transaction = open(setup).begin_read().unwrap();
        if let Place::Counters = place {
            let table = transaction.open_table(COUNTERS).unwrap();
            let entries = table.iter().unwrap().map(Result::unwrap);
            return Self(
                entries
                    .map(|(key, value)| {
                        let (revision, next) = value.value();
                        (key.value().to_vec(), doc! { "revision": revision, "nextInvoice": next })
                    })
                    .collect(),
            );
        }
        let table = transaction.open_table(place.table()).unwrap();
        let entries = table.iter().unwrap().map(Result::unwrap);
        let entries = entries.map(|(key, value)| (key.value().to_vec(), Document::from_reader(value.value()).unwrap()));
        Self(entries.filter(|(key, _)| place.has(key)).collect())
    }

    /// The same with one fault.
    pub fn edited(&self, fault: &Fault, client: &str) -> Self {
        let mut after = self.clone();
        for (key, record) in &self.0 {
            let mut edited = record.clone();
            match (fault.edit)(&mut edited) {
                Fate::Skip => continue,
                Fate::Replace => drop(after.0.insert(key.clone(), edited)),
                Fate::Remove => drop(after.0.remove(key)),
                Fate::Twin => {
                    let id = ObjectId::new();
                    edited.insert("_id", id);
                    edited.insert("clientId", ObjectId::parse_str(client).unwrap());
                    let mut key = key.clone();
                    match key.len() {
                        25 => key[13..].copy_from_slice(&id.bytes()),
                        _ => key.push(1),
                    }
                    after.0.insert(key, edited);
                }
            }
            return after;
        }
        panic!("{}: there is no such record", fault.what)
    }

    /// Makes this all that is in the place.
    pub fn put(&self, engine: Engine, setup: &Setup, place: Place) {
        if engine.topology().is_some() {
            return block_on(async {
                let collection = database_at(setup).await.collection::<Document>(place.collection());
                collection.delete_many(doc! {}).await.unwrap();
                if !self.0.is_empty() {
                    collection.insert_many(self.0.values()).await.unwrap();
                }
            });
        }
        let transaction = open(setup).begin_write().unwrap();
        if let Place::Counters = place {
            let mut table = transaction.open_table(COUNTERS).unwrap();
            table.retain(|_, _| false).unwrap();
            for (key, record) in &self.0 {
                let counters = (record.get_i64("revision").unwrap(), record.get_i64("nextInvoice").unwrap());
                table.insert(&key[..], counters).unwrap();
            }
        } else {
            let mut table = transaction.open_table(place.table()).unwrap();
            table.retain(|key, _| !place.has(key)).unwrap();
            for (key, record) in &self.0 {
                table.insert(&key[..], &record.to_vec().unwrap()[..]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}
