//! What the books of one client must be like, whatever engine keeps them. No I/O.
//!
//! Other services write to a MongoDB database too. A record carries a `revision` if this program made or changed it,
//! and only then the rules are known to hold of it. What is odd about others is a note. One that also carries the
//! other services' `__v` was made by them and changed here, so a figure that is odd in it may have come with it.

use std::collections::HashMap;

use bson::Document;
use bson::oid::ObjectId;
use bson::raw::{RawBsonRef, RawDocument};

use super::figures::{self, amount, field};
use super::{COUNTERS, receipts, shape};
use crate::cli::output::counted;
use crate::model::{Amount, ClientId, Collection};
use crate::store::archive::{Chunk, Counters, Finding, Head, LocalRecord, Part, Severity, UNREADABLE, show_id};

/// The books of one client while they are read, part after part in the order of [`Part::ALL`].
pub(super) struct Audit {
    client: ClientId,
    head: Head,
    findings: Vec<Finding>,
    records: u64,
    /// The records that are there.
    ids: HashMap<(Collection, ObjectId), Origin>,
    /// The local ids that records carry, until the registry has named them.
    local_ids: HashMap<(Collection, ObjectId), Local>,
    invoices: HashMap<ObjectId, Invoice>,
    numbers: HashMap<String, u32>,
    /// The keys of the receipts of batches that wrote something, by the revision that they took.
    commits: HashMap<i64, String>,
    beyond: Beyond,
}

/// Who wrote a record last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This program: it carries a revision.
    Here,
    /// Other services alone.
    Elsewhere,
    /// It cannot be read.
    Unknown,
}

/// What is of later commits than the client is at.
#[derive(Default)]
struct Beyond {
    count: u64,
    last: i64,
    /// Where the first one is.
    first: Option<(&'static str, Option<String>)>,
}

/// A local id as its record has it.
struct Local {
    text: String,
    ours: bool,
}

/// An invoice and what was found of it in other collections.
#[derive(Default)]
struct Invoice {
    /// The last commit that made or changed it; none if this program never did.
    revision: Option<i64>,
    total: Option<Amount>,
    paid: Option<Amount>,
    is_finalized: Option<bool>,
    customer: Option<ObjectId>,
    payments: Payments,
    histories: Histories,
}

/// The payments of an invoice.
#[derive(Default)]
struct Payments {
    /// The sum of those that this program made.
    ours: Amount,
    /// The sum of all.
    all: Amount,
    /// The last commit that made one.
    last: Option<i64>,
}

/// The purchase histories of an invoice.
#[derive(Default)]
struct Histories {
    ours: u32,
    all: u32,
}

impl Audit {
    /// Nothing was read yet.
    pub fn new(client: ClientId, head: Head) -> Self {
        Self {
            client,
            head,
            findings: Vec::new(),
            records: 0,
            ids: HashMap::new(),
            local_ids: HashMap::new(),
            invoices: HashMap::new(),
            numbers: HashMap::new(),
            commits: HashMap::new(),
            beyond: Beyond::default(),
        }
    }

    /// Takes in the next records.
    pub fn take(&mut self, chunk: &Chunk) {
        for record in &chunk.records {
            if Document::try_from(&**record).is_err() {
                self.take_unreadable(chunk.part.name(), name(record));
                continue;
            }
            self.records += 1;
            if chunk.part.check(&self.client, record).is_err() {
                let why = "it is kept with this client, and says that it is another's".to_owned();
                self.find(Severity::Problem, chunk.part.name(), name(record), why);
            }
            match chunk.part {
                Part::Data(collection) => self.take_record(collection, record),
                Part::Receipts => self.take_receipt(record),
                Part::LocalIds => self.take_local_id(record),
                Part::Account | Part::Sessions => {}
            }
        }
    }

    /// Takes in that there is a record which cannot be read.
    pub fn take_unreadable(&mut self, part: &'static str, id: Option<String>) {
        self.records += 1;
        let collection = Collection::ALL.into_iter().find(|collection| collection.name() == part);
        let key = id.as_deref().and_then(|id| ObjectId::parse_str(id).ok());
        self.ids.extend(collection.zip(key).map(|key| (key, Origin::Unknown)));
        self.find(Severity::Problem, part, id, format!("it {UNREADABLE}, so requests that need it fail"));
    }

