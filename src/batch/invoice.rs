//! The wire shape of `invoice.create`.

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use validator::Validate;

use super::invalid::{Problem, ProblemCode};
use super::names::{Names, Target};
use super::reader::{Element, Identity, Reader, Report};
use super::schema::{Fields, Least, Values};
use crate::model::{Amount, CustomerId, Item, ItemId, StatedTotals, Timestamp, Totals};

/// A new invoice.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInvoice {
    /// Which create it is.
    pub identity: Identity,
    /// What was sold: one line or more.
    pub lines: Vec<NewLine>,
    /// The customer, whom this store may not know.
    pub customer_id: Option<CustomerId>,
    /// As printed.
    pub customer_name: String,
    /// As printed.
    pub customer_phone: String,
    /// The phone's number; without one the client's next is given.
    pub number: Option<String>,
    /// When the sale was made; without it, now.
    pub date: Option<Timestamp>,
    /// When it is to be paid.
    pub due_date: Option<Timestamp>,
    /// The sums that the phone states.
    pub totals: StatedTotals,
    /// Never negative.
    pub paid_amount: Amount,
    /// 0..2000 characters.
    pub notes: String,
}

/// A line of a new invoice.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLine {
    /// What was sold.
    pub product: LineProduct,
    /// How much of it, more than 0.
    pub quantity: Amount,
    /// The name of its group as printed.
    pub item_group: String,
}

/// What a line sells.
#[derive(Debug, Clone, PartialEq)]
pub enum LineProduct {
    /// An item that is there, with what the line prints instead of its name and price.
    Existing {
        /// Which item.
        item: Target<ItemId>,
        /// Instead of the item's name.
        item_name: Option<String>,
        /// Instead of the item's price.
        cost_per_unit: Option<Amount>,
    },
    /// An item that the line makes.
    New {
        /// Its name.
        item_name: String,
        /// Its price, never negative.
        cost_per_unit: Amount,
        /// Its stock before this sale, never negative.
        stock: Amount,
        /// Its unit.
        unit: String,
        /// Its description.
        description: String,
    },
}

#[derive(Validate)]
struct InvoiceFields {
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    client_customer_name: Option<String>,
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    client_customer_phone: Option<String>,
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    invoice_number: Option<String>,
    #[validate(range(min = Amount::ZERO, message = "!Paid amount cannot be negative"))]
    paid_amount: Option<Amount>,
    #[validate(length(max = 2000, message = "of at most 2000 characters"))]
    notes: Option<String>,
}

#[derive(Validate)]
struct LineFields {
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    item_name: Option<String>,
    #[validate(range(exclusive_min = Amount::ZERO, message = "> 0"))]
    quantity: Option<Amount>,
    #[validate(length(max = 200, message = "of at most 200 characters"))]
    item_group: Option<String>,
}

/// The fields of a line that makes an item.
#[derive(Validate)]
struct NewItemFields {
    #[validate(range(min = Amount::ZERO, message = ">= 0"))]
    cost_per_unit: Option<Amount>,
    #[validate(range(min = Amount::ZERO, message = ">= 0"))]
    stock: Option<Amount>,
    #[validate(length(min = 1, max = 20, message = "of 1 to 20 characters"))]
    unit: Option<String>,
    #[validate(length(max = 2000, message = "of at most 2000 characters"))]
    description: Option<String>,
}

/// The shape on the wire.
impl PartialSchema for NewInvoice {
    fn schema() -> RefOr<Schema> {
        let printed = |about| Values::text(0..=200, about);
        Fields::of(
            "A new invoice. A total that the phone states is kept as it is; one that it leaves out is computed. It is \
             finalised when `paidAmount` reaches `totalAmount`. Totals below 0 and more paid than the total are refused.",
        )
        .optional("_id", Values::alias())
        .optional("localId", Values::local_id())
        .required("products", Values::list_of("NewLine", "What was sold.").with_items(1..=MOST_LINES))
        .optional("clientCustomerId", Values::id("The customer. One that is not known is kept, with a warning."))
        .optional("clientCustomerName", printed("As printed. Absent: empty."))
        .optional("clientCustomerPhone", printed("As printed. Absent: empty."))
        .optional("invoiceNumber", printed("Absent or blank: the client's next number, like `INV-000001`."))
        .optional("invoiceDate", Values::time("When the sale was made. Absent: now, by the server's clock."))
        .optional("dueDate", Values::time("When it is to be paid. Absent: null."))
        .optional("subtotal", Values::amount(Least::Any, "Absent: the sum of `costPerUnit` x `quantity` over the lines."))
        .optional("totalTax", Values::amount(Least::Any, "Absent: 0."))
        .optional("totalDiscount", Values::amount(Least::Any, "Absent: 0."))
        .optional("totalAmount", Values::amount(Least::Zero, "Absent: `subtotal` + `totalTax` - `totalDiscount`."))
        .optional("paidAmount", Values::amount(Least::Zero, "What is paid already, at most `totalAmount`. Absent: 0."))
        .optional("notes", Values::text(0..=2000, "Absent: empty."))
        .schema()
    }
}

