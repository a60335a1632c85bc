//! Looking up accounts and sessions, which the login service writes.

use bson::{Document, RawDocumentBuf, doc};
use mongodb::Database;
use mongodb::error::Result;

use crate::model::{ClientId, SessionId};
use crate::store::{AccountCollection, Standing};

/// Whether the session may act for the client, as both records are now.
pub(super) async fn standing(db: &Database, client: &ClientId, session: SessionId) -> Result<Standing> {
    let account = find(db, AccountCollection::Clients, doc! { "_id": client.object_id() });
    let session = doc! { "_id": session.0, "clientId": client.object_id() };
    let session = find(db, AccountCollection::DeviceSessions, session);
    let (account, session) = tokio::try_join!(account, session)?;
    Ok(Standing::of(client, account.as_deref(), session.as_deref()))
}

async fn find(db: &Database, collection: AccountCollection, filter: Document) -> Result<Option<RawDocumentBuf>> {
    let records = db.collection::<RawDocumentBuf>(collection.name());
    records.find_one(filter).projection(doc! { "isActive": 1, "clientId": 1 }).await
}
