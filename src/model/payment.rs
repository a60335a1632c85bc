//! What was paid on an invoice.

use serde::Serialize;

use super::ids::record_id;
use super::{Amount, InvoiceId, LocalId, Timestamp};

record_id! {
    /// A payment.
    PaymentId
}

/// A new payment, less what the store adds to every record (`clientId`, `revision`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The id that the server made.
    #[serde(rename = "_id")]
    pub id: PaymentId,
    /// What the phone calls it for ever, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_id: Option<LocalId>,
    /// The invoice it is paid on.
    pub invoice_id: InvoiceId,
    /// More than 0, and at most what was outstanding.
    pub amount: Amount,
    /// `cash`, or what the phone names. 0..200 characters.
    pub method: String,
    /// 0..2000 characters.
    pub note: String,
    /// When the customer paid, by the phone's clock.
    pub paid_at: Timestamp,
    /// When it was created, by the server's clock.
    pub created_at: Timestamp,
    /// When it last changed, by the server's clock.
    pub updated_at: Timestamp,
}

impl Payment {
    /// How a payment was made that does not say.
    pub const DEFAULT_METHOD: &str = "cash";
}