    /// All that was found, and how many records there were. `counters` are as they were when all was read, or later.
    pub fn finish(mut self, counters: &Counters) -> (Vec<Finding>, u64) {
        self.check_counters(counters);
        for (id, invoice) in std::mem::take(&mut self.invoices) {
            self.check_invoice(id, &invoice);
        }
        for ((collection, id), Local { text, ours }) in std::mem::take(&mut self.local_ids) {
            let why = format!("its localId {text:?} is not registered, so its create could be applied again");
            self.find(severity(ours), collection.name(), Some(id.to_hex()), why);
        }
        let twice: Vec<_> = self.numbers.drain().filter(|(_, count)| *count > 1).collect();
        for (number, count) in twice {
            let why = format!("{count} invoices have the number {number:?}, which phones may state as they like");
            self.find(Severity::Note, Collection::Invoices.name(), None, why);
        }
        self.findings.sort();
        (self.findings, self.records)
    }

    fn find(&mut self, severity: Severity, collection: &str, id: Option<String>, why: String) {
        self.findings.push(Finding::of(severity, &self.client, collection, id, why));
    }

    /// What is of later commits than the client is at has one cause, so it is told once.
    fn check_counters(&mut self, counters: &Counters) {
        let Beyond { count, last, first } = std::mem::take(&mut self.beyond);
        let revision = self.head.revision.0;
        let records = counted(count, "record");
        let why = match (counters, count) {
            (Counters::Kept, _) => {
                self.check_head();
                match (count, first) {
                    (0, _) => return,
                    (1, Some((collection, id))) => {
                        let why = format!("its revision is {last}, and the client is at revision {revision}");
                        return self.find(Severity::Problem, collection, id, why);
                    }
                    _ => format!("its revision is {revision}, and {records} are of later commits, up to {last}"),
                }
            }
            (Counters::Missing, 0) => return,
            (Counters::Missing, _) => format!("it is missing, and {records} are of commits up to {last}"),
            (Counters::Unfit(reasons), 0) => format!("{}, so no batch is committed", reasons.join(" and ")),
            (Counters::Unfit(reasons), _) => {
                format!("{}, so no batch is committed; {records} are of commits up to {last}", reasons.join(" and "))
            }
        };
        self.find(Severity::Problem, COUNTERS, None, why);
    }

    fn check_head(&mut self) {
        let Head { revision, next_invoice } = self.head;
        if revision.0 < 0 {
            self.find(Severity::Problem, COUNTERS, None, format!("its revision is {}", revision.0));
        }
        if next_invoice < 1 {
            self.find(Severity::Problem, COUNTERS, None, format!("its next invoice would be number {next_invoice}"));
        }
    }

    fn take_record(&mut self, collection: Collection, record: &RawDocument) {
        let revision = self.check_revision(collection.name(), record);
        // What has an id of another kind is no record of ours, and nothing refers to it.
        let Ok(id) = record.get_object_id("_id") else { return };
        let is_ours = revision.is_some() || field(record, "revision").is_some();
        self.ids.insert((collection, id), if is_ours { Origin::Here } else { Origin::Elsewhere });
        let made_here = revision.is_some() && field(record, "__v").is_none();
        let mut wrong = figures::wrong(collection, record);
        if made_here {
            wrong.extend(shape::wrong(collection, record));
        }
        for why in wrong {
            self.find(severity(made_here), collection.name(), Some(id.to_hex()), why);
        }
        if let Ok(local_id) = record.get_str("localId") {
            let local = Local { text: local_id.to_owned(), ours: revision.is_some() };
            self.local_ids.insert((collection, id), local);
        }
        match collection {
            Collection::Invoices => self.take_invoice(id, revision, record),
            Collection::Payments => self.take_payment(id, revision, record),
            Collection::PurchaseHistories => self.take_history(id, revision, record),
            Collection::ItemGroups | Collection::Items | Collection::ClientCustomers => {}
        }
    }

