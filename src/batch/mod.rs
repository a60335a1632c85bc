//! From bytes to a typed [`Batch`], or to all that is wrong with them.
//!
//! Everything here is decided from the request alone: JSON, shapes, bounds, dates, which alias a
//! reference names. What the records say is for [`crate::plan`].

mod bounds;
mod fingerprint;
mod footprint;
mod inquiry;
mod invalid;
mod invoice;
mod item;
mod json;
mod names;
mod operation;
mod payment;
mod reader;
mod schema;
mod warning;

pub use bounds::{Bounds, Characters};
pub use fingerprint::Fingerprint;
pub use footprint::reading_footprint;
pub use inquiry::Inquiry;
pub use invalid::{Invalid, MalformedJson, Problem, ProblemCode, Problems};
pub use invoice::{LineProduct, NewInvoice, NewLine, complete_totals};
pub use item::{ItemDelete, ItemUpdate, NewItem};
pub use names::{Alias, Target};
pub use operation::{Operation, OperationList};
pub use payment::NewPayment;
pub use reader::Identity;
pub use warning::{ReferenceKind, Warning, WarningKind, Warnings};

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::model::ClientId;
use json::JsonError;
use names::Names;
use reader::{Element, Place, Reader, Report};
use schema::{Fields, Values};

/// A phone's queue: well-formed operations, in the order in which they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `item.create`.
    pub new_items: Vec<NewItem>,
    /// `item.update`.
    pub item_updates: Vec<ItemUpdate>,
    /// `item.delete`.
    pub item_deletes: Vec<ItemDelete>,
    /// `invoice.create`.
    pub new_invoices: Vec<NewInvoice>,
    /// `payment.create`.
    pub new_payments: Vec<NewPayment>,
    /// What was read otherwise than the phone may have expected.
    pub warnings: Warnings,
    /// Tells this payload from others.
    pub fingerprint: Fingerprint,
    /// How much of the dataset the answer is to show.
    pub view: View,
}

/// How much of the dataset an answer is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum View {
    /// Everything.
    #[default]
    Full,
    /// What changed since an answer with this cursor, which may be any text.
    Since(String),
    /// Nothing: what came of the batch is enough.
    None,
}

impl Batch {
    /// Reads a request body. No body at all is an empty batch.
    ///
    /// # Errors
    /// [`Invalid`], with all problems of shape at once.
    pub fn parse(body: &[u8], client: &ClientId, max_operations: usize) -> Result<Self, Invalid> {
        let body = read_body(body, client, max_operations)?;
        let mut report = Report::default();
        let batch = read_batch(&body, max_operations, &mut report)?;
        match Problems::of(report.problems) {
            Some(problems) => Err(Invalid::Shape(problems)),
            None => Ok(Self { warnings: report.warnings, ..batch }),
        }
    }

    /// Whether it has no operation: a pure pull.
    pub fn is_empty(&self) -> bool {
        self.operations() == 0
    }

    /// The number of its operations.
    pub fn operations(&self) -> usize {
        self.new_items.len()
            + self.item_updates.len()
            + self.item_deletes.len()
            + self.new_invoices.len()
            + self.new_payments.len()
    }

    /// The number of ids that applying it takes at most: one for each record, a purchase history for
    /// each invoice and each payment, and an item for each line.
    pub fn ids(&self) -> usize {
        let lines: usize = self.new_invoices.iter().map(|invoice| invoice.lines.len()).sum();
        self.new_items.len() + 2 * self.new_invoices.len() + lines + 2 * self.new_payments.len()
    }
}

/// A request body as far as it can be read, for telling what would come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The operations that are well-formed.
    pub batch: Batch,
    /// What is wrong with the others and with what is around them.
    pub problems: Vec<Problem>,
    /// All operations, the malformed ones included, in the order in which they are applied.
    pub operations: Vec<Operation>,
}

