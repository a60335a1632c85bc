//! The shop's customers, which other services make.

use super::ids::record_id;

record_id! {
    /// A buyer whom the shop knows by name.
    CustomerId
}