    /// The revision of a record, if it has one.
    fn check_revision(&mut self, collection: &'static str, record: &RawDocument) -> Option<i64> {
        let revision = match field(record, "revision")? {
            RawBsonRef::Int64(revision) => revision,
            RawBsonRef::Int32(revision) => revision.into(),
            _ => {
                let why = "its revision is no whole number, so delta answers miss it".to_owned();
                self.find(Severity::Problem, collection, name(record), why);
                return None;
            }
        };
        if revision < 1 {
            self.find(Severity::Problem, collection, name(record), format!("its revision is {revision}"));
        }
        self.check_beyond(revision, collection, || name(record));
        Some(revision)
    }

    fn check_beyond(&mut self, revision: i64, collection: &'static str, name: impl FnOnce() -> Option<String>) {
        if revision > self.head.revision.0 {
            self.beyond.count += 1;
            self.beyond.last = self.beyond.last.max(revision);
            self.beyond.first.get_or_insert_with(|| (collection, name()));
        }
    }

    fn take_invoice(&mut self, id: ObjectId, revision: Option<i64>, record: &RawDocument) {
        let invoice = Invoice {
            revision,
            total: amount(record, "totalAmount"),
            paid: match field(record, "paidAmount") {
                None => Some(Amount::ZERO),
                Some(value) => Amount::from_bson(value),
            },
            is_finalized: record.get_bool("isFinalized").ok(),
            customer: record.get_object_id("clientCustomerId").ok(),
            ..Invoice::default()
        };
        self.invoices.insert(id, invoice);
        if let Ok(number) = record.get_str("invoiceNumber") {
            *self.numbers.entry(number.to_owned()).or_default() += 1;
        }
        for item in sold(record) {
            if !self.ids.contains_key(&(Collection::Items, item)) {
                let why = format!("it sells the item {item}, which is not there");
                self.find(Severity::Note, Collection::Invoices.name(), Some(id.to_hex()), why);
            }
        }
    }

    fn take_payment(&mut self, id: ObjectId, revision: Option<i64>, record: &RawDocument) {
        let (severity, collection) = (severity(revision.is_some()), Collection::Payments.name());
        let amount = amount(record, "amount").filter(|amount| *amount > Amount::ZERO);
        if amount.is_none() {
            self.find(severity, collection, Some(id.to_hex()), "its amount is no number above 0".to_owned());
        }
        let invoice = record.get_object_id("invoiceId").ok();
        let Some(invoice) = invoice.and_then(|invoice| self.invoices.get_mut(&invoice)) else {
            let why = self.no_invoice(record).map(|which| format!("it is paid on {which}"));
            return why.into_iter().for_each(|why| self.find(severity, collection, Some(id.to_hex()), why));
        };
        invoice.payments.add(amount.unwrap_or_default(), revision);
    }

    fn take_history(&mut self, id: ObjectId, revision: Option<i64>, record: &RawDocument) {
        let (ours, collection) = (revision.is_some(), Collection::PurchaseHistories.name());
        let invoice_id = record.get_object_id("invoiceId").ok();
        let Some(invoice) = invoice_id.and_then(|invoice| self.invoices.get_mut(&invoice)) else {
            let why = self.no_invoice(record).map(|which| format!("it is of {which}"));
            return why.into_iter().for_each(|why| self.find(severity(ours), collection, Some(id.to_hex()), why));
        };
        invoice.histories.all += 1;
        invoice.histories.ours += u32::from(ours);
        for why in invoice.differences(record) {
            self.find(severity(ours), collection, Some(id.to_hex()), why);
        }
    }

    /// Which invoice a record names that is not there. None if it is there, and cannot be read.
    fn no_invoice(&self, record: &RawDocument) -> Option<String> {
        match field(record, "invoiceId") {
            None => Some("no invoice".to_owned()),
            Some(RawBsonRef::ObjectId(id)) if self.ids.contains_key(&(Collection::Invoices, id)) => None,
            Some(RawBsonRef::String(id)) => Some(format!("the invoice {id:?}, which is a text and no id")),
            Some(id) => Some(format!("the invoice {}, which is not there", show_id(id))),
        }
    }

