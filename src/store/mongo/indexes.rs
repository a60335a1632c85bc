//! Collections and indexes, made when the server starts.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::StreamExt;
use mongodb::error::{Error, Result};
use mongodb::options::{IndexOptions, ReturnDocument, WriteConcern};
use mongodb::{Database, IndexModel};

use super::error::{DUPLICATE_KEY, code, describe};
use super::{CLIENTS, INTENTS, LOCAL_IDS, RECEIPTS, STORE};
use crate::clock;
use crate::model::{Collection, StoreId};

/// Makes what is missing. Several server processes may do so at once, and what a database has already,
/// under whatever name, is used as it is.
pub(super) async fn ensure(db: &Database, receipt_days: u32) -> Result<()> {
    ensure_lasting(db).await?;
    expire_receipts(db, receipt_days).await
}

/// The same, but for how long receipts are kept: only a server says that.
pub(super) async fn ensure_lasting(db: &Database) -> Result<()> {
    make_collections(db).await?;
    for Wanted { collection, keys, options } in wanted() {
        make(db, collection, keys, options).await?;
    }
    Ok(())
}

/// An index that every database is to have.
struct Wanted {
    collection: &'static str,
    keys: Document,
    options: IndexOptions,
}

fn wanted() -> Vec<Wanted> {
    let plain = |collection, keys| Wanted { collection, keys, options: IndexOptions::default() };
    let unique = |collection, keys| Wanted { collection, keys, options: IndexOptions::builder().unique(true).build() };
    let mut wanted = Vec::new();
    for collection in Collection::ALL {
        // The dataset's filter and order.
        wanted.push(plain(collection.name(), doc! { "clientId": 1, "_id": 1 }));
        // What changed after a revision. Records that other programs write have none, and cost nothing here.
        let ours = IndexOptions::builder().partial_filter_expression(doc! { "revision": { "$exists": true } }).build();
        let keys = doc! { "clientId": 1, "revision": 1 };
        wanted.push(Wanted { collection: collection.name(), keys, options: ours });
    }
    wanted.push(plain(Collection::Invoices.name(), doc! { "clientId": 1, "invoiceNumber": 1 }));
    wanted.push(plain(Collection::PurchaseHistories.name(), doc! { "clientId": 1, "invoiceId": 1 }));
    wanted.push(plain(INTENTS, doc! { "clientId": 1 }));
    wanted.push(unique(RECEIPTS, doc! { "clientId": 1, "key": 1 }));
    wanted.push(unique(LOCAL_IDS, doc! { "clientId": 1, "localId": 1 }));
    wanted
}

/// An index that is not there, or does not keep records apart as it is to.
pub(super) struct Missing {
    pub collection: &'static str,
    pub keys: Document,
    pub unique: bool,
}

/// Looks which indexes are missing, and makes none.
pub(super) async fn missing(db: &Database) -> Result<Vec<Missing>> {
    let existing = db.list_collection_names().await?;
    let mut missing = Vec::new();
    for Wanted { collection, keys, options } in wanted() {
        let unique = options.unique.unwrap_or(false);
        let mut found = false;
        if existing.iter().any(|name| name == collection) {
            let mut indexes = db.collection::<Document>(collection).list_indexes().await?;
            while let Some(index) = indexes.next().await.transpose()? {
                let keeps_apart = index.options.and_then(|options| options.unique).unwrap_or(false);
                found |= same_keys(&index.keys, &keys) && (keeps_apart || !unique);
            }
        }
        if !found {
            missing.push(Missing { collection, keys, unique });
        }
    }
    Ok(missing)
}

/// Says how receipts expire in the database, if not after so many days; after none, never.
pub(super) async fn wrong_expiry(db: &Database, days: u32) -> Result<Option<String>> {
    let index = match db.list_collection_names().await?.iter().any(|name| name == RECEIPTS) {
        true => receipt_expiry(db, &doc! { "createdAt": 1 }).await?,
        false => None,
    };
    let wanted = (days > 0).then(|| expire_after(days));
    let wrong = match (index, wanted) {
        (None, None) => return Ok(None),
        (None, Some(_)) => "the index on createdAt is missing, so receipts never expire".to_owned(),
        (Some(Expiry { seconds, .. }), wanted) if wanted.is_some() && seconds == wanted => return Ok(None),
        (Some(Expiry { seconds: None, name }), _) => format!("receipts never expire by the index {name}"),
        (Some(Expiry { seconds: Some(seconds), name }), _) => {
            format!("receipts expire after {seconds} seconds by the index {name}")
        }
    };
    Ok(Some(wrong))
}

