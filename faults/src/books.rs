//! The books of a client: as the server shows them in a pull, and as the store holds them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::harness::block_on;
use crate::units::Units;

/// Everything of one client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Books {
    /// The client's commit counter.
    pub revision: i64,
    /// Its records, each list in `_id` order.
    pub items: Vec<Item>,
    pub invoices: Vec<Invoice>,
    pub payments: Vec<Payment>,
    pub purchases: Vec<Purchase>,
    /// What only the store knows; None in a pull.
    pub inside: Option<Inside>,
}

/// What a store keeps for itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inside {
    /// The revision of the receipt under each key.
    pub receipts: BTreeMap<String, i64>,
    /// Batches on a lone mongod that are decided and not applied.
    pub intents: usize,
    /// The revision that each record carries, by its id.
    pub revisions: HashMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    #[serde(rename = "_id")]
    pub id: String,
    pub client_id: String,
    pub local_id: Option<String>,
    pub name: String,
    pub price: Units,
    pub stock: Units,
    pub is_active: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    #[serde(rename = "_id")]
    pub id: String,
    pub client_id: String,
    pub local_id: Option<String>,
    pub invoice_number: String,
    pub notes: String,
    pub client_customer_id: Option<String>,
    pub total_amount: Units,
    pub paid_amount: Units,
    pub is_finalized: bool,
    pub products: Vec<SoldLine>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoldLine {
    pub product_id: String,
    pub cost_per_unit: Units,
    pub quantity: Units,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    #[serde(rename = "_id")]
    pub id: String,
    pub client_id: String,
    pub local_id: Option<String>,
    pub invoice_id: String,
    pub amount: Units,
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    #[serde(rename = "_id")]
    pub id: String,
    pub client_id: String,
    pub client_customer_id: String,
    pub invoice_id: String,
    pub total_amount: Units,
}

impl Books {
    /// The books that an answer shows.
    ///
    /// # Errors
    /// A record that is not as API.md says.
    pub fn pulled(answer: &Value) -> Result<Self, String> {
        let data = &answer["data"];
        Ok(Self {
            revision: answer["revision"].as_i64().ok_or("no revision")?,
            items: records(&data["items"])?,
            invoices: records(&data["invoices"])?,
            payments: records(&data["payments"])?,
            purchases: records(&data["purchaseHistory"])?,
            inside: None,
        })
    }

    /// The same as a pull would show.
    pub fn as_pulled(&self) -> Self {
        Self { inside: None, ..self.clone() }
    }

    /// The books of all clients as the collections of a MongoDB database hold them.
    ///
    /// # Errors
    /// The database does not answer, or holds what is no record.
    pub fn in_mongodb(url: &str, database: &str, clients: &[String]) -> Result<HashMap<String, Self>, String> {
        let mut found = HashMap::new();
        for client in clients {
            let documents = block_on(read_collections(url, database, client)).map_err(|error| error.to_string())?;
            found.insert(client.clone(), Self::stored(documents)?);
        }
        Ok(found)
    }

    /// The books of all clients as the embedded engine's file holds them. No server may have it open.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn in_file(path: &Path, clients: &[String]) -> Result<HashMap<String, Self>, String> {
        let documents = read_tables(path).map_err(|error| error.to_string())?;
        let of = |client: &String| {
            let own = |list: &[Document]| {
                let id = ObjectId::parse_str(client).expect("a client's id");
                list.iter()
                    .filter(|record| record.get_object_id("clientId").is_ok_and(|of| of == id))
                    .cloned()
                    .collect()
            };
            Ok((client.clone(), Self::stored(documents.iter().map(|(name, list)| (*name, own(list))).collect())?))
        };
        clients.iter().map(of).collect()
    }

    fn stored(mut documents: HashMap<&'static str, Vec<Document>>) -> Result<Self, String> {
        let mut inside = Inside::default();
        let mut take = |name: &str| {
            let mut list = documents.remove(name).unwrap_or_default();
            list.sort_by_key(|record| record.get_object_id("_id").ok());
            list
        };
        inside.intents = take(INTENTS).len();
        for receipt in take(RECEIPTS) {
            let revision = receipt.get_document("receipt").ok().and_then(|receipt| whole(receipt, "revision"));
            let revision = revision.or_else(|| whole(&receipt, "revision")).ok_or("a receipt without a revision")?;
            let key = receipt.get_str("key").map_err(|error| error.to_string())?;
            if inside.receipts.insert(key.to_owned(), revision).is_some() {
                return Err(format!("two receipts under the key {key}"));
            }
        }
        let revision = take(CLIENTS).first().and_then(|counter| whole(counter, "revision")).unwrap_or_default();
        let mut list = |name| {
            let list = take(name);
            for record in &list {
                let (Ok(id), Some(revision)) = (record.get_object_id("_id"), whole(record, "revision")) else {
                    return Err(format!("a record in {name} without an id or a revision: {record}"));
                };
                inside.revisions.insert(id.to_hex(), revision);
            }
            Ok(Value::Array(list.into_iter().map(|record| plain(Bson::Document(record))).collect()))
        };
        Ok(Self {
            revision,
            items: records(&list("items")?)?,
            invoices: records(&list("invoices")?)?,
            payments: records(&list("payments")?)?,
            purchases: records(&list("purchasehistories")?)?,
            inside: Some(inside),
        })
    }
}

