//! The accounts and sessions of the login service, as they were imported: for moving a whole database, and for
//! development.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::{Document, RawDocumentBuf, doc};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};

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
        self.write_accounts(|accounts| records.iter().try_for_each(|record| put(accounts, collection, record)))
    }

    /// Opens a session of a new device, and the client's account if there is none: a login for development, where
    /// no login service writes to this store.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn open_session(&self, client: &ClientId) -> Result<SessionId, StoreError> {
        let (id, session, now) = (client.object_id(), SessionId(clock::new_id()), clock::now().date_time());
        let account = doc! { "_id": id, "isActive": true, "createdAt": now, "updatedAt": now };
        let device = doc! {
            "_id": session.0, "clientId": id, "deviceId": "development", "isActive": true,
            "lastSeenAt": now, "createdAt": now, "updatedAt": now,
        };
        self.write_accounts(|accounts| {
            if accounts.get(&key(id, AccountCollection::Clients, id)[..]).map_err(failed)?.is_none() {
                put(accounts, AccountCollection::Clients, &account)?;
            }
            put(accounts, AccountCollection::DeviceSessions, &device)
        })?;
        Ok(session)
    }

    fn write_accounts(
        &self,
        write: impl FnOnce(&mut Accounts<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.file.with(|database| {
            let mut transaction = database.begin_write().map_err(failed)?;
            transaction.set_quick_repair(true);
            write(&mut transaction.open_table(ACCOUNTS).map_err(failed)?)?;
            transaction.commit().map_err(failed)
        })
    }
}

type Accounts<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

fn put(accounts: &mut Accounts<'_>, collection: AccountCollection, record: &Document) -> Result<(), StoreError> {
    let record = RawDocumentBuf::try_from(record).map_err(|e| StoreError::Internal(e.to_string()))?;
    accounts.insert(&key_of(collection, &record)?[..], record.as_bytes()).map_err(failed)?;
    Ok(())
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
    use crate::store::{DatasetMemory, Store};

    #[tokio::test]
    async fn a_session_is_opened_beside_an_account_that_stays_and_nothing_is_half_imported() {
        let directory = tempfile::tempdir().unwrap();
        let memory = DatasetMemory { cache: 0, stream_above: 1 };
        let store = EmbeddedStore::open(directory.path(), 0, memory).unwrap();
        let client = ClientId::from_verified_claim("64b0000000000000000000c1").unwrap();
        let session = store.open_session(&client).unwrap();
        assert_eq!(store.standing(&client, session).await.unwrap(), Standing::Active);

        let closed = doc! { "_id": client.object_id(), "isActive": false };
        let half = [closed.clone(), doc! { "isActive": false }];
        store.import_accounts(AccountCollection::Clients, &half).unwrap_err();
        assert_eq!(store.standing(&client, session).await.unwrap(), Standing::Active);

        store.import_accounts(AccountCollection::Clients, &[closed]).unwrap();
        let another = store.open_session(&client).unwrap();
        assert_ne!(another, session);
        for session in [session, another] {
            assert_eq!(store.standing(&client, session).await.unwrap(), Standing::ClientInactive);
        }
    }
}
