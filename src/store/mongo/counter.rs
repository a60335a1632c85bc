//! A client's own document, which counts its commits and its invoices. Every batch begins with it, so two
//! batches of one client meet there and nowhere else.

use std::collections::HashMap;

use bson::oid::ObjectId;
use bson::raw::{RawBsonRef, RawDocument};
use bson::{Bson, RawBson, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::{ClientSession, Database};

use super::CLIENTS;
use super::error::{DUPLICATE_KEY, Failure, Stopped, code};
use super::find::{find, in_few_batches};
use super::write::{Refused, update};
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

/// A counter that a transaction has raised for a batch that is not planned yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raised {
    /// As it was before.
    pub before: Counter,
    /// What the document now says of the next invoice.
    next_invoice: i64,
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
        let is_there = |field: &str| !matches!(record.get(field), Ok(None));
        let mut reasons = Vec::new();
        for field in ["revision", "nextInvoice"] {
            if is_there(field) && (whole(record, field).is_none() || has_fraction(record, field)) {
                reasons.push(format!("its {field} is no whole number"));
            }
        }
        if is_there("lineage") && lineage(record).is_none() {
            reasons.push("its lineage cannot be read".to_owned());
        }
        reasons
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

    /// Takes the next revision of each client, and as many invoice numbers as its batch most likely needs: then
    /// nothing is left to correct once that is known.
    pub async fn raise(
        db: &Database,
        session: &mut ClientSession,
        clients: &[(ClientId, usize)],
    ) -> Result<Vec<Raised>, Stopped> {
        let raised = match clients {
            [(client, numbers)] => HashMap::from([Self::raise_one(db, session, client, *numbers).await?]),
            _ => Self::raise_all(db, session, clients).await?,
        };
        let usable = |(member, (client, numbers)): (usize, &(ClientId, usize))| {
            let missing = || StoreError::Internal("a counter that was raised is not there".to_owned());
            let record = raised.get(&client.object_id()).ok_or_else(missing)?;
            Raised::by(record, *numbers).usable().map_err(|error| Stopped::by(member, error))
        };
        clients.iter().enumerate().map(usable).collect()
    }

    /// With one command.
    async fn raise_one(
        db: &Database,
        session: &mut ClientSession,
        client: &ClientId,
        numbers: usize,
    ) -> Result<(ObjectId, RawDocumentBuf), Failure> {
        let command = rawdoc! {
            "findAndModify": CLIENTS,
            "query": { "_id": client.object_id() },
            "update": { "$inc": steps(numbers) },
            "upsert": true,
            "new": true,
        };
        let mut reply = db.run_raw_command(command).session(session).await.map_err(|error| match code(&error) {
            Some(DUPLICATE_KEY) => Failure::Overtaken,
            _ => Failure::Driver(error),
        })?;
        match reply.remove("value") {
            Some(Bson::Document(record)) => {
                let record = RawDocumentBuf::try_from(&record).map_err(mongodb::error::Error::from)?;
                Ok((client.object_id(), record))
            }
            _ => Err(StoreError::Internal("a counter is no document".to_owned()).into()),
        }
    }

    /// With two commands, however many they are.
    async fn raise_all(
        db: &Database,
        session: &mut ClientSession,
        clients: &[(ClientId, usize)],
    ) -> Result<HashMap<ObjectId, RawDocumentBuf>, Stopped> {
        let statement = |(client, numbers): &(ClientId, usize)| {
            rawdoc! { "q": { "_id": client.object_id() }, "u": { "$inc": steps(*numbers) }, "upsert": true }
        };
        let statements: Vec<_> = clients.iter().map(statement).collect();
        match update(db, Some(&mut *session), CLIENTS, &statements).await?.refused.first() {
            None => {}
            Some(Refused { code: DUPLICATE_KEY, statement, .. }) => {
                return Err(Stopped::by(*statement, Failure::Overtaken));
            }
            Some(refused) => return Err(Failure::from(refused.unexpected(CLIENTS)).into()),
        }
        let ids: Vec<_> = clients.iter().map(|(client, _)| client.object_id()).collect();
        let mut raised = HashMap::new();
        let take = |record: &RawDocument| {
            raised.extend(record.get_object_id("_id").ok().map(|id| (id, record.to_owned())));
        };
        find(db, Some(session), CLIENTS, doc! { "_id": { "$in": ids } }, in_few_batches(), take).await?;
        Ok(raised)
    }
}

