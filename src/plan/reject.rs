//! Why a well-formed batch was not applied.

use crate::batch::Problems;

/// The records say no. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Records are missing, or balances too small.
    #[error("batch rejected: {}", .0.message())]
    Problems(Problems),
    /// The key was committed with another payload.
    #[error("idempotency key was used for another payload")]
    KeyReused,
}
