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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DatasetMemory;

    #[test]
    fn what_was_imported_is_exported_byte_for_byte_by_client_or_all() {
        let directory = tempfile::tempdir().unwrap();
        let memory = DatasetMemory { cache: 0, stream_above: 1 };
        let store = EmbeddedStore::open(directory.path(), 0, memory).unwrap();
        let client = |number: u8| ObjectId::from_bytes([number; 12]);
        let account = |number| doc! { "_id": client(number), "isActive": true, "clientSettings": { "a": [1, 2] } };
        let device = |number, of| doc! { "_id": client(number), "clientId": client(of), "isActive": false };
        store.import_accounts(AccountCollection::Clients, &[account(0), account(1), account(255)]).unwrap();
        store
            .import_accounts(AccountCollection::DeviceSessions, &[device(9, 1), device(8, 1), device(0, 255)])
            .unwrap();
        let exported = |collection, client: Option<u8>| {
            let client =
                client.map(|number| ClientId::from_verified_claim(&[number; 12].map(|b| format!("{b:02x}")).concat()));
            let records = store.export_accounts(collection, client.map(Option::unwrap).as_ref()).unwrap();
            records.iter().map(|record| Document::try_from(record).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(exported(AccountCollection::Clients, None), [account(0), account(1), account(255)]);
        assert_eq!(exported(AccountCollection::DeviceSessions, None), [device(8, 1), device(9, 1), device(0, 255)]);
        assert_eq!(exported(AccountCollection::Clients, Some(1)), [account(1)]);
        assert_eq!(exported(AccountCollection::DeviceSessions, Some(255)), [device(0, 255)]);
        assert_eq!(exported(AccountCollection::DeviceSessions, Some(7)), []);

        store.import_accounts(AccountCollection::Clients, &[doc! { "isActive": true }]).unwrap_err();
        let renewed = doc! { "_id": client(1), "isActive": false };
        store.import_accounts(AccountCollection::Clients, &[renewed.clone(), renewed.clone()]).unwrap();
        assert_eq!(exported(AccountCollection::Clients, None), [account(0), renewed, account(255)]);
    }
}
