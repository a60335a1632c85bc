//! A customer's purchase history.

use serde::Serialize;

use super::ids::record_id;
use super::{Amount, CustomerId, InvoiceId, Timestamp};

record_id! {
    /// A purchase-history record.
    PurchaseId
}

/// The purchase-history record of one finalised invoice with a customer, less what the store adds to
/// every record (`clientId`, `revision`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// The id that the server made.
    #[serde(rename = "_id")]
    pub id: PurchaseId,
    /// Who bought.
    pub client_customer_id: CustomerId,
    /// The customer's phone number as the invoice has it.
    pub client_customer_phone: String,
    /// What was bought.
    pub invoice_id: InvoiceId,
    /// The invoice's total.
    pub total_amount: Amount,
    /// When it was created, by the server's clock.
    pub created_at: Timestamp,
    /// When it last changed, by the server's clock.
    pub updated_at: Timestamp,
}
