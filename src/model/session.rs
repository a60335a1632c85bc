//! Sessions of devices, which the login service makes.

use super::ids::record_id;

record_id! {
    /// A device on which somebody of a shop has logged in.
    SessionId
}
