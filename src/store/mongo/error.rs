//! What may be said of a driver's error. Its `Display` prints the server's whole reply, records included,
//! so it is never shown nor logged.

use mongodb::error::{
    Error, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    WriteFailure,
};

use crate::plan::Reject;
use crate::store::{ExecuteError, StoreError};

/// A record with these keys is there already.
pub(super) const DUPLICATE_KEY: i32 = 11000;
/// A record is against the collection's schema.
pub(super) const DOCUMENT_VALIDATION_FAILURE: i32 = 121;
/// Two transactions write one document.
pub(super) const WRITE_CONFLICT: i32 = 112;

/// Why an attempt to commit came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The rules say no.
    Rejected(Reject),
    /// Our own error.
    Store(StoreError),
    /// The driver's error. Its labels tell whether another attempt is worth it.
    Driver(Error),
    /// Somebody else was quicker; another attempt sees what they did.
    Overtaken,
    /// What was asked for with one command cannot be had so; another attempt asks with several.
    NotTogether(Error),
    /// The server does not say whether it has committed. A retry with the same key finds out.
    Unsettled(String),
}

/// Why a transaction of one or more batches came to nothing.
#[derive(Debug)]
pub(super) struct Stopped {
    pub failure: Failure,
    /// Because of which of them, if that is known.
    pub culprit: Option<usize>,
}

/// Says what happened: kind, code and labels.
pub(super) fn describe(error: &Error) -> String {
    let mut text = kind(error);
    if let Some(code) = code(error) {
        text.push_str(&format!(" {code}"));
    }
    if let Some(name) = code_name(error) {
        text.push_str(&format!(" {name}"));
    }
    for label in error.labels() {
        text.push_str(&format!(" [{label}]"));
    }
    text
}

/// The server's code for what happened, if the server said it.
pub(super) fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(e) => Some(e.code),
        ErrorKind::Write(WriteFailure::WriteError(e)) => Some(e.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(e)) => Some(e.code),
        ErrorKind::InsertMany(e) => {
            let write = e.write_errors.iter().flatten().map(|e| e.code).next();
            write.or(e.write_concern_error.as_ref().map(|e| e.code))
        }
        _ => None,
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        if is_passing(&error) {
            return Self::Unavailable(text);
        }
        match refusal(&error) {
            Some(why) => Self::Unusable(format!("{why} ({text})")),
            None => Self::Internal(text),
        }
    }
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl Stopped {
    /// Stopped by one of the batches.
    pub fn by(member: usize, failure: impl Into<Failure>) -> Self {
        Self { failure: failure.into(), culprit: Some(member) }
    }
}

impl<F: Into<Failure>> From<F> for Stopped {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), culprit: None }
    }
}

impl Failure {
    /// What the log may say of it.
    pub fn reason(&self) -> String {
        match self {
            Self::Rejected(reject) => reject.to_string(),
            Self::Store(error) => error.to_string(),
            Self::Driver(error) | Self::NotTogether(error) => describe(error),
            Self::Overtaken => "somebody else was quicker".to_owned(),
            Self::Unsettled(why) => why.clone(),
        }
    }

    /// The failure of something that no rule was asked about.
    pub fn of_the_store(self) -> StoreError {
        match self {
            Self::Rejected(reject) => StoreError::Internal(reject.to_string()),
            Self::Store(error) => error,
            Self::Driver(error) | Self::NotTogether(error) => error.into(),
            Self::Overtaken => StoreError::Unavailable("somebody else was quicker".to_owned()),
            Self::Unsettled(why) => StoreError::Unavailable(why),
        }
    }
}

impl From<Failure> for ExecuteError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(reject) => reject.into(),
            other => other.of_the_store().into(),
        }
    }
}

