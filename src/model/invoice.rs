//! What was sold, and the arithmetic of an invoice.

use serde::Serialize;

use super::ids::record_id;
use super::{Amount, CustomerId, ItemId, LocalId, OutOfRange, Timestamp};

record_id! {
    /// An invoice.
    InvoiceId
}

/// A whole new invoice, less what the store adds to every record (`clientId`, `revision`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    /// The id that the server made.
    #[serde(rename = "_id")]
    pub id: InvoiceId,
    /// What the phone calls it for ever, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_id: Option<LocalId>,
    /// The customer, if the shop knows one.
    pub client_customer_id: Option<CustomerId>,
    /// The customer's name as printed.
    pub client_customer_name: String,
    /// The customer's phone number as printed.
    pub client_customer_phone: String,
    /// The phone's number, or the client's next `INV-000001`.
    pub invoice_number: String,
    /// When the sale was made, by the phone's clock.
    pub invoice_date: Timestamp,
    /// When it is to be paid, if that was agreed.
    pub due_date: Option<Timestamp>,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
    /// What was paid so far: at creation and by payments since.
    pub paid_amount: Amount,
    /// 0..2000 characters.
    pub notes: String,
    /// Whether it is paid in full.
    pub is_finalized: bool,
    /// What was sold.
    pub products: Vec<InvoiceLine>,
    /// When it was created, by the server's clock.
    pub created_at: Timestamp,
    /// When it last changed, by the server's clock.
    pub updated_at: Timestamp,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceLine {
    /// The item sold.
    pub product_id: ItemId,
    /// Its name as printed.
    pub item_name: String,
    /// Its price as printed.
    pub cost_per_unit: Amount,
    /// How much of it, more than 0.
    pub quantity: Amount,
    /// The name of its group as printed.
    pub item_group: String,
}

/// The sums of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// The lines' sum.
    pub subtotal: Amount,
    /// Added to the subtotal.
    pub total_tax: Amount,
    /// Taken from the subtotal.
    pub total_discount: Amount,
    /// What the customer owes.
    pub total_amount: Amount,
}

/// What a phone states of an invoice's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedTotals {
    /// The lines' sum, if the phone gives it.
    pub subtotal: Option<Amount>,
    /// 0 if the phone does not give it.
    pub total_tax: Amount,
    /// 0 if the phone does not give it.
    pub total_discount: Amount,
    /// What the customer owes, if the phone gives it.
    pub total_amount: Option<Amount>,
}

impl StatedTotals {
    /// Fills in what the phone did not state: `subtotal` is the sum of cost x quantity over the lines,
    /// `totalAmount` is subtotal + tax - discount.
    ///
    /// # Errors
    /// [`OutOfRange`] if a sum is not below 10^11 in size.
    pub fn complete(self, lines: impl IntoIterator<Item = (Amount, Amount)>) -> Result<Totals, OutOfRange> {
        let Self { subtotal, total_tax, total_discount, total_amount } = self;
        let subtotal = subtotal.map_or_else(|| Amount::sum_of_products(lines), Ok)?;
        let total_amount = total_amount.map_or_else(|| subtotal.plus(total_tax)?.minus(total_discount), Ok)?;
        Ok(Totals { subtotal, total_tax, total_discount, total_amount })
    }
}

/// The number that the server gives to a client's `n`th invoice without a number: `INV-000001`.
pub fn invoice_number(n: i64) -> String {
    format!("INV-{n:06}")
}
