//! The wire shape of `payment.create`.

use serde_json::Value;
use validator::Validate;

use super::alias::{Alias, Aliases, Target};
use super::reader::{Place, Reader, Report};
use crate::model::{Amount, InvoiceId, Payment, Timestamp};

/// A new payment.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPayment {
    /// What the phone calls it, if it calls nothing else so.
    pub alias: Option<Alias>,
    /// The invoice it is paid on.
    pub invoice: Target<InvoiceId>,
    /// More than 0.
    pub amount: Amount,
    /// 0..200 characters.
    pub method: String,
    /// 0..2000 characters.
    pub note: String,
    /// When the customer paid; without it, now.
    pub paid_at: Option<Timestamp>,
}

#[derive(Validate)]
struct PaymentFields {
    #[validate(range(exclusive_min = Amount::ZERO, message = "> 0"))]
    amount: Option<Amount>,
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    method: Option<String>,
    #[validate(length(max = 2000, message = "of at most 2000 characters"))]
    note: Option<String>,
}

/// Fields of a normalised payment that a phone may echo back.
const ECHOED: [&str; 4] = ["clientId", "createdAt", "updatedAt", "__v"];

/// Reads an element of `payment.create`.
pub(super) fn read_create(
    value: &Value,
    place: Place,
    invoices: &Aliases,
    payments: &Aliases,
    report: &mut Report,
) -> Option<NewPayment> {
    let mut reader = Reader::open(value, place, report)?;
    let found = report.problems.len();
    let alias = reader.alias(payments, report);
    let before = report.problems.len();
    let invoice = reader.reference("invoiceId", invoices, report);
    if invoice.is_none() && report.problems.len() == before {
        report.missing(reader.place(), "invoiceId", "missing data");
    }
    if reader.value("amount").is_none() {
        report.missing(reader.place(), "amount", "missing data");
    }
    let fields = PaymentFields {
        amount: reader.amount("amount", report),
        method: reader.text("method", report),
        note: reader.text("note", report),
    };
    report.bounds(reader.place(), &fields);
    let paid_at = reader.time("paidAt", report);
    reader.warn_of_unknown(&ECHOED, report);
    (report.problems.len() == found).then_some(())?;
    Some(NewPayment {
        alias,
        invoice: invoice?,
        amount: fields.amount?,
        method: fields.method.unwrap_or_else(|| Payment::DEFAULT_METHOD.into()),
        note: fields.note.unwrap_or_default(),
        paid_at,
    })
}