impl Raised {
    /// A client's document that was raised by one revision and so many invoice numbers.
    fn by(record: &RawDocument, numbers: usize) -> Self {
        let (now, numbers) = (Counter::of(record), numbers as i64);
        // A number that was not there counted from 0, and not from 1.
        let next_invoice = (now.next_invoice - numbers).max(1);
        let revision = Revision(now.revision.0 - 1);
        Self { next_invoice: now.next_invoice, before: Counter { revision, next_invoice, ..now } }
    }

    fn usable(self) -> Result<Self, StoreError> {
        Ok(Self { before: self.before.usable()?, ..self })
    }

    /// What is still wrong with the document once the plan is there, if anything: the fields to set. `begun` is the
    /// lineage of a history that the commit begins.
    pub fn correction(&self, plan: &Plan, begun: Option<RawBson>) -> Option<RawDocumentBuf> {
        let mut fields = RawDocumentBuf::new();
        if let Some(lineage) = begun {
            fields.append(cstr!("lineage"), lineage);
        }
        let next_invoice = plan.next_invoice.unwrap_or(self.before.next_invoice);
        if next_invoice != self.next_invoice {
            fields.append(cstr!("nextInvoice"), next_invoice);
        }
        if plan.writes.is_empty() {
            // Only a receipt is written, and that takes no revision.
            fields.append(cstr!("revision"), plan.receipt.revision.0);
        }
        (!fields.is_empty()).then_some(fields)
    }

    /// The fields that bring the document back to what it was; `None` if there was no document.
    pub fn undo(&self) -> Option<RawDocumentBuf> {
        let Counter { revision, next_invoice, .. } = self.before;
        let fields = rawdoc! { "revision": revision.0, "nextInvoice": next_invoice };
        (self.before != Counter::default()).then_some(fields)
    }
}

/// The field of a client's document that says that it is being written as a whole.
pub(super) const IMPORTING: &str = "importing";

/// What a batch adds to its client's document at once.
fn steps(numbers: usize) -> RawDocumentBuf {
    let mut steps = rawdoc! { "revision": 1_i64 };
    if numbers > 0 {
        steps.append(cstr!("nextInvoice"), numbers as i64);
    }
    steps
}

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

    fn raised(revision: i64, before: i64, now: i64) -> Raised {
        let before = Counter { revision: Revision(revision), next_invoice: before, ..Counter::default() };
        Raised { before, next_invoice: now }
    }

    #[test]
    fn what_a_counter_was_follows_from_what_it_is() {
        let of = |record: RawDocumentBuf, numbers| Raised::by(&record, numbers);
        assert_eq!(of(rawdoc! { "revision": 5_i64, "nextInvoice": 15_i64 }, 5), raised(4, 10, 15));
        assert_eq!(of(rawdoc! { "revision": 5_i64, "nextInvoice": 10.0 }, 0), raised(4, 10, 10));
        assert_eq!(of(rawdoc! { "revision": 1_i64, "nextInvoice": 5_i64 }, 5), raised(0, 1, 5), "a new client");
        assert_eq!(of(rawdoc! { "revision": 1_i64 }, 0), raised(0, 1, 1), "that needs no number");
        assert_eq!(of(rawdoc! { "revision": 1_i64, "nextInvoice": 1_i64 }, 1), raised(0, 1, 1), "or one");
    }

    #[test]
    fn a_counter_is_corrected_only_where_the_plan_went_another_way() {
        assert_eq!(raised(4, 10, 15).correction(&plan(true, 5, Some(15)), None), None);
        assert_eq!(raised(4, 10, 10).correction(&plan(true, 5, None), None), None);
        let skipped = raised(4, 10, 15).correction(&plan(true, 5, Some(17)), None);
        assert_eq!(skipped, Some(rawdoc! { "nextInvoice": 17_i64 }), "some numbers were taken");
        let unused = raised(4, 10, 15).correction(&plan(true, 5, None), None);
        assert_eq!(unused, Some(rawdoc! { "nextInvoice": 10_i64 }), "all invoices bring their numbers");
        let first = raised(0, 1, 5).correction(&plan(true, 1, Some(6)), None);
        assert_eq!(first, Some(rawdoc! { "nextInvoice": 6_i64 }), "a new client counts from 1");
        let nothing = raised(4, 10, 10).correction(&plan(false, 4, None), None);
        assert_eq!(nothing, Some(rawdoc! { "revision": 4_i64 }), "a receipt alone takes no revision");
    }

    #[test]
    fn a_counter_is_put_back_or_taken_away() {
        assert_eq!(raised(4, 10, 15).undo(), Some(rawdoc! { "revision": 4_i64, "nextInvoice": 10_i64 }));
        assert_eq!(raised(0, 1, 5).undo(), None, "there was none");
    }
}
