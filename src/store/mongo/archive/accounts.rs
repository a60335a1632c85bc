//! The login service's records of a client that is written: `clients` and `devicesessions`, which that service writes at
//! any time, also now.

use bson::raw::RawDocument;
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Database;
use serde::{Deserialize, Serialize};

use super::read::filter;
use super::write::insert;
use super::{durable, failed};
use crate::model::ClientId;
use crate::store::archive::{Account, Accounts, ArchiveError, Chunk, Part, sha256};

/// A record that an import makes, so that it is known again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    collection: String,
    id: Bson,
    /// Of its bytes: if they are others, somebody else has changed it.
    sha256: String,
}

impl Note {
    fn of(account: &Account) -> Option<Self> {
        let sha256 = sha256(account.record.as_bytes());
        Some(Self { collection: account.part.name().to_owned(), id: account.id()?, sha256 })
    }

    fn is_about(&self, account: &Account) -> bool {
        self.collection == account.part.name() && Some(&self.id) == account.id().as_ref()
    }

    fn is(&self, record: &RawDocument) -> bool {
        self.sha256 == sha256(record.as_bytes())
    }
}

/// Finds out which records are to be made. Those that are there already, in the same words, stay as they are; so do those
/// that the import has made before it was interrupted and that were changed since. Those that it has made and that
/// are no more wanted are removed.
///
/// # Errors
/// [`ArchiveError::Account`] if a record is there that says something else, [`ArchiveError::Record`] if it is another
/// client's.
pub(super) async fn settle(
    db: &Database,
    client: &ClientId,
    wanted: &Accounts,
    made: &[Note],
) -> Result<Vec<Note>, ArchiveError> {
    for note in made.iter().filter(|note| !wanted.iter().any(|account| note.is_about(account))) {
        remove(db, client, note).await?;
    }
    let mut notes = Vec::new();
    for account in wanted.iter() {
        account.part.check(client, &account.record)?;
        let note = Note::of(account).ok_or_else(|| account.part.refuse(client, &account.record, "has no _id"))?;
        let was_made = made.iter().any(|made| made.is_about(account));
        match find(db, account.part, &note.id).await? {
            None => notes.push(note),
            Some(held) if account.part.check(client, &held).is_err() => {
                return Err(account.part.refuse(client, &held, "is there already, of another client"));
            }
            Some(held) if was_made && note.is(&held) => notes.push(note),
            Some(held) if was_made || account.is(&held) => {}
            Some(_) => return Err(account.differs(client)),
        }
    }
    Ok(notes)
}

/// Makes the records that are noted. Where the login service was quicker, its record stays.
pub(super) async fn write(
    db: &Database,
    client: &ClientId,
    accounts: &Accounts,
    notes: &[Note],
) -> Result<(), ArchiveError> {
    let to_make = || accounts.iter().filter(|account| notes.iter().any(|note| note.is_about(account)));
    for part in [Part::Account, Part::Sessions] {
        let records: Vec<_> =
            to_make().filter(|account| account.part == part).map(|account| account.record.clone()).collect();
        if !records.is_empty() {
            insert(db, client, Chunk { part, records }).await?;
        }
    }
    for account in to_make() {
        let held = find(db, account.part, &account.id().unwrap_or(Bson::Null)).await?;
        if !held.is_some_and(|held| account.is(&held)) {
            let (client, part) = (client.to_string(), account.part.name());
            tracing::warn!(client, part, "another service has changed a record meanwhile; it stays as that left it");
        }
    }
    Ok(())
}

/// Removes a record that an import has made, if nobody has changed it since.
pub(super) async fn remove(db: &Database, client: &ClientId, note: &Note) -> Result<(), ArchiveError> {
    let Some(part) = Part::of(&note.collection).filter(|part| part.is_foreign()) else { return Ok(()) };
    let Some(held) = find(db, part, &note.id).await?.filter(|held| note.is(held)) else { return Ok(()) };
    let held = Document::try_from(&*held).map_err(|e| failed(e.into()))?;
    let mut as_it_is = filter(client, part);
    as_it_is.insert("_id", &note.id);
    as_it_is.insert("$expr", doc! { "$eq": ["$$ROOT", { "$literal": held }] });
    let records = db.collection::<Document>(part.name());
    records.delete_one(as_it_is).write_concern(durable()).await.map_err(failed)?;
    Ok(())
}

/// The record of this id, whosever it is: ids are unique over all clients.
async fn find(db: &Database, part: Part, id: &Bson) -> Result<Option<RawDocumentBuf>, ArchiveError> {
    db.collection::<RawDocumentBuf>(part.name()).find_one(doc! { "_id": id }).await.map_err(failed)
}
