//! Many updates in one round trip.

use bson::raw::RawArrayBuf;
use bson::{Bson, Document, RawDocumentBuf, cstr, rawdoc};
use mongodb::error::Result;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{ClientSession, Database};

/// What came of the statements of one or more `update` commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Updated {
    /// How many statements found or made their record.
    pub matched: i64,
    /// The statements that failed.
    pub refused: Vec<Refused>,
}

/// A statement that failed. In a transaction this is the only sign that the transaction is dead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which statement, counted from 0.
    pub statement: usize,
    /// The server's code.
    pub code: i32,
    /// The fields of the unique index, if one is violated.
    pub unique: Vec<String>,
}

/// Runs statements `{q, u, upsert}` on one collection, with as few commands as their size allows.
///
/// In a transaction a failing statement keeps those after it from running, and the commit makes them
/// durable. Without one all of them run, and each command is in the journal when it returns: when mongod
/// is killed and started in the middle of a batch, the driver goes on with the new process, and what only
/// the memory of the old one held would be lost before writes that are kept.
pub(super) async fn update(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    collection: &str,
    statements: &[Document],
) -> Result<Updated> {
    let (mut updated, mut sent) = (Updated::default(), 0);
    for statements in commands(statements)? {
        let first = sent;
        sent += statements.into_iter().count();
        let mut command = rawdoc! { "update": collection, "updates": statements };
        let reply = match session.as_deref_mut() {
            Some(session) => db.run_raw_command(command).session(session).await?,
            None => {
                command.append(cstr!("ordered"), false);
                // A decided batch must not be stopped by a schema that was made since.
                command.append(cstr!("bypassDocumentValidation"), true);
                command.append(cstr!("writeConcern"), bson::serialize_to_raw_document_buf(&journaled())?);
                db.run_raw_command(command).await?
            }
        };
        updated.add(&reply, first);
        if session.is_some() && !updated.refused.is_empty() {
            break;
        }
    }
    Ok(updated)
}

/// What a write without a transaction waits for.
pub(super) fn journaled() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(true).build()
}

/// The most statements of one command, and the most bytes of them: half of what the server takes.
const MOST_STATEMENTS: usize = 1000;
const MOST_BYTES: usize = 8 << 20;

/// Groups statements into the lists of one command each.
fn commands(statements: &[Document]) -> Result<Vec<RawArrayBuf>> {
    let mut commands = Vec::new();
    let (mut command, mut statements_in, mut bytes_in) = (RawArrayBuf::new(), 0, 0);
    for statement in statements {
        let statement = RawDocumentBuf::try_from(statement)?;
        let bytes = statement.as_bytes().len();
        if statements_in == MOST_STATEMENTS || (statements_in > 0 && bytes_in + bytes > MOST_BYTES) {
            commands.push(std::mem::replace(&mut command, RawArrayBuf::new()));
            (statements_in, bytes_in) = (0, 0);
        }
        command.push(statement);
        (statements_in, bytes_in) = (statements_in + 1, bytes_in + bytes);
    }
    if statements_in > 0 {
        commands.push(command);
    }
    Ok(commands)
}

impl Updated {
    /// Adds the reply to a command that began with the statement `first`.
    fn add(&mut self, reply: &Document, first: usize) {
        self.matched += match reply.get("n") {
            Some(Bson::Int32(n)) => i64::from(*n),
            Some(Bson::Int64(n)) => *n,
            _ => 0,
        };
        let errors = reply.get_array("writeErrors").into_iter().flatten();
        self.refused.extend(errors.filter_map(Bson::as_document).map(|error| Refused::of(error, first)));
        self.refused.extend(reply.get_document("writeConcernError").ok().map(|error| Refused::of(error, first)));
    }
}

impl Refused {
    fn of(error: &Document, first: usize) -> Self {
        let unique = error.get_document("keyPattern").map(|keys| keys.keys().cloned().collect()).unwrap_or_default();
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
        Self { statement: first + index, code: error.get_i32("code").unwrap_or_default(), unique }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn sizes(statements: &[Document]) -> Vec<usize> {
        commands(statements).unwrap().iter().map(|command| command.into_iter().count()).collect()
    }

    #[test]
    fn commands_are_bounded_in_statements_and_in_bytes() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&vec![doc! { "q": 1 }; 2001]), [1000, 1000, 1]);
        assert_eq!(sizes(&vec![doc! { "q": "x".repeat(3 << 20) }; 5]), [2, 2, 1]);
        assert_eq!(sizes(&vec![doc! { "q": "x".repeat(9 << 20) }; 2]), [1, 1], "a large one goes alone");
    }

    #[test]
    fn replies_are_summed_up() {
        let mut updated = Updated::default();
        updated.add(&doc! { "ok": 1, "n": 2 }, 0);
        updated.add(
            &doc! { "ok": 1, "n": 1, "writeErrors": [{ "index": 1, "code": 11000, "keyPattern": { "_id": 1 } }] },
            2,
        );
        assert_eq!(
            updated,
            Updated { matched: 3, refused: vec![Refused { statement: 3, code: 11000, unique: vec!["_id".into()] }] }
        );
    }
}
