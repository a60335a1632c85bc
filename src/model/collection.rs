//! The six collections that make up a client's dataset.

use serde::{Deserialize, Serialize};

/// One of the six collections of the existing Viveka database, in the order of the answer's `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collection {
    /// Groups that a shop sorts its items into. Made elsewhere, read here.
    ItemGroups,
    /// What a shop sells.
    Items,
    /// The shop's customers. Made elsewhere, read here.
    ClientCustomers,
    /// What was sold.
    Invoices,
    /// What was paid on an invoice.
    Payments,
    /// One record for each finalised invoice of a known customer.
    PurchaseHistories,
}

impl Collection {
    /// All collections, in the order of the answer's `data`.
    pub const ALL: [Self; 6] =
        [Self::ItemGroups, Self::Items, Self::ClientCustomers, Self::Invoices, Self::Payments, Self::PurchaseHistories];

    /// The collection's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::ItemGroups => "itemgroups",
            Self::Items => "items",
            Self::ClientCustomers => "clientcustomers",
            Self::Invoices => "invoices",
            Self::Payments => "payments",
            Self::PurchaseHistories => "purchasehistories",
        }
    }

    /// The list's name in the answer's `data`.
    pub fn data_name(self) -> &'static str {
        match self {
            Self::ItemGroups => "itemGroups",
            Self::Items => "items",
            Self::ClientCustomers => "clientCustomers",
            Self::Invoices => "invoices",
            Self::Payments => "payments",
            Self::PurchaseHistories => "purchaseHistory",
        }
    }
}