const CLIENTS: &str = "syncclients";
const RECEIPTS: &str = "syncreceipts";
const INTENTS: &str = "syncintents";
/// The collections of records, in the order of their numbers in the embedded engine's keys.
const RECORDS: [&str; 6] = ["itemgroups", "items", "clientcustomers", "invoices", "payments", "purchasehistories"];

fn records<T: DeserializeOwned>(list: &Value) -> Result<Vec<T>, String> {
    T::deserialize_all(list)
}

/// Reads a list of records, and says which one cannot be read.
trait DeserializeAll: DeserializeOwned {
    fn deserialize_all(list: &Value) -> Result<Vec<Self>, String> {
        let list = list.as_array().ok_or("a list is missing")?;
        let read = |record: &Value| Self::deserialize(record).map_err(|error| format!("{error}: {record}"));
        list.iter().map(read).collect()
    }
}

impl<T: DeserializeOwned> DeserializeAll for T {}

fn whole(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

/// A stored value as an answer writes it.
fn plain(value: Bson) -> Value {
    match value {
        Bson::ObjectId(id) => id.to_hex().into(),
        Bson::DateTime(time) => time.to_string().into(),
        Bson::Document(document) => {
            Value::Object(document.into_iter().map(|(name, value)| (name, plain(value))).collect::<Map<_, _>>())
        }
        Bson::Array(list) => Value::Array(list.into_iter().map(plain).collect()),
        Bson::String(text) => text.into(),
        Bson::Boolean(truth) => truth.into(),
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::Double(number) => number.into(),
        Bson::Null => Value::Null,
        other => other.to_string().into(),
    }
}

async fn read_collections(
    url: &str,
    database: &str,
    client: &str,
) -> mongodb::error::Result<HashMap<&'static str, Vec<Document>>> {
    let database = mongodb::Client::with_uri_str(url).await?.database(database);
    let id = ObjectId::parse_str(client).expect("a client's id");
    let mut found = HashMap::new();
    for name in RECORDS.into_iter().chain([CLIENTS, RECEIPTS, INTENTS]) {
        let filter = if name == CLIENTS {
            doc! { "_id": id }
        } else {
            doc! { "clientId": id }
        };
        let list: Vec<Document> = database.collection(name).find(filter).await?.try_collect().await?;
        found.insert(name, list);
    }
    Ok(found)
}

fn read_tables(path: &Path) -> Result<HashMap<&'static str, Vec<Document>>, redb::Error> {
    const RECORD_TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
    const CLIENT_TABLE: TableDefinition<'_, &[u8], (i64, i64)> = TableDefinition::new("clients");
    const RECEIPT_TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("receipts");
    let database = Database::open(path)?;
    let transaction = database.begin_read()?;
    let mut found: HashMap<_, Vec<Document>> = HashMap::new();
    let client_of = |key: &[u8]| ObjectId::from_bytes(key[..12].try_into().expect("a key that starts with a client"));
    for entry in transaction.open_table(RECORD_TABLE)?.iter()? {
        let (key, record) = entry?;
        let collection = RECORDS[usize::from(key.value()[12])];
        found.entry(collection).or_default().push(document(record.value()));
    }
    for entry in transaction.open_table(CLIENT_TABLE)?.iter()? {
        let (key, counter) = entry?;
        let client = client_of(key.value());
        let counter = doc! { "_id": client, "clientId": client, "revision": counter.value().0 };
        found.entry(CLIENTS).or_default().push(counter);
    }
    for entry in transaction.open_table(RECEIPT_TABLE)?.iter()? {
        let (key, receipt) = entry?;
        let mut receipt = document(receipt.value());
        receipt.insert("clientId", client_of(key.value()));
        found.entry(RECEIPTS).or_default().push(receipt);
    }
    Ok(found)
}

fn document(bytes: &[u8]) -> Document {
    Document::from_reader(bytes).expect("a BSON document in the embedded engine's file")
}
