//! A client's books as the API shows them: only the fields that the audit looks at.

use std::io::Read;

use bson::oid::ObjectId;
use serde::Deserialize;

use crate::cli::storm::script::{Label, Units};

/// Everything of a client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Books {
    /// `revision`: how many batches have written.
    pub revision: u64,
    /// `data`.
    pub data: Data,
}

/// The lists of a dataset.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// `items`.
    pub items: Vec<Item>,
    /// `invoices`.
    pub invoices: Vec<Invoice>,
    /// `payments`.
    pub payments: Vec<Payment>,
    /// `purchaseHistory`.
    pub purchase_history: Vec<Purchase>,
}

/// An item.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `_id`.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// `clientId`.
    pub client_id: ObjectId,
    /// `localId`.
    pub local_id: Option<Label>,
    /// `name`.
    pub name: Label,
    /// `description`.
    pub description: Label,
    /// `price`.
    pub price: Units,
    /// `stock`.
    pub stock: Units,
    /// `isActive`.
    pub is_active: bool,
}

/// An invoice.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    /// `_id`.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// `clientId`.
    pub client_id: ObjectId,
    /// `localId`.
    pub local_id: Option<Label>,
    /// `notes`.
    pub notes: Label,
    /// `clientCustomerId`.
    pub client_customer_id: Option<ObjectId>,
    /// `invoiceNumber`.
    pub invoice_number: Box<str>,
    /// `subtotal`.
    pub subtotal: Units,
    /// `totalAmount`.
    pub total_amount: Units,
    /// `paidAmount`.
    pub paid_amount: Units,
    /// `isFinalized`.
    pub is_finalized: bool,
    /// `products`.
    pub products: Vec<SoldLine>,
}

/// A line of an invoice.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoldLine {
    /// `productId`.
    pub product_id: Option<ObjectId>,
    /// `quantity`.
    pub quantity: Units,
    /// `costPerUnit`.
    pub cost_per_unit: Units,
}

/// A payment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// `clientId`.
    pub client_id: ObjectId,
    /// `localId`.
    pub local_id: Option<Label>,
    /// `note`.
    pub note: Label,
    /// `invoiceId`.
    pub invoice_id: Option<ObjectId>,
    /// `amount`.
    pub amount: Units,
}

/// A purchase history.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// `clientId`.
    pub client_id: ObjectId,
    /// `clientCustomerId`.
    pub client_customer_id: Option<ObjectId>,
    /// `invoiceId`.
    pub invoice_id: Option<ObjectId>,
    /// `totalAmount`.
    pub total_amount: Units,
}

impl Books {
    /// Reads the answer to a full pull while it comes, so that only what is looked at is held.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(answer: impl Read) -> Result<Self, serde_json::Error> {
        serde_json::from_reader(std::io::BufReader::with_capacity(64 << 10, answer))
    }
}
