//! A client's own document, which counts its commits and its invoices. Every batch that writes records writes it
//! before them, so two batches of one client meet there and nowhere else.

use bson::oid::ObjectId;
use bson::raw::{RawBsonRef, RawDocument};
use bson::{Bson, RawBson, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::{ClientSession, Database};

use super::CLIENTS;
use super::find::{find, in_few_batches};
use super::write::update;
use crate::clock;
use crate::model::{ClientId, Lineage, Position, Revision};
use crate::plan::Plan;
use crate::store::StoreError;

/// What a client's next batch goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counter {
    pub revision: Revision,
    pub next_invoice: i64,
    /// Which commits belong to which history.
    pub lineage: Lineage,
    /// Whether the client is just being written as a whole (`archive`), so that what is there of it is not to be used.
    pub importing: bool,
}

impl Default for Counter {
    /// That of a new client.
    fn default() -> Self {
        Self { revision: Revision::default(), next_invoice: 1, lineage: Lineage::default(), importing: false }
    }
}

impl Counter {
    /// Reads a client's document.
    pub fn of(record: &RawDocument) -> Self {
        Self {
            revision: Revision(whole(record, "revision").unwrap_or_default()),
            next_invoice: whole(record, "nextInvoice").unwrap_or(1),
            lineage: lineage(record).unwrap_or_default(),
            importing: record.get(IMPORTING).is_ok_and(|marker| marker.is_some()),
        }
    }

    /// Why a client's document cannot be counted on, a reason for each field. What is absent has a default.
    pub fn unfit(record: &RawDocument) -> Vec<String> {
        let mut reasons: Vec<_> =
            Self::unfit_numbers(record).map(|field| format!("its {field} is no whole number")).collect();
        if is_there(record, "lineage") && lineage(record).is_none() {
            reasons.push("its lineage cannot be read".to_owned());
        }
        reasons
    }

    /// Which of the numbers in a client's document are none. To go on from them would be to give revisions out a second
    /// time.
    pub fn unfit_numbers(record: &RawDocument) -> impl Iterator<Item = &'static str> {
        let is_unfit = |field: &&str| whole(record, field).is_none() || has_fraction(record, field);
        ["revision", "nextInvoice"].into_iter().filter(|field| is_there(record, field)).filter(is_unfit)
    }

    /// The same, if the client may be served.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while it is being imported.
    pub fn usable(self) -> Result<Self, StoreError> {
        if self.importing {
            return Err(StoreError::Unavailable("the client is being imported".to_owned()));
        }
        Ok(self)
    }

    /// The first number that its next invoice may have. There is none below 1, whatever was written here.
    pub fn next_number(&self) -> i64 {
        self.next_invoice.max(1)
    }

    /// What the document says of the next invoice once the plan is committed.
    pub fn next_invoice_after(&self, plan: &Plan) -> i64 {
        plan.next_invoice.unwrap_or(self.next_invoice)
    }

    /// Where the client's books stand.
    pub fn position(&self) -> Position {
        self.lineage.at(self.revision)
    }

    /// The client's counter as it is stored; that of a new client if it is not.
    pub async fn load(
        db: &Database,
        session: Option<&mut ClientSession>,
        client: ObjectId,
    ) -> mongodb::error::Result<Self> {
        let mut counter = Self::default();
        let take = |record: &RawDocument| counter = Self::of(record);
        find(db, session, CLIENTS, doc! { "_id": client }, in_few_batches(), take).await?;
        Ok(counter)
    }

    /// Writes the document of a client who has one, so that nobody else commits a batch of the client before this
    /// transaction has ended.
    pub async fn hold(db: &Database, session: &mut ClientSession, client: &ClientId) -> mongodb::error::Result<()> {
        // A value that it has already would be no write.
        let turn = rawdoc! { "q": { "_id": client.object_id() }, "u": { "$set": { "turn": clock::new_tag().0 } } };
        update(db, Some(session), CLIENTS, &[turn]).await.map(drop)
    }

    /// The statement that brings the document to where the plan leaves it; `None` if the plan writes no records, for
    /// that takes no revision. `begun` is the lineage of a history that the commit begins.
    pub fn step(client: &ClientId, plan: &Plan, begun: Option<RawBson>) -> Option<RawDocumentBuf> {
        if plan.writes.is_empty() {
            return None;
        }
        let mut fields = rawdoc! { "revision": plan.receipt.revision.0 };
        if let Some(next_invoice) = plan.next_invoice {
            fields.append(cstr!("nextInvoice"), next_invoice);
        }
        if let Some(lineage) = begun {
            fields.append(cstr!("lineage"), lineage);
        }
        Some(rawdoc! { "q": { "_id": client.object_id() }, "u": { "$set": fields }, "upsert": true })
    }
}

