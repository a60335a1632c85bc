//! What one client's books come to, by which those of an archive and those of a store are compared.

use bson::raw::RawDocument;

use super::{Accounts, ArchiveError, Books, Head, Part, Sums, Tally};

/// The counts and digests of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What the books count.
    pub head: Head,
    /// What each part comes to, without those that other services write.
    pub sums: Sums,
}

impl Holding {
    /// Reads books to their end: what they come to, and beside them the records of other services. `keep` says which
    /// records count.
    ///
    /// # Errors
    /// [`ArchiveError`], whatever the source of the records says.
    pub async fn of(
        mut books: Books,
        keep: impl Fn(Part, &RawDocument) -> bool,
    ) -> Result<(Self, Accounts), ArchiveError> {
        let (mut tally, mut accounts) = (Tally::default(), Accounts::default());
        while let Some(chunk) = books.records.recv().await {
            let chunk = chunk?;
            if chunk.part.is_foreign() {
                accounts.add(chunk.part, chunk.records);
                continue;
            }
            for record in chunk.records.iter().filter(|record| keep(chunk.part, record)) {
                tally.add_record(chunk.part, record.as_bytes());
            }
        }
        Ok((Self { head: books.head, sums: tally.finish() }, accounts))
    }

    /// How this one, which is in a store, differs from an archive's, for the operator. `None` if it does not.
    pub fn difference(&self, archive: &Self) -> Option<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, store: i64, archive: i64| {
            if store != archive {
                differences.push(format!("{what} {store} where the archive has {archive}"));
            }
        };
        compare("revision", self.head.revision.0, archive.head.revision.0);
        compare("next invoice", self.head.next_invoice, archive.head.next_invoice);
        for part in Part::ALL {
            let (store, archive) = (self.sums.get(&part), archive.sums.get(&part));
            let count = |sum: Option<&super::Sum>| sum.map_or(0, |sum| sum.records);
            if count(store) != count(archive) {
                differences.push(format!("{part} {} where the archive has {}", count(store), count(archive)));
            } else if store != archive {
                differences.push(format!("{part} with other bytes or in another order"));
            }
        }
        (!differences.is_empty()).then(|| differences.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::model::{Collection, Revision};
    use crate::store::archive::{Chunk, channel};

    async fn holding(revision: i64, chunks: Vec<(Part, Vec<bson::RawDocumentBuf>)>) -> (Holding, Accounts) {
        let (sender, records) = channel();
        tokio::runtime::Handle::current().spawn(async move {
            for (part, records) in chunks {
                sender.send(Ok(Chunk { part, records })).await.unwrap();
            }
        });
        let head = Head { revision: Revision(revision), next_invoice: 1 };
        Holding::of(Books { head, records }, |_, record| record.get("old").unwrap().is_none()).await.unwrap()
    }

    #[tokio::test]
    async fn what_differs_is_told_and_accounts_are_kept_apart() {
        let items = |name: &str| (Part::Data(Collection::Items), vec![rawdoc! { "_id": 1, "name": name }]);
        let receipts = |records| (Part::Receipts, records);
        let account = (Part::Account, vec![rawdoc! { "_id": 7 }]);
        let (archive, _) = holding(2, vec![items("Tea"), receipts(vec![rawdoc! { "old": true }])]).await;
        let (same, accounts) = holding(2, vec![items("Tea"), account]).await;
        assert_eq!((same.difference(&archive), accounts.len()), (None, 1));
        let (other, _) = holding(3, vec![items("Cup"), receipts(vec![rawdoc! {}])]).await;
        let told = "revision 3 where the archive has 2, items with other bytes or in another order, syncreceipts 1 where the archive has 0";
        assert_eq!(other.difference(&archive).unwrap(), told);
    }
}