impl Reading {
    /// Reads a request body. No body at all is an empty batch.
    ///
    /// # Errors
    /// [`Invalid`], if it is no batch at all: not JSON, not an object, too large, or another client's.
    pub fn of(body: &[u8], client: &ClientId, max_operations: usize) -> Result<Self, Invalid> {
        let body = read_body(body, client, max_operations)?;
        let mut report = Report::default();
        let batch = read_batch(&body, max_operations, &mut report)?;
        if !body.is_object() {
            return Problems::of(report.problems)
                .map_or_else(|| unreachable!("it was told"), |p| Err(Invalid::Shape(p)));
        }
        let batch = Batch { warnings: report.warnings, ..batch };
        Ok(Self { batch, problems: report.problems, operations: operation::all(&body) })
    }
}

/// Refuses a body whose `clientId` is not the token's.
///
/// # Errors
/// [`Invalid::Json`], [`Invalid::Shape`] if the body is no object, or [`Invalid::ForeignClient`].
pub fn check_body_client(body: &[u8], client: &ClientId, max_operations: usize) -> Result<(), Invalid> {
    let body = read_body(body, client, max_operations)?;
    let mut report = Report::default();
    Reader::open(&body, root("The batch"), &mut report);
    Problems::of(report.problems).map_or(Ok(()), |problems| Err(Invalid::Shape(problems)))
}

fn read_body(body: &[u8], client: &ClientId, max_operations: usize) -> Result<Value, Invalid> {
    let body = if body.is_empty() { Value::Object(Default::default()) } else { read_json(body, max_operations)? };
    check_client(&body, client)?;
    Ok(body)
}

fn read_json(body: &[u8], max_operations: usize) -> Result<Value, Invalid> {
    json::parse(body, json::most_values(max_operations)).map_err(|error| match error {
        JsonError::Malformed(error) => {
            Invalid::Json(MalformedJson { line: error.line(), column: error.column(), detail: error.to_string() })
        }
        JsonError::TooMany => Invalid::TooManyOperations { limit: max_operations },
    })
}

fn check_client(body: &Value, client: &ClientId) -> Result<(), Invalid> {
    match body.get("clientId") {
        None | Some(Value::Null) => Ok(()),
        Some(stated) if stated.as_str().is_some_and(|id| client.is(id.trim())) => Ok(()),
        Some(_) => Err(Invalid::ForeignClient),
    }
}

fn root(subject: &str) -> Place {
    Place::new("", subject)
}