/// The field of a client's document that says that it is being written as a whole.
pub(super) const IMPORTING: &str = "importing";

fn lineage(record: &RawDocument) -> Option<Lineage> {
    let stored = Bson::try_from(record.get("lineage").ok()??).ok()?;
    bson::deserialize_from_bson(stored).ok()
}

/// A whole number, whichever of BSON's number types it has.
fn whole(record: &RawDocument, field: &str) -> Option<i64> {
    match record.get(field).ok()?? {
        RawBsonRef::Int32(value) => Some(value.into()),
        RawBsonRef::Int64(value) => Some(value),
        RawBsonRef::Double(value) => Some(value as i64),
        _ => None,
    }
}

fn is_there(record: &RawDocument, field: &str) -> bool {
    !matches!(record.get(field), Ok(None))
}

fn has_fraction(record: &RawDocument, field: &str) -> bool {
    // Of what is infinite or no number at all there is none either.
    record.get_f64(field).is_ok_and(|value| value.fract() != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ItemChanges;
    use crate::plan::{Receipt, Write};

    /// A plan that writes something, or only a receipt.
    fn plan(writes: bool, revision: i64, next_invoice: Option<i64>) -> Plan {
        let write = Write::UpdateItem(ObjectId::from_bytes([1; 12]).into(), ItemChanges::default());
        Plan {
            writes: if writes { vec![write] } else { Vec::new() },
            next_invoice,
            receipt: Receipt { revision: Revision(revision), ..Receipt::default() },
            remember: None,
        }
    }

    #[test]
    fn a_counter_is_set_to_what_the_plan_says() {
        let client = ClientId::for_operator(clock::new_id());
        let step = |plan: &Plan, begun| Counter::step(&client, plan, begun);
        let to = |fields: RawDocumentBuf| {
            Some(rawdoc! { "q": { "_id": client.object_id() }, "u": { "$set": fields }, "upsert": true })
        };
        assert_eq!(step(&plan(true, 5, Some(15)), None), to(rawdoc! { "revision": 5_i64, "nextInvoice": 15_i64 }));
        assert_eq!(step(&plan(true, 5, None), None), to(rawdoc! { "revision": 5_i64 }), "no number was given");
        let begun = Some(RawBson::String("lineage".to_owned()));
        assert_eq!(step(&plan(true, 1, None), begun), to(rawdoc! { "revision": 1_i64, "lineage": "lineage" }));
        assert_eq!(step(&plan(false, 4, None), None), None, "a receipt alone takes no revision");
    }

    #[test]
    fn a_counter_is_read_whatever_its_numbers_are() {
        let of = |record: RawDocumentBuf| Counter::of(&record);
        let counter =
            |revision, next_invoice| Counter { revision: Revision(revision), next_invoice, ..Counter::default() };
        assert_eq!(of(rawdoc! { "revision": 5_i64, "nextInvoice": 15 }), counter(5, 15));
        assert_eq!(of(rawdoc! { "revision": 5, "nextInvoice": 10.0 }), counter(5, 10));
        assert_eq!(of(rawdoc! { "revision": 1_i64 }), counter(1, 1));
        assert_eq!(of(rawdoc! {}), Counter::default(), "a new client");
        assert_eq!(of(rawdoc! { "nextInvoice": 0 }).next_number(), 1);
    }
}
