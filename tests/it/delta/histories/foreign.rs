//! A program that writes to the database and knows nothing of revisions.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::Value;

use crate::delta::copy::LISTS;
use crate::harness::{OtherProgram, Setup};
use crate::history::author::Author;
use crate::history::books::list;

/// One that writes at random.
pub struct ForeignWriter(OtherProgram);

/// A record that another program has touched, and what a full answer must say of it from then on.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The record's id.
    pub id: String,
    /// The list that it is in.
    pub list: &'static str,
    /// A field and what it must be, or the record is gone.
    pub shows: Option<(&'static str, String)>,
}

impl ForeignWriter {
    /// A writer to the database of these servers.
    pub fn new(setup: &Setup) -> Self {
        Self(OtherProgram::at(setup))
    }

    /// Inserts, changes or deletes a record of this client, of whom this is known.
    pub fn write(&self, author: &mut Author, client: &str, data: &Value, number: usize) -> Touch {
        let known: Vec<_> =
            LISTS.into_iter().flat_map(|name| list(&data[name]).iter().map(move |record| (name, record))).collect();
        let text = format!("foreign {number}");
        if known.is_empty() || author.one_in(2) {
            let client = ObjectId::parse_str(client).expect("an id");
            let (list, collection) = author.pick(&COLLECTIONS);
            let record = doc! {
                "_id": ObjectId::new(), "clientId": client, "name": &text, "price": 2.5, "stock": 50.0, "note": &text,
                "description": &text, "notes": &text, "extra": &text, "totalAmount": 10.0, "paidAmount": 0.0,
            };
            let id = record.get_object_id("_id").expect("an id").to_hex();
            self.run(self.0.db.collection(collection).insert_one(record));
            return Touch { id, list, shows: Some(("extra", text)) };
        }
        let (list, record) = author.pick(&known);
        let id = record["_id"].as_str().expect("an id").to_owned();
        let (_, collection) = COLLECTIONS.into_iter().find(|(name, _)| *name == list).expect("a list");
        let (records, one) =
            (self.0.db.collection::<Document>(collection), doc! {"_id": ObjectId::parse_str(&id).expect("an id")});
        if author.one_in(3) {
            self.run(records.delete_one(one));
            return Touch { id, list, shows: None };
        }
        self.run(records.update_one(one, doc! {"$set": {"extra": &text}}));
        Touch { id, list, shows: Some(("extra", text)) }
    }

    fn run<T: Send>(&self, action: impl IntoFuture<Output = mongodb::error::Result<T>>) {
        self.0.run(action).expect("the database takes it");
    }
}

/// The lists of an answer with the collections that they are kept in.
const COLLECTIONS: [(&str, &str); 6] = [
    ("itemGroups", "itemgroups"),
    ("items", "items"),
    ("clientCustomers", "clientcustomers"),
    ("invoices", "invoices"),
    ("payments", "payments"),
    ("purchaseHistory", "purchasehistories"),
];
