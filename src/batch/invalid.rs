//! What can be wrong with a batch, as the phone's developer is told.

use serde_json::{Value, json};
use utoipa::ToSchema;

/// One problem: which operation and field, what kind, and why in words.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the offending value in the request body.
    pub path: String,
    /// What kind of problem.
    pub code: ProblemCode,
    /// One sentence for a person.
    pub message: String,
}

/// The kinds of problems, as `errors[].code` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ProblemCode {
    /// A required field is not there.
    Missing,
    /// A value of another JSON type was expected.
    WrongType,
    /// A text or a list is too short or too long.
    InvalidLength,
    /// A number is out of bounds.
    OutOfRange,
    /// No 24 hex digits.
    InvalidId,
    /// No local id.
    InvalidLocalId,
    /// Neither `YYYY-MM-DD` nor RFC 3339.
    InvalidDate,
    /// A reference to a name that several records of this batch have.
    AmbiguousReference,
    /// The total of an invoice is below 0.
    NegativeTotal,
    /// An invoice is paid with more than its total.
    PaidExceedsTotal,
    /// The record does not exist, or is not this client's.
    NotFound,
    /// A payment is larger than what is outstanding.
    ExceedsBalance,
    /// The local id of a create belongs to a record of another kind.
    LocalIdTaken,
    /// A stored record lacks a number that the rules need.
    UnreadableRecord,
    /// The database has a rule of its own against the record.
    RefusedByDatabase,
    /// The idempotency key was committed with another payload. (Told by a check; a sync has a status for it.)
    IdempotencyKeyReused,
}

impl ProblemCode {
    /// The code as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::InvalidLength => "invalid_length",
            Self::OutOfRange => "out_of_range",
            Self::InvalidId => "invalid_id",
            Self::InvalidLocalId => "invalid_local_id",
            Self::InvalidDate => "invalid_date",
            Self::AmbiguousReference => "ambiguous_reference",
            Self::NegativeTotal => "negative_total",
            Self::PaidExceedsTotal => "paid_exceeds_total",
            Self::NotFound => "not_found",
            Self::ExceedsBalance => "exceeds_balance",
            Self::LocalIdTaken => "local_id_taken",
            Self::UnreadableRecord => "unreadable_record",
            Self::RefusedByDatabase => "refused_by_database",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
        }
    }
}

/// The problems of one batch in the order they were found: never empty, and 100 at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// As many as an answer tells.
    pub(super) const MOST: usize = 100;

    /// A single one.
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `None` if there is no problem.
    pub fn of(mut found: Vec<Problem>) -> Option<Self> {
        found.truncate(Self::MOST);
        (!found.is_empty()).then_some(Self(found))
    }

    /// The first one.
    pub fn first(&self) -> &Problem {
        &self.0[0]
    }

    /// The text of the first one.
    pub fn message(&self) -> &str {
        &self.first().message
    }

    /// How many are told.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// As `errors` of the answer.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(|p| json!({"path": p.path, "code": p.code.as_str(), "message": p.message})).collect()
    }
}

/// Why bytes are no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedJson {
    /// What is wrong and where. It may quote a member's name.
    pub detail: String,
    /// Where, counted from 1.
    pub line: usize,
    /// Where in the line, counted from 1.
    pub column: usize,
}

/// Why bytes are no batch, decided from the request alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// Not JSON.
    Json(MalformedJson),
    /// `clientId` in the body is not the token's.
    ForeignClient,
    /// More operations than one batch may have.
    TooManyOperations {
        /// The limit.
        limit: usize,
    },
    /// JSON, but not a batch.
    Shape(Problems),
}