    fn check_invoice(&mut self, id: ObjectId, invoice: &Invoice) {
        for (severity, why) in invoice.findings() {
            self.find(severity, Collection::Invoices.name(), Some(id.to_hex()), why);
        }
    }

    /// What a local id stands for must be there, and must say so itself.
    fn take_local_id(&mut self, record: &RawDocument) {
        let local_id = record.get_str("localId").unwrap_or_default().to_owned();
        self.check_revision(Part::LocalIds.name(), record);
        let Ok(LocalRecord { id, kind, .. }) = bson::deserialize_from_slice(record.as_bytes()) else {
            let why = "it does not say what it stands for".to_owned();
            return self.find(Severity::Problem, Part::LocalIds.name(), Some(local_id), why);
        };
        let named = self.local_ids.remove(&(kind, id));
        let why = match named {
            _ if self.ids.get(&(kind, id)) == Some(&Origin::Unknown) => return,
            _ if !self.ids.contains_key(&(kind, id)) => {
                format!("it stands for {id} of {}, which is not there", kind.name())
            }
            Some(Local { text, .. }) if text != local_id => {
                format!("it stands for {id} of {}, which says that its localId is {text:?}", kind.name())
            }
            Some(_) => return,
            None => format!("it stands for {id} of {}, which has no localId", kind.name()),
        };
        self.find(Severity::Problem, Part::LocalIds.name(), Some(local_id), why);
    }

    /// All records that a receipt tells of must be there.
    fn take_receipt(&mut self, record: &RawDocument) {
        let key = record.get_str("key").ok().map(str::to_owned);
        let collection = Part::Receipts.name();
        let stored = match receipts::read(record) {
            Ok(stored) => stored,
            Err(why) => return self.find(Severity::Problem, collection, key, why),
        };
        let revision = stored.receipt.revision.0;
        // A receipt alone takes no revision, so a client's first may be of none.
        if revision < 0 {
            self.find(Severity::Problem, collection, key.clone(), format!("its revision is {revision}"));
        }
        self.check_beyond(revision, collection, || key.clone());
        if receipts::wrote(&stored.receipt.summary)
            && let Some(other) = self.commits.insert(revision, stored.key.to_string())
        {
            let why = format!("it says that its batch took the revision {revision}, and so does that of {other:?}");
            self.find(Severity::Problem, collection, key.clone(), why);
        }
        for (kind, id) in receipts::named(&stored.receipt) {
            let why = match self.ids.get(&(kind, id)) {
                Some(Origin::Here | Origin::Unknown) => continue,
                Some(Origin::Elsewhere) => "which carries no revision, so delta answers miss it",
                None => "which is not there",
            };
            let why = format!("it tells of {id} of {}, {why}", kind.name());
            self.find(Severity::Problem, collection, key.clone(), why);
        }
    }
}

impl Payments {
    fn add(&mut self, amount: Amount, revision: Option<i64>) {
        // A sum that is out of range is none that an invoice could have.
        self.all = self.all.plus(amount).unwrap_or(self.all);
        if revision.is_some() {
            self.ours = self.ours.plus(amount).unwrap_or(self.ours);
        }
        self.last = self.last.max(revision);
    }
}

impl Invoice {
    fn findings(&self) -> Vec<(Severity, String)> {
        let mut findings = Vec::new();
        self.check_sums(&mut findings);
        self.check_last_change(&mut findings);
        self.check_finalisation(&mut findings);
        self.check_histories(&mut findings);
        findings
    }

    fn severity(&self) -> Severity {
        severity(self.revision.is_some())
    }