/// What an index takes: a 32-bit number of seconds, 68 years.
fn expire_after(days: u32) -> u64 {
    (u64::from(days) * 24 * 60 * 60).min(i32::MAX as u64)
}

/// Whether two indexes have the same fields in the same order, whatever type of number says the direction.
fn same_keys(one: &Document, other: &Document) -> bool {
    let ascending = |keys: &Document| -> Vec<_> {
        keys.iter().map(|(name, order)| (name.clone(), order.as_i32().or(order.as_f64().map(|f| f as i32)))).collect()
    };
    ascending(one) == ascending(other)
}

/// Which store it is. Whoever comes first decides.
pub(super) async fn store_id(db: &Database) -> Result<StoreId> {
    let new = doc! { "$setOnInsert": { "store": clock::new_tag().0 } };
    let mut tried = 0;
    loop {
        let stores = db.collection::<Document>(STORE);
        let store = stores.find_one_and_update(doc! { "_id": "store" }, new.clone());
        let store = store.upsert(true).return_document(ReturnDocument::After);
        match store.write_concern(WriteConcern::majority()).await {
            // Two that insert at once: the other one was quicker.
            Err(error) if code(&error) == Some(DUPLICATE_KEY) && tried < 3 => tried += 1,
            store => return Ok(StoreId(store?.and_then(|store| store.get_i64("store").ok()).unwrap_or_default())),
        }
    }
}

/// Transactions want collections that exist.
async fn make_collections(db: &Database) -> Result<()> {
    const NAMESPACE_EXISTS: i32 = 48;
    let existing = db.list_collection_names().await?;
    let names = Collection::ALL.map(Collection::name).into_iter().chain([CLIENTS, RECEIPTS, LOCAL_IDS, INTENTS, STORE]);
    for name in names.filter(|name| !existing.iter().any(|existing| existing == name)) {
        ignore(db.create_collection(name).await, &[NAMESPACE_EXISTS])?;
    }
    Ok(())
}

async fn make(db: &Database, collection: &str, keys: Document, options: IndexOptions) -> Result<()> {
    const INDEX_OPTIONS_CONFLICT: i32 = 85;
    const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
    let index = IndexModel::builder().keys(keys).options(options).build();
    let made = db.collection::<Document>(collection).create_index(index).await;
    ignore(made.map(drop), &[INDEX_OPTIONS_CONFLICT, INDEX_KEY_SPECS_CONFLICT])
}

/// Has the database drop receipts after so many days; after none, never.
async fn expire_receipts(db: &Database, days: u32) -> Result<()> {
    let keys = doc! { "createdAt": 1 };
    let seconds = expire_after(days);
    match (receipt_expiry(db, &keys).await?, days) {
        (None, 0) => Ok(()),
        (Some(index), 0) => {
            const INDEX_NOT_FOUND: i32 = 27;
            ignore(db.collection::<Document>(RECEIPTS).drop_index(index.name).await, &[INDEX_NOT_FOUND])
        }
        (Some(index), _) if index.seconds == Some(seconds) => Ok(()),
        (Some(_), _) => {
            let index = doc! { "keyPattern": keys, "expireAfterSeconds": seconds as i64 };
            // This alone takes more than the role `readWrite`, and is no reason not to start.
            if let Err(error) = db.run_command(doc! { "collMod": RECEIPTS, "index": index }).await {
                tracing::warn!(error = describe(&error), "RECEIPT_DAYS is not in force: cannot change the index");
            }
            Ok(())
        }
        (None, _) => {
            let options = IndexOptions::builder().expire_after(Duration::from_secs(seconds)).build();
            make(db, RECEIPTS, keys, options).await
        }
    }
}

/// The index on a receipt's age.
struct Expiry {
    name: String,
    seconds: Option<u64>,
}

async fn receipt_expiry(db: &Database, keys: &Document) -> Result<Option<Expiry>> {
    let mut indexes = db.collection::<Document>(RECEIPTS).list_indexes().await?;
    while let Some(index) = indexes.next().await {
        let IndexModel { keys: found, options, .. } = index?;
        if same_keys(&found, keys) {
            let options = options.unwrap_or_default();
            let seconds = options.expire_after.map(|after| after.as_secs());
            return Ok(Some(Expiry { name: options.name.unwrap_or_default(), seconds }));
        }
    }
    Ok(None)
}

fn ignore(result: Result<()>, codes: &[i32]) -> Result<()> {
    let harmless = |error: &Error| code(error).is_some_and(|code| codes.contains(&code));
    result.or_else(|error| if harmless(&error) { Ok(()) } else { Err(error) })
}
