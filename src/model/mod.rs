//! The nouns of the books: identifiers, amounts, times and the six kinds of records.
//!
//! Nothing here knows HTTP or a database driver. Records are written in the field names and BSON
//! types of the existing Viveka databases, which is what their `Serialize` implementations produce.

mod amount;
mod collection;
mod cursor;
mod customer;
mod group;
mod idempotency_key;
mod ids;
mod invoice;
mod item;
mod local_id;
mod payment;
mod purchase;
mod session;
mod timestamp;

pub use amount::{Amount, OutOfRange};
pub use collection::Collection;
pub use cursor::{Cursor, Lineage, Position, StoreId, Tag, UnknownCursor};
pub use customer::CustomerId;
pub use group::GroupId;
pub use idempotency_key::IdempotencyKey;
pub use ids::{ClientId, RecordId, Revision};
pub use invoice::{Invoice, InvoiceId, InvoiceLine, StatedTotals, Totals, invoice_number};
pub use item::{DealerId, Item, ItemChanges, ItemId};
pub use local_id::LocalId;
pub use payment::{Payment, PaymentId};
pub use purchase::{Purchase, PurchaseId};
pub use session::SessionId;
pub use timestamp::Timestamp;
