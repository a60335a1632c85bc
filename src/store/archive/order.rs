//! The order of an archive's records, by which no id can stand twice.

use std::cmp::Ordering;

use bson::raw::RawDocument;

use super::{ArchiveError, Part};
use crate::model::ClientId;

/// Watches that the records of one part come in the part's order, as every store gives them.
#[derive(Debug, Default)]
pub struct InOrder(Option<Vec<u8>>);

impl InOrder {
    /// Looks at the next record.
    ///
    /// # Errors
    /// [`ArchiveError::Record`] if its id is there already, or if it stands behind one that goes after it.
    pub fn follow(&mut self, client: &ClientId, part: Part, record: &RawDocument) -> Result<(), ArchiveError> {
        let Some(place) = place(part, record) else { return Ok(()) };
        match self.0.as_ref().map(|last| place.cmp(last)) {
            Some(Ordering::Equal) => Err(part.refuse(client, record, "is there twice")),
            Some(Ordering::Less) => Err(part.refuse(client, record, "stands in another order than that of an export")),
            Some(Ordering::Greater) | None => {
                self.0 = Some(place);
                Ok(())
            }
        }
    }
}

/// What a part is ordered by. Ids of other types than ObjectId have an order that only the database knows, which keeps
/// them from standing twice as well.
fn place(part: Part, record: &RawDocument) -> Option<Vec<u8>> {
    let text = |field| record.get_str(field).ok().map(|text| text.as_bytes().to_vec());
    match part {
        Part::Receipts => text("key"),
        Part::LocalIds => text("localId"),
        Part::Data(_) | Part::Account | Part::Sessions => {
            record.get_object_id("_id").ok().map(|id| id.bytes().to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;
    use crate::clock;
    use crate::model::Collection;

    fn refusal(part: Part, records: &[RawDocumentBuf]) -> Option<String> {
        let (client, mut order) = (ClientId::for_operator(clock::new_id()), InOrder::default());
        records.iter().find_map(|record| order.follow(&client, part, record).err()).map(|error| error.to_string())
    }

    #[test]
    fn what_stands_twice_or_out_of_order_is_refused() {
        let item = |n: u8| rawdoc! { "_id": ObjectId::from_bytes([n; 12]) };
        let receipt = |key: &str| rawdoc! { "key": key };
        let items = Part::Data(Collection::Items);
        assert_eq!(refusal(items, &[item(1), item(2), item(200)]), None);
        assert_eq!(refusal(items, &[rawdoc! { "_id": 2 }, rawdoc! { "_id": 1 }, item(1)]), None);
        assert!(refusal(items, &[item(1), item(2), item(2)]).unwrap().contains("is there twice"));
        assert!(refusal(items, &[item(2), item(1)]).unwrap().contains("in another order"));
        assert_eq!(refusal(Part::Receipts, &[receipt("a"), receipt("ab"), receipt("b")]), None);
        assert!(
            refusal(Part::Receipts, &[receipt("b"), receipt("b")]).unwrap().contains("the record b of syncreceipts")
        );
    }
}