/// What an operator has to set right, if the database is there and refuses whoever asks.
fn refusal(error: &Error) -> Option<&'static str> {
    /// MongoDB's codes for who is asking: not let in, and not let do it.
    const AUTHENTICATION_FAILED: i32 = 18;
    const UNAUTHORIZED: i32 = 13;
    match (error.kind.as_ref(), code(error)) {
        (ErrorKind::Authentication { .. }, _) | (_, Some(AUTHENTICATION_FAILED)) => {
            Some("MongoDB refused the login: the user, the password or the authSource is wrong")
        }
        (_, Some(UNAUTHORIZED)) => {
            Some("MongoDB does not allow it: there is no user, or one without the role readWrite on the database")
        }
        (ErrorKind::InvalidTlsConfig { .. }, _) => Some("its TLS options cannot be used"),
        _ => None,
    }
}

/// Whether it lies in the network or in the state of the servers, so that a later try may succeed.
pub(super) fn is_passing(error: &Error) -> bool {
    let labels = [TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, RETRYABLE_WRITE_ERROR];
    let away = matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Shutdown
    );
    away || labels.iter().any(|label| error.contains_label(label))
        || code(error).is_some_and(|code| PASSING.contains(&code))
}

/// Host away, network timeouts, a replica set that became a lone mongod, stepping down, not primary,
/// recovering, shutting down, not initiated, out of time, write concern not met, conflicts, snapshots that
/// are gone.
const PASSING: [i32; 27] = [
    6, 7, 20, 24, 50, 64, 79, 89, 91, 94, 100, 112, 134, 189, 202, 239, 246, 251, 262, 9001, 10058, 10107, 11600,
    11601, 11602, 13435, 13436,
];

fn kind(error: &Error) -> String {
    let name = match error.kind.as_ref() {
        // The driver's own words on an argument of ours. Connection strings are checked before it sees them.
        ErrorKind::InvalidArgument { message, .. } => return format!("invalid argument: {message}"),
        ErrorKind::Io(e) => return format!("I/O error: {}", e.kind()),
        ErrorKind::Authentication { .. } => "authentication failed",
        ErrorKind::Bson(_) | ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) => "unreadable BSON",
        ErrorKind::InsertMany(_) => "insert failed",
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => "write concern failed",
        ErrorKind::Write(_) => "write failed",
        ErrorKind::Command(_) => "command failed",
        ErrorKind::DnsResolve { .. } => "name resolution failed",
        ErrorKind::ConnectionPoolCleared { .. } => "connections lost",
        ErrorKind::InvalidResponse { .. } => "invalid reply",
        ErrorKind::ServerSelection { .. } => "no server found in time",
        ErrorKind::InvalidTlsConfig { .. } => "invalid TLS configuration",
        ErrorKind::Transaction { .. } => "transaction misused",
        ErrorKind::IncompatibleServer { .. } => "incompatible server",
        ErrorKind::Shutdown => "client is shut down",
        _ => "driver error",
    };
    name.to_owned()
}

fn code_name(error: &Error) -> Option<&str> {
    let name = match error.kind.as_ref() {
        ErrorKind::Command(e) => Some(e.code_name.as_str()),
        ErrorKind::Write(WriteFailure::WriteError(e)) => e.code_name.as_deref(),
        ErrorKind::Write(WriteFailure::WriteConcernError(e)) => Some(e.code_name.as_str()),
        _ => None,
    };
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use mongodb::error::CommandError;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_operator_has_to_set_right_is_said_plainly() {
        let said = |code, name| {
            let told = json!({"code": code, "codeName": name, "errmsg": "of user shop with s3cret"});
            let command: CommandError = serde_json::from_value(told).unwrap();
            StoreError::from(Error::from(ErrorKind::Command(command)))
        };
        for (code, name, plain) in
            [(18, "AuthenticationFailed", "refused the login"), (13, "Unauthorized", "does not allow it")]
        {
            let StoreError::Unusable(text) = said(code, name) else { panic!("{name} is no operator's mistake") };
            assert!(text.contains(plain) && text.contains(name) && !text.contains("s3cret"), "{text}");
        }
        assert!(matches!(said(2, "BadValue"), StoreError::Internal(_)));
        assert!(matches!(said(189, "PrimarySteppedDown"), StoreError::Unavailable(_)));
    }
}
