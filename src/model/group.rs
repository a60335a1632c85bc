//! Item groups, which other services make.

use super::ids::record_id;

record_id! {
    /// A group that a shop sorts its items into.
    GroupId
}
