//! What the login service keeps of a client, which comes with its books: its account, and where its devices are logged
//! in.
//!
//! These records are not ours. One that a store holds already is never replaced, and one that the login service has
//! changed since it was written is never removed.

use bson::raw::RawDocument;
use bson::{Bson, Document, RawDocumentBuf};

use super::{ArchiveError, Part, show_id};
use crate::model::ClientId;

/// The records of other services that are to be written with a client's books.
#[derive(Debug, Clone, Default)]
pub struct Accounts(Vec<Account>);

/// One of them.
#[derive(Debug, Clone)]
pub struct Account {
    /// Where it is kept.
    pub part: Part,
    /// As it is stored.
    pub record: RawDocumentBuf,
}

impl Accounts {
    /// Adds the records of a part that other services write.
    pub fn add(&mut self, part: Part, records: Vec<RawDocumentBuf>) {
        self.0.extend(records.into_iter().map(|record| Account { part, record }));
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds each of them among what a store holds, in the same words.
    ///
    /// # Errors
    /// [`ArchiveError::Account`] for the first that is not there, or says something else there.
    pub fn expect_in(&self, client: &ClientId, store: &Self) -> Result<(), ArchiveError> {
        let is_there =
            |account: &&Account| store.iter().any(|held| held.part == account.part && account.is(&held.record));
        match self.iter().find(|account| !is_there(account)) {
            None => Ok(()),
            Some(account) => Err(account.differs(client)),
        }
    }
}

impl Account {
    /// Its `_id`.
    pub fn id(&self) -> Option<Bson> {
        Bson::try_from(self.record.get("_id").ok()??).ok()
    }

    /// Whether a stored record says the same, be its fields in whatever order.
    pub fn is(&self, stored: &RawDocument) -> bool {
        let document = |record: &RawDocument| Document::try_from(record).ok();
        self.record.as_bytes() == stored.as_bytes()
            || document(&self.record).is_some_and(|own| document(stored) == Some(own))
    }

    /// Says that the store holds another record in its place, or none.
    pub fn differs(&self, client: &ClientId) -> ArchiveError {
        let id = self.record.get("_id").ok().flatten().map_or_else(|| "without an id".to_owned(), show_id);
        ArchiveError::Account { client: *client, part: self.part.name(), id }
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::clock;

    #[test]
    fn an_account_is_the_same_in_whatever_order_its_fields_are() {
        let client = ClientId::for_operator(clock::new_id());
        let accounts = |record: RawDocumentBuf| {
            let mut accounts = Accounts::default();
            accounts.add(Part::Account, vec![record]);
            accounts
        };
        let archived = accounts(rawdoc! { "_id": 1, "name": "Tea", "n": { "a": 1 } });
        let same = accounts(rawdoc! { "_id": 1, "n": { "a": 1 }, "name": "Tea" });
        archived.expect_in(&client, &same).unwrap();
        for other in [rawdoc! { "_id": 1, "name": "Tea" }, rawdoc! { "_id": 1, "name": "Tea", "n": { "a": 2 } }] {
            let refused = archived.expect_in(&client, &accounts(other)).unwrap_err().to_string();
            assert!(refused.contains("--keep-accounts") && refused.contains(&client.to_string()), "{refused}");
        }
        archived.expect_in(&client, &Accounts::default()).unwrap_err();
        Accounts::default().expect_in(&client, &archived).unwrap();
    }
}
