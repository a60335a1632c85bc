//! Whose records others have written to, by entries of the oplog.
//!
//! The entries' format: MongoDB's source, `repl/oplog_entry.idl`, and `update/document_diff_serialization.h` for what an
//! update leaves there. What is not understood counts as a write to everyone's records.

use std::collections::BTreeMap;

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::error::Result;
use mongodb::{Cursor, Database};

use super::super::CLIENTS;
use super::super::dataset::At;
use super::super::find::{find, in_few_batches};
use super::super::question::object_id;
use super::Oplog;
use crate::model::Collection;

/// Whose records others have written to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Touched {
    /// It may be anybody.
    pub everyone: bool,
    pub clients: Vec<ObjectId>,
    /// Records whose owners have to be looked up.
    records: BTreeMap<Collection, Vec<Bson>>,
}

/// Finds the entries after a time that may say that others wrote to clients' records.
pub(super) fn others(db: &Database, after: u64) -> Document {
    let collections = Collection::ALL.map(|collection| namespace(db, collection.name()));
    let commands = [namespace(db, "$cmd"), "admin.$cmd".to_owned()];
    doc! {
        "ts": { "$gt": At::of(after).0 },
        "$or": [
            { "ns": { "$in": &collections } },
            // A transaction. Those of servers like this one write clients' own documents first.
            { "op": "c", "o.applyOps.ns": { "$in": &collections }, "o.applyOps.0.ns": { "$ne": namespace(db, CLIENTS) } },
            // The last entry of a transaction that has several. What the others say holds from here on.
            { "op": "c", "o.count": { "$exists": true } },
            // A collection is dropped, renamed, ..
            { "op": "c", "o.applyOps": { "$exists": false }, "ns": { "$in": &commands[..] } },
        ],
    }
}

fn namespace(db: &Database, collection: &str) -> String {
    format!("{}.{collection}", db.name())
}

impl Touched {
    /// The most records of a collection whose owners are looked up.
    const MOST_RECORDS: usize = 1000;
    /// The most writes that are told from each other.
    pub const MOST_WRITES: usize = 10_000;

    /// What is looked at of an entry, and of each write of a transaction.
    pub fn fields() -> Document {
        let write = [
            "op",
            "ns",
            "o._id",
            "o.clientId",
            "o.diff.u.clientId",
            "o.diff.i.clientId",
            "o.diff.d.clientId",
            "o2._id",
        ];
        let in_transactions = write.iter().map(|field| format!("o.applyOps.{field}"));
        let own = ["ts", "o.count", "o.partialTxn", "o.prepare"].into_iter().chain(write).map(str::to_owned);
        own.chain(in_transactions).map(|field| (field, Bson::Int32(1))).collect()
    }

    /// Those whose records others have written to by these entries, of which `then` was the last.
    pub async fn by(db: &Database, mut entries: Cursor<Document>, then: At) -> Result<Self> {
        let (mut touched, mut writes) = (Self::default(), 0);
        while let Some(entry) = entries.try_next().await?.filter(|_| !touched.everyone) {
            writes += transaction(&entry).map_or(1, |writes| writes.len());
            touched.take(db.name(), &entry);
            touched.everyone |= writes >= Self::MOST_WRITES;
        }
        touched.look_up_owners(db, then).await?;
        Ok(touched)
    }

    /// Takes in what an entry says, or one of the writes of a transaction.
    fn take(&mut self, db: &str, entry: &Document) {
        if let Some(writes) = transaction(entry) {
            return writes.iter().for_each(|write| match write.as_document() {
                Some(write) => self.take(db, write),
                None => self.everyone = true,
            });
        }
        let name = entry.get_str("ns").ok().and_then(|namespace| namespace.strip_prefix(db)?.strip_prefix('.'));
        let collection = Collection::ALL.into_iter().find(|collection| Some(collection.name()) == name);
        let written = entry.get_document("o").ok();
        match (entry.get_str("op"), collection, written) {
            // Something else in the same transaction.
            (Ok("i" | "u" | "d"), None, _) => {}
            (Ok("i"), Some(_), Some(written)) => match written.get_object_id("clientId") {
                Ok(client) => self.clients.push(client),
                Err(_) => self.everyone = true,
            },
            (Ok("u"), Some(collection), Some(written)) if keeps_its_owner(written) => {
                let id = entry.get_document("o2").ok().and_then(|record| record.get("_id"));
                self.look_up_later(collection, id);
            }
            // Whose a record was that is gone, or was replaced, is not said; and what else there is, is not understood.
            _ => self.everyone = true,
        }
    }

    fn look_up_later(&mut self, collection: Collection, id: Option<&Bson>) {
        let records = self.records.entry(collection).or_default();
        match id {
            Some(id) if records.contains(id) => {}
            Some(id) if records.len() < Self::MOST_RECORDS => records.push(id.clone()),
            _ => self.everyone = true,
        }
    }

    /// Looks up whose they were then: what has changed since is looked at later.
    async fn look_up_owners(&mut self, db: &Database, then: At) -> Result<()> {
        for (collection, ids) in std::mem::take(&mut self.records) {
            if self.everyone {
                break;
            }
            let (mut owners, records) = (Vec::new(), ids.len());
            let mut options = in_few_batches();
            options.projection = Some(doc! { "clientId": 1, "_id": 0 });
            options.max_time = Some(Oplog::PATIENCE);
            let note_owner = |record: &RawDocument| owners.extend(object_id(record, "clientId"));
            let mut session = db.client().start_session().snapshot(true).snapshot_time(then.0).await?;
            find(db, Some(&mut session), collection.name(), doc! { "_id": { "$in": ids } }, options, note_owner)
                .await?;
            self.everyone |= owners.len() < records;
            self.clients.extend(owners);
        }
        Ok(())
    }
}

