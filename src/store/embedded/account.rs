//! The accounts and sessions of the login service, as they were imported: for moving a whole database, and for
//! development.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Document, RawDocumentBuf, doc};
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError};

use super::{EmbeddedStore, failed};
use crate::clock;
use crate::model::{ClientId, SessionId};
use crate::store::{AccountCollection, Standing, StoreError};

/// Client, collection, `_id` -> the record, the same BSON as in MongoDB.
const ACCOUNTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("accounts");

impl EmbeddedStore {
    /// Puts accounts or sessions as they are; one that is there already is replaced. An account's `_id` and a
    /// session's `clientId` say whose they are.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if a record lacks an id; nothing was put then.
    pub fn import_accounts(&self, collection: AccountCollection, records: &[Document]) -> Result<(), StoreError> {
        self.file.with(|database| {
            let mut transaction = database.begin_write().map_err(failed)?;
            transaction.set_quick_repair(true);
            let mut table = transaction.open_table(ACCOUNTS).map_err(failed)?;
            for record in records {
                let record = RawDocumentBuf::try_from(record).map_err(|e| StoreError::Internal(e.to_string()))?;
                let key = key_of(collection, &record)?;
                table.insert(&key[..], record.as_bytes()).map_err(failed)?;
            }
            drop(table);
            transaction.commit().map_err(failed)
        })
    }

    /// All accounts or all sessions, or those of one client, in the order of clients and then of `_id`s.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn export_accounts(
        &self,
        collection: AccountCollection,
        client: Option<&ClientId>,
    ) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let bound = |rest: u8| match client {
            Some(client) => key(client.object_id(), collection, ObjectId::from_bytes([rest; 12])),
            None => [rest; 25],
        };
        let read = |database: &Database| {
            let transaction = database.begin_read().map_err(failed)?;
            let table = transaction.open_table(ACCOUNTS).map_err(failed)?;
            let mut records = Vec::new();
            for entry in table.range::<&[u8]>(&bound(0)[..]..=&bound(255)[..]).map_err(failed)? {
                let (key, record) = entry.map_err(failed)?;
                if key.value().get(12) == Some(&(collection as u8)) {
                    records.push(raw(record.value())?.to_owned());
                }
            }
            Ok(records)
        };
        self.file.read(read)
    }

    /// Opens a session of a new device, and the client's account if there is none: a login for development, where
    /// no login service writes to this store.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn open_session(&self, client: &ClientId) -> Result<SessionId, StoreError> {
        let (session, now) = (SessionId(clock::new_id()), clock::now().date_time());
        if self.export_accounts(AccountCollection::Clients, Some(client))?.is_empty() {
            let account = doc! { "_id": client.object_id(), "isActive": true, "createdAt": now, "updatedAt": now };
            self.import_accounts(AccountCollection::Clients, &[account])?;
        }
        let device = doc! {
            "_id": session.0, "clientId": client.object_id(), "deviceId": "development", "isActive": true,
            "lastSeenAt": now, "createdAt": now, "updatedAt": now,
        };
        self.import_accounts(AccountCollection::DeviceSessions, &[device])?;
        Ok(session)
    }
}

/// Makes the table in a new file.
pub(super) fn make(transaction: &redb::WriteTransaction) -> Result<(), TableError> {
    transaction.open_table(ACCOUNTS).map(drop)
}

/// Whether the file has the table.
pub(super) fn is_made(transaction: &ReadTransaction) -> bool {
    transaction.open_table(ACCOUNTS).is_ok()
}

/// Whether the session may act for the client.
pub(super) fn standing(database: &Database, client: &ClientId, session: SessionId) -> Result<Standing, StoreError> {
    let transaction = database.begin_read().map_err(failed)?;
    let table = transaction.open_table(ACCOUNTS).map_err(failed)?;
    let read = |collection, id| table.get(&key(client.object_id(), collection, id)[..]).map_err(failed);
    let account = read(AccountCollection::Clients, client.object_id())?;
    let session = read(AccountCollection::DeviceSessions, session.0)?;
    let account = account.as_ref().map(|record| raw(record.value())).transpose()?;
    let session = session.as_ref().map(|record| raw(record.value())).transpose()?;
    Ok(Standing::of(client, account, session))
}

fn key_of(collection: AccountCollection, record: &RawDocument) -> Result<[u8; 25], StoreError> {
    let id = |name| record.get_object_id(name).map_err(|e| StoreError::Internal(e.to_string()));
    let client = match collection {
        AccountCollection::Clients => id("_id")?,
        AccountCollection::DeviceSessions => id("clientId")?,
    };
    Ok(key(client, collection, id("_id")?))
}

fn key(client: ObjectId, collection: AccountCollection, id: ObjectId) -> [u8; 25] {
    let mut key = [0; 25];
    key[..12].copy_from_slice(&client.bytes());
    // The number is part of the file's format: collections keep their places in the enum.
    key[12] = collection as u8;
    key[13..].copy_from_slice(&id.bytes());
    key
}

fn raw(bytes: &[u8]) -> Result<&RawDocument, StoreError> {
    RawDocument::from_bytes(bytes).map_err(|e| StoreError::Internal(e.to_string()))
}
