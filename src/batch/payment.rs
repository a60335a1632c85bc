//! The wire shape of `payment.create`.

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use validator::Validate;

use super::names::{Names, Target};
use super::reader::{Element, Identity, Report};
use super::schema::{Fields, Least, Values};
use crate::model::{Amount, InvoiceId, Payment, Timestamp};

/// A new payment.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPayment {
    /// Which create it is.
    pub identity: Identity,
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

/// The shape on the wire.
impl PartialSchema for NewPayment {
    fn schema() -> RefOr<Schema> {
        Fields::of("A new payment. It is added to what is paid on the invoice; reaching the total finalises it.")
            .optional("_id", Values::alias())
            .optional("localId", Values::local_id())
            .required(
                "invoiceId",
                Values::given_reference(
                    "The invoice: an alias or `localId` of this batch, or a stored `localId` or id.",
                ),
            )
            .required("amount", Values::amount(Least::AboveZero, "At most what is outstanding on the invoice."))
            .optional("method", Values::text(0..=200, "How it was paid. Absent: `cash`."))
            .optional("note", Values::text(0..=2000, "Absent: empty."))
            .optional("paidAt", Values::time("When the customer paid. Absent: now, by the server's clock."))
            .schema()
    }
}

impl ToSchema for NewPayment {}

/// Fields of a normalised payment that a phone may echo back.
const ECHOED: [&str; 4] = ["clientId", "createdAt", "updatedAt", "__v"];

/// Reads an element of `payment.create`.
pub(super) fn read_create(
    element: Element<'_>,
    invoices: &Names,
    payments: &Names,
    report: &mut Report,
) -> Option<NewPayment> {
    let (index, mut reader) = element.open(report)?;
    let found = report.found();
    let identity = reader.identity(index, payments, report);
    let before = report.found();
    let invoice = reader.reference("invoiceId", invoices, report);
    if invoice.is_none() && report.found() == before {
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
    (report.found() == found).then_some(())?;
    Some(NewPayment {
        identity,
        invoice: invoice?,
        amount: fields.amount?,
        method: fields.method.unwrap_or_else(|| Payment::DEFAULT_METHOD.into()),
        note: fields.note.unwrap_or_default(),
        paid_at,
    })
}