/// The writes of a transaction that has one entry. A part of a transaction holds only from its last entry on.
fn transaction(entry: &Document) -> Option<&bson::Array> {
    let written = entry.get_document("o").ok().filter(|_| entry.get_str("op").is_ok_and(|op| op == "c"))?;
    let is_part = ["count", "partialTxn", "prepare"].iter().any(|part| written.contains_key(part));
    written.get_array("applyOps").ok().filter(|_| !is_part)
}

/// Whether an update changed some fields of a record, and not its owner.
fn keeps_its_owner(written: &Document) -> bool {
    let is_replaced = written.contains_key("_id");
    let changes = |diff: &Document| diff.values().any(|part| part.as_document().is_none_or(|part| !part.is_empty()));
    !is_replaced && written.get_document("diff").is_ok_and(|diff| !changes(diff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes([byte; 12])
    }

    fn touched(entry: &Document) -> Touched {
        let mut touched = Touched::default();
        touched.take("shop", entry);
        touched
    }

    fn update(written: Document) -> Document {
        doc! { "op": "u", "ns": "shop.items", "o": written, "o2": { "_id": id(5) } }
    }

    #[test]
    fn an_insert_says_whose_it_is() {
        let insert = |client: Bson| doc! { "op": "i", "ns": "shop.items", "o": { "clientId": client } };
        assert_eq!(touched(&insert(id(1).into())), Touched { clients: vec![id(1)], ..Touched::default() });
        for unclear in [Bson::Null, Bson::String("01".repeat(12)), vec![id(1), id(2)].into()] {
            assert!(touched(&insert(unclear.clone())).everyone, "{unclear}");
        }
    }

    #[test]
    fn whose_a_changed_record_is_has_to_be_looked_up() {
        let looked_up =
            Touched { records: BTreeMap::from([(Collection::Items, vec![id(5).into()])]), ..Touched::default() };
        assert_eq!(touched(&update(doc! { "diff": { "u": {} } })), looked_up);
        assert_eq!(touched(&update(doc! { "diff": { "i": {}, "d": {} } })), looked_up);
        for unclear in [
            doc! { "diff": { "u": { "clientId": id(2) } } },
            doc! { "diff": { "u": {}, "i": { "clientId": id(2) } } },
            doc! { "diff": { "d": { "clientId": false } } },
            doc! { "_id": id(5), "clientId": id(1) },
            doc! { "_id": id(5), "clientId": id(1), "diff": { "u": {} } },
            doc! {},
        ] {
            assert!(touched(&update(unclear.clone())).everyone, "{unclear}");
        }
    }

    #[test]
    fn an_insert_with_a_list_of_that_name_is_no_transaction() {
        let entry = doc! { "op": "i", "ns": "shop.items", "o": { "clientId": id(1), "applyOps": [{ "op": "i" }] } };
        assert_eq!(touched(&entry), Touched { clients: vec![id(1)], ..Touched::default() });
    }

    #[test]
    fn what_is_not_understood_is_everyones() {
        let record = doc! { "_id": id(5) };
        for unclear in [
            doc! { "op": "d", "ns": "shop.items", "o": record.clone() },
            doc! { "op": "c", "ns": "shop.$cmd", "o": {} },
            doc! { "op": "x", "ns": "shop.items", "o": record },
            doc! { "ns": "shop.items", "o": {} },
            doc! { "op": "i", "ns": "shop.items" },
            doc! { "op": "u", "ns": "shop.items", "o": { "diff": {} } },
            doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [1] } },
            doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [], "partialTxn": true } },
            doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [], "count": 3_i64 } },
            doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [], "prepare": true } },
        ] {
            assert!(touched(&unclear).everyone, "{unclear}");
        }
    }

    #[test]
    fn a_transaction_is_what_it_has_written() {
        let writes = vec![
            doc! { "op": "i", "ns": "shop.other", "o": { "clientId": id(9) } },
            doc! { "op": "i", "ns": "shopping.items", "o": { "clientId": id(9) } },
            doc! { "op": "i", "ns": "shop.payments", "o": { "clientId": id(1) } },
            update(doc! { "diff": { "u": {} } }),
        ];
        let entry = doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": writes } };
        let records = BTreeMap::from([(Collection::Items, vec![id(5).into()])]);
        assert_eq!(touched(&entry), Touched { everyone: false, clients: vec![id(1)], records });
    }

    #[test]
    fn a_record_is_looked_up_once_and_too_many_are_not() {
        let change = |id: ObjectId| doc! { "op": "u", "ns": "shop.items", "o": { "diff": {} }, "o2": { "_id": id } };
        let mut touched = Touched::default();
        (0..3).for_each(|_| touched.take("shop", &change(id(5))));
        assert_eq!(touched.records[&Collection::Items].len(), 1);
        (0..Touched::MOST_RECORDS).for_each(|_| touched.take("shop", &change(clock::new_id())));
        assert!(touched.everyone);
    }
}