impl ToSchema for NewInvoice {}

/// The shape on the wire.
impl PartialSchema for NewLine {
    fn schema() -> RefOr<Schema> {
        Fields::of(
            "A line of a new invoice. With a `productId` it sells that item, less its stock if enough is there (else the \
             stock stays, with a warning). Without, it makes a new item, and needs `itemName` and a `costPerUnit` of 0 or \
             more; only then do `stock`, `unit` and `description` count.",
        )
        .optional("productId", Values::reference("The item: an alias or `localId` of this batch, or a stored `localId` or id. Blank is as good as absent."))
        .required("quantity", Values::amount(Least::AboveZero, "How much was sold."))
        .optional("itemName", Values::text(0..=200, "As printed. Absent or blank: the item's name."))
        .optional("costPerUnit", Values::amount(Least::Any, "Absent: the item's price. Below 0 is a credit line."))
        .optional("itemGroup", Values::text(0..=200, "The name of its group, as printed. Absent: empty."))
        .optional("stock", Values::amount(Least::Zero, "Of the new item, before this sale. Absent: 0."))
        .optional("unit", Values::text(1..=20, "Of the new item. Absent: `nos`."))
        .optional("description", Values::text(0..=2000, "Of the new item. Absent: empty."))
        .schema()
    }
}

impl ToSchema for NewLine {}

/// Fields of a normalised invoice that a phone may echo back.
const ECHOED: [&str; 6] = ["clientId", "isFinalized", "generatedAt", "createdAt", "updatedAt", "__v"];

/// Completes an invoice's sums from its lines (cost per unit, quantity) and checks them.
///
/// # Errors
/// A sum that is out of range, a negative total, or more paid than the total. `path` is the invoice's.
pub fn complete_totals(
    stated: StatedTotals,
    paid_amount: Amount,
    lines: impl IntoIterator<Item = (Amount, Amount)>,
    path: &str,
) -> Result<Totals, Problem> {
    let problem =
        |field, code, message: &str| Problem { path: format!("{path}/{field}"), code, message: message.to_owned() };
    let totals = stated.complete(lines).map_err(|out_of_range| {
        problem("totalAmount", ProblemCode::OutOfRange, &format!("Total amount must be {out_of_range}"))
    })?;
    if totals.total_amount < Amount::ZERO {
        return Err(problem("totalAmount", ProblemCode::NegativeTotal, "Total amount cannot be negative"));
    }
    if paid_amount > totals.total_amount {
        return Err(problem("paidAmount", ProblemCode::PaidExceedsTotal, "Paid amount cannot exceed total amount"));
    }
    Ok(totals)
}

/// Reads an element of `invoice.create`.
pub(super) fn read_create(
    element: Element<'_>,
    items: &Names,
    invoices: &Names,
    report: &mut Report,
) -> Option<NewInvoice> {
    let (index, mut reader) = element.open(report)?;
    let found = report.found();
    let identity = reader.identity(index, invoices, report);
    let lines = read_lines(&mut reader, items, report);
    let fields = InvoiceFields {
        client_customer_name: reader.text("clientCustomerName", report),
        client_customer_phone: reader.text("clientCustomerPhone", report),
        invoice_number: reader.nonblank_text("invoiceNumber", report),
        paid_amount: reader.amount("paidAmount", report),
        notes: reader.text("notes", report),
    };
    report.bounds(reader.place(), &fields);
    let before = report.found();
    let totals = StatedTotals {
        subtotal: reader.amount("subtotal", report),
        total_tax: reader.amount("totalTax", report).unwrap_or_default(),
        total_discount: reader.amount("totalDiscount", report).unwrap_or_default(),
        total_amount: reader.amount("totalAmount", report),
    };
    let unreadable = report.found() > before;
    let customer_id = reader.id("clientCustomerId", report);
    let date = reader.time("invoiceDate", report);
    let due_date = reader.time("dueDate", report);
    let paid_amount = fields.paid_amount.unwrap_or_default();
    if let Some(Problem { path, code, message }) =
        check_stated(totals, paid_amount, &lines, &reader.place().path()).filter(|_| !unreadable)
    {
        report.problem(path, code, message);
    }
    reader.warn_of_unknown(&ECHOED, report);
    (report.found() == found).then_some(())?;
    Some(NewInvoice {
        identity,
        lines: lines.into_iter().flatten().collect(),
        customer_id,
        customer_name: fields.client_customer_name.unwrap_or_default(),
        customer_phone: fields.client_customer_phone.unwrap_or_default(),
        number: fields.invoice_number,
        date,
        due_date,
        totals,
        paid_amount,
        notes: fields.notes.unwrap_or_default(),
    })
}

