//! Why a well-formed batch was not applied.

use bson::oid::ObjectId;

use super::Receipt;
use crate::batch::{Problem, ProblemCode, Problems};

/// The records say no. Nothing was written. As text it is for the log, and holds no word of the phone's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Records are missing, or balances too small.
    #[error("batch rejected at {:?}", .0.first().path)]
    Problems(Problems),
    /// The key was committed with another payload.
    #[error("idempotency key was used for another payload")]
    KeyReused,
}

impl Reject {
    /// The rules say yes, but the database has a rule of its own against a record that `receipt` tells of,
    /// like a unique index of another program. It always will, so the phone must hear of it.
    pub fn by_the_database(receipt: &Receipt, record: Option<ObjectId>) -> Self {
        let path = record.map(|id| receipt.path_of(id)).unwrap_or_default();
        let message = "The database does not take this record: it has an index or a schema against it".to_owned();
        let problem = Problem { path, code: ProblemCode::RefusedByDatabase, message };
        Self::Problems(Problems::one(problem))
    }
}