    /// What a purchase history of it says otherwise than itself. It is made from its invoice in the same commit, and
    /// nothing changes either of them afterwards.
    fn differences(&self, history: &RawDocument) -> Vec<String> {
        let mut differences = Vec::new();
        let show = |amount: Option<Amount>| amount.map_or_else(|| "no number".to_owned(), |amount| amount.to_string());
        let total = amount(history, "totalAmount");
        if total != self.total || total.is_none() {
            differences.push(format!("its total is {}, and its invoice's is {}", show(total), show(self.total)));
        }
        let show = |id: Option<ObjectId>| id.map_or_else(|| "none".to_owned(), |id| id.to_hex());
        let customer = history.get_object_id("clientCustomerId").ok();
        if customer != self.customer {
            let (customer, invoices) = (show(customer), show(self.customer));
            differences.push(format!("its customer is {customer}, and its invoice's is {invoices}"));
        }
        differences
    }

    /// What was paid at its creation is told nowhere else, so only the bounds of the sum are known.
    fn check_sums(&self, findings: &mut Vec<(Severity, String)>) {
        let (Some(total), Some(paid)) = (self.total, self.paid) else {
            return findings.push((self.severity(), "its total or its paid amount is no number".to_owned()));
        };
        let Payments { ours, all, .. } = self.payments;
        if paid < Amount::ZERO || paid > total {
            findings.push((self.severity(), format!("{paid} is paid of {total}")));
        }
        if paid < ours {
            findings.push((Severity::Problem, format!("{paid} is paid, and its payments come to {ours}")));
        } else if paid < all {
            let why = format!("{paid} is paid, and with those of other services its payments come to {all}");
            findings.push((Severity::Note, why));
        }
    }

    /// A payment changes its invoice in the same commit, and nothing else does after its creation.
    fn check_last_change(&self, findings: &mut Vec<(Severity, String)>) {
        let (Some(last), changed) = (self.payments.last, self.revision.unwrap_or_default()) else { return };
        if changed < last {
            let why = format!("it was last changed by commit {changed}, and a payment on it is of commit {last}");
            findings.push((Severity::Problem, why));
        } else if changed > last {
            let why = format!("it was last changed by commit {changed}, and no payment on it is of that commit");
            findings.push((Severity::Problem, why));
        }
    }

    fn check_finalisation(&self, findings: &mut Vec<(Severity, String)>) {
        let (Some(total), Some(paid)) = (self.total, self.paid) else { return };
        let is_paid = paid >= total;
        match self.is_finalized {
            Some(is_finalized) if is_finalized != is_paid => {
                let state = if is_finalized { "finalised" } else { "open" };
                findings.push((self.severity(), format!("it is {state}, and {paid} is paid of {total}")));
            }
            None if self.revision.is_some() && is_paid => {
                findings.push((Severity::Problem, "it is paid and does not say that it is finalised".to_owned()));
            }
            _ => {}
        }
    }

    fn check_histories(&self, findings: &mut Vec<(Severity, String)>) {
        let Histories { ours, all } = self.histories;
        let is_wanted = self.is_finalized == Some(true) && self.customer.is_some();
        let why = match (is_wanted, all) {
            (true, 1) | (false, 0) => return,
            (true, 0) => "it is finalised and has a customer, and no purchase history".to_owned(),
            (true, _) => format!("it has {all} purchase histories"),
            (false, _) => {
                let histories =
                    if all == 1 { "a purchase history".to_owned() } else { format!("{all} purchase histories") };
                format!("it has {histories}, and is open or has no customer")
            }
        };
        let is_ours = match (is_wanted, all) {
            (true, 0) => self.revision.is_some(),
            // One of ours beside one of another service may well have been made first.
            (true, _) => ours > 1,
            (false, _) => ours > 0,
        };
        findings.push((severity(is_ours), why));
    }
}

fn severity(ours: bool) -> Severity {
    if ours { Severity::Problem } else { Severity::Note }
}

/// The items that an invoice names.
fn sold(invoice: &RawDocument) -> Vec<ObjectId> {
    let lines = invoice.get_array("products").into_iter().flatten();
    lines.filter_map(|line| line.ok()?.as_document()?.get_object_id("productId").ok()).collect()
}

fn name(record: &RawDocument) -> Option<String> {
    match record.get_str("localId") {
        Ok(local_id) if record.get("content").is_ok_and(|content| content.is_some()) => Some(local_id.to_owned()),
        _ => record.get("_id").ok().flatten().map(show_id),
    }
}