/// Checks the sums as far as they follow from the request alone; the plan checks the others.
fn check_stated(stated: StatedTotals, paid_amount: Amount, lines: &[Option<NewLine>], path: &str) -> Option<Problem> {
    let costs: Option<Vec<_>> = lines.iter().map(|line| line.as_ref().and_then(NewLine::stated_cost)).collect();
    let lines_matter = stated.subtotal.is_none() && stated.total_amount.is_none();
    let costs = costs.filter(|costs| !costs.is_empty());
    let costs = if lines_matter { costs? } else { costs.unwrap_or_default() };
    complete_totals(stated, paid_amount, costs, path).err()
}

impl NewLine {
    /// Cost per unit and quantity, if the request states both.
    fn stated_cost(&self) -> Option<(Amount, Amount)> {
        match &self.product {
            LineProduct::Existing { cost_per_unit, .. } => cost_per_unit.map(|cost| (cost, self.quantity)),
            LineProduct::New { cost_per_unit, .. } => Some((*cost_per_unit, self.quantity)),
        }
    }
}

/// Lines of one invoice: far below what one stored document can hold.
pub(super) const MOST_LINES: usize = 1000;

/// Reads `products`: one element for each line, `None` where a line has problems.
fn read_lines(reader: &mut Reader<'_>, items: &Names, report: &mut Report) -> Vec<Option<NewLine>> {
    let found = report.found();
    let lines = reader.list("products", "Invoice product", report);
    if lines.is_empty() && report.found() == found {
        report.missing(reader.place(), "products", "missing products");
    }
    if lines.len() > MOST_LINES {
        let message = format!("{} must have products of at most {MOST_LINES} lines", reader.place().subject());
        report.problem(reader.place().member("products"), ProblemCode::InvalidLength, message);
        return Vec::new();
    }
    lines.into_iter().map(|line| read_line(line, items, report)).collect()
}

fn read_line(element: Element<'_>, items: &Names, report: &mut Report) -> Option<NewLine> {
    let (_, mut reader) = element.open(report)?;
    let found = report.found();
    let item = reader.reference("productId", items, report);
    let sells_existing = item.is_some() || report.found() > found;
    let fields = LineFields {
        item_name: reader.nonblank_text("itemName", report),
        quantity: reader.amount("quantity", report),
        item_group: reader.text("itemGroup", report),
    };
    let cost_per_unit = reader.amount("costPerUnit", report);
    let product = if sells_existing {
        item.map(|item| LineProduct::Existing { item, item_name: fields.item_name.clone(), cost_per_unit })
    } else {
        read_new_item(&mut reader, fields.item_name.clone(), cost_per_unit, report)
    };
    if reader.value("quantity").is_none() {
        report.missing(reader.place(), "quantity", "missing quantity");
    }
    report.bounds(reader.place(), &fields);
    reader.warn_of_unknown(&["_id"], report);
    (report.found() == found).then_some(())?;
    Some(NewLine { product: product?, quantity: fields.quantity?, item_group: fields.item_group.unwrap_or_default() })
}

/// Reads what a line without a productId says of the item that it makes.
fn read_new_item(
    reader: &mut Reader<'_>,
    item_name: Option<String>,
    cost_per_unit: Option<Amount>,
    report: &mut Report,
) -> Option<LineProduct> {
    if item_name.is_none() && reader.value("itemName").is_none_or(Value::is_string) {
        report.missing(reader.place(), "itemName", "missing itemName");
    }
    if reader.value("costPerUnit").is_none() {
        report.missing(reader.place(), "costPerUnit", "missing costPerUnit");
    }
    let fields = NewItemFields {
        cost_per_unit,
        stock: reader.amount("stock", report),
        unit: reader.text("unit", report),
        description: reader.text("description", report),
    };
    report.bounds(reader.place(), &fields);
    Some(LineProduct::New {
        item_name: item_name?,
        cost_per_unit: cost_per_unit?,
        stock: fields.stock.unwrap_or_default(),
        unit: fields.unit.unwrap_or_else(|| Item::DEFAULT_UNIT.into()),
        description: fields.description.unwrap_or_default(),
    })
}