fn read_batch(body: &Value, max_operations: usize, report: &mut Report) -> Result<Batch, Invalid> {
    check_size(body, max_operations)?;
    let [mut new_items, mut updates, mut deletes, mut invoices, mut payments] =
        [const { Vec::<Element<'_>>::new() }; 5];
    let mut view = View::default();
    if let Some(mut reader) = Reader::open(body, root("The batch"), report) {
        if let Some(mut item) = section(&mut reader, "item", report) {
            new_items = item.list("create", "Item create", report);
            updates = item.list("update", "Item update", report);
            deletes = item.list("delete", "Item delete", report);
            item.warn_of_unknown(&[], report);
        }
        if let Some(mut invoice) = section(&mut reader, "invoice", report) {
            invoices = invoice.list("create", "Invoice create", report);
            invoice.warn_of_unknown(&[], report);
        }
        if let Some(mut payment) = section(&mut reader, "payment", report) {
            payments = payment.list("create", "Payment create", report);
            payment.warn_of_unknown(&[], report);
        }
        view = read_view(&mut reader, report);
        reader.warn_of_unknown(&["clientId"], report);
    }
    let [item_names, invoice_names, payment_names] =
        [&new_items, &invoices, &payments].map(|creates| Names::of(creates.iter().map(|create| create.value)));
    Ok(Batch {
        new_items: read_all(new_items, |create| item::read_create(create, &item_names, report)),
        item_updates: read_all(updates, |update| item::read_update(update, &item_names, report)),
        item_deletes: read_all(deletes, |delete| item::read_delete(delete, &item_names, report)),
        new_invoices: read_all(invoices, |create| invoice::read_create(create, &item_names, &invoice_names, report)),
        new_payments: read_all(payments, |create| payment::read_create(create, &invoice_names, &payment_names, report)),
        warnings: Warnings::default(),
        fingerprint: Fingerprint::of(body),
        view,
    })
}

/// The shape on the wire.
impl PartialSchema for Batch {
    fn schema() -> RefOr<Schema> {
        let deletes =
            Values::given_reference("The item: an alias or `localId` of this batch, or a stored `localId` or id.");
        let item = Fields::of("Operations on items, applied in this order.")
            .optional("create", Values::list_of("NewItem", "New items."))
            .optional("update", Values::list_of("ItemUpdate", "Changes of items."))
            .optional(
                "delete",
                Values::list(deletes, "Items to delete. Soft: they stay in `data`, with `isActive` false."),
            );
        let invoice = Fields::of("Operations on invoices, applied after those on items.")
            .optional("create", Values::list_of("NewInvoice", "New invoices."));
        let payment = Fields::of("Operations on payments, applied last.")
            .optional("create", Values::list_of("NewPayment", "New payments."));
        Fields::of(
            "A phone's queue, applied all or nothing. Every section and every list may be absent, null or empty; a batch \
             without an operation is a pull. Within a list, operations are applied as sent, and later ones see what earlier \
             ones did. Fields that are not listed are ignored, and a warning names each.",
        )
        .optional("item", item.values())
        .optional("invoice", invoice.values())
        .optional("payment", payment.values())
        .optional("clientId", stated_client())
        .optional(
            "since",
            Values::any_text(
                "The `cursor` of the last answer that the phone has taken in: the answer is then a delta, if the server \
                 still can. A wrong or old one gives a full answer and never keeps a batch from being applied.",
            ),
        )
        .optional("data", Values::one_of(&["none"], "`none` for an answer without the dataset: the receipt alone."))
        .schema()
    }
}

impl ToSchema for Batch {}

/// A body of which only the `clientId` counts.
pub struct StatedClient;

/// The shape on the wire.
impl PartialSchema for StatedClient {
    fn schema() -> RefOr<Schema> {
        Fields::of("What the phone believes.").optional("clientId", stated_client()).schema()
    }
}

impl ToSchema for StatedClient {}

/// A `clientId` that a body states.
fn stated_client() -> Values {
    Values::id(
        "The shop that the phone believes it writes to. It must be the token's, else 403: this keeps a phone on which \
         somebody else has logged in from sending the queue to the wrong shop.",
    )
}

fn read_view(reader: &mut Reader<'_>, report: &mut Report) -> View {
    let (since, data) = (reader.value("since"), reader.value("data"));
    let mut refuse = |field: &str, what: &str| {
        report.problem(reader.place().member(field), ProblemCode::WrongType, format!("{field} must be {what}"));
        View::Full
    };
    let since = match since {
        None => View::Full,
        Some(Value::String(cursor)) => View::Since(cursor.clone()),
        Some(_) => refuse("since", "a string"),
    };
    match data {
        None => since,
        Some(Value::String(none)) if none == "none" => View::None,
        Some(_) => refuse("data", "\"none\" or absent"),
    }
}

fn section<'a>(reader: &mut Reader<'a>, name: &'static str, report: &mut Report) -> Option<Reader<'a>> {
    let place = Place::new(&reader.place().member(name), &format!("The section {name}"));
    Reader::open(reader.value(name)?, place, report)
}

/// A batch may have ten times as many invoice lines as operations, so that plans stay in bounds too. To be
/// checked before anything is made of its elements.
/// How many lines the invoices of a batch may have.
fn most_lines(max_operations: usize) -> usize {
    max_operations.saturating_mul(10)
}

fn check_size(body: &Value, limit: usize) -> Result<(), Invalid> {
    let operations: usize = OperationList::ALL.into_iter().map(|list| list.of(body).len()).sum();
    let lines = |invoice: &Value| invoice.get("products").and_then(Value::as_array).map_or(0, Vec::len);
    let lines: usize = OperationList::InvoiceCreate.of(body).iter().map(lines).sum();
    if operations > limit || lines > most_lines(limit) {
        return Err(Invalid::TooManyOperations { limit });
    }
    Ok(())
}

fn read_all<T>(list: Vec<Element<'_>>, read: impl FnMut(Element<'_>) -> Option<T>) -> Vec<T> {
    list.into_iter().filter_map(read).collect()
}
