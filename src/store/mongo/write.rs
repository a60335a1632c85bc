//! Many writes in one round trip, as commands of our own: they are built once, as bytes, and their replies tell
//! what the driver's operations leave out.

use bson::raw::{CStr, RawArrayBuf, RawDocument};
use bson::{Bson, Document, RawDocumentBuf, cstr, rawdoc};
use mongodb::error::Result;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{ClientSession, Database};

use crate::store::StoreError;

/// What came of the statements of one or more commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
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
    session: Option<&mut ClientSession>,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<Written> {
    let options = if session.is_some() { RawDocumentBuf::new() } else { without_a_transaction()? };
    run(db, session, &UPDATE, collection, statements, &options).await
}

/// Inserts records in a transaction, each with its `_id` first, with as few commands as their size allows. A
/// record that is refused keeps those after it out.
pub(super) async fn insert(
    db: &Database,
    session: &mut ClientSession,
    collection: &str,
    records: &[RawDocumentBuf],
) -> Result<Written> {
    run(db, Some(session), &INSERT, collection, records, &RawDocumentBuf::new()).await
}

/// The names of a write command and of its list.
struct Verb {
    command: &'static CStr,
    list: &'static CStr,
}

const INSERT: Verb = Verb { command: cstr!("insert"), list: cstr!("documents") };
const UPDATE: Verb = Verb { command: cstr!("update"), list: cstr!("updates") };

async fn run(
    db: &Database,
    mut session: Option<&mut ClientSession>,
    verb: &Verb,
    collection: &str,
    statements: &[RawDocumentBuf],
    options: &RawDocument,
) -> Result<Written> {
    let (mut written, mut sent) = (Written::default(), 0);
    for list in lists(statements) {
        let first = sent;
        sent += list.into_iter().count();
        let mut command = RawDocumentBuf::new();
        command.append(verb.command, collection);
        command.append(verb.list, list);
        for option in options {
            let (name, value) = option?;
            command.append(name, value);
        }
        let run = db.run_raw_command(command);
        let reply = match session.as_deref_mut() {
            Some(session) => run.session(session).await?,
            None => run.await?,
        };
        written.add(&reply, first);
        if session.is_some() && !written.refused.is_empty() {
            break;
        }
    }
    Ok(written)
}

fn without_a_transaction() -> Result<RawDocumentBuf> {
    Ok(rawdoc! {
        "ordered": false,
        // A decided batch must not be stopped by a schema that was made since.
        "bypassDocumentValidation": true,
        "writeConcern": bson::serialize_to_raw_document_buf(&journaled())?,
    })
}

/// What a write without a transaction waits for.
pub(super) fn journaled() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(true).build()
}

/// The most statements of one command, and the most bytes of them: half of what the server takes.
const MOST_STATEMENTS: usize = 1000;
const MOST_BYTES: usize = 8 << 20;

/// Groups statements into the lists of one command each.
fn lists(statements: &[RawDocumentBuf]) -> Vec<RawArrayBuf> {
    let mut lists = Vec::new();
    let (mut list, mut statements_in, mut bytes_in) = (RawArrayBuf::new(), 0, 0);
    for statement in statements {
        let bytes = statement.as_bytes().len();
        if statements_in == MOST_STATEMENTS || (statements_in > 0 && bytes_in + bytes > MOST_BYTES) {
            lists.push(std::mem::replace(&mut list, RawArrayBuf::new()));
            (statements_in, bytes_in) = (0, 0);
        }
        list.push(statement.as_ref());
        (statements_in, bytes_in) = (statements_in + 1, bytes_in + bytes);
    }
    if statements_in > 0 {
        lists.push(list);
    }
    lists
}

impl Written {
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
    /// What to say where no refusal can be.
    pub fn unexpected(&self, collection: &str) -> StoreError {
        let Self { statement, code, unique } = self;
        let why = format!("statement {statement} on {collection} failed with code {code}, unique index {unique:?}");
        StoreError::Internal(why)
    }

    fn of(error: &Document, first: usize) -> Self {
        let unique = error.get_document("keyPattern").map(|keys| keys.keys().cloned().collect()).unwrap_or_default();
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
        Self { statement: first + index, code: error.get_i32("code").unwrap_or_default(), unique }
    }
}

#[cfg(test)]
mod tests {
    use bson::{doc, rawdoc};

    use super::*;

    fn sizes(statements: &[RawDocumentBuf]) -> Vec<usize> {
        lists(statements).iter().map(|list| list.into_iter().count()).collect()
    }

    #[test]
    fn commands_are_bounded_in_statements_and_in_bytes() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&vec![rawdoc! { "q": 1 }; 2001]), [1000, 1000, 1]);
        assert_eq!(sizes(&vec![rawdoc! { "q": "x".repeat(3 << 20) }; 5]), [2, 2, 1]);
        assert_eq!(sizes(&vec![rawdoc! { "q": "x".repeat(9 << 20) }; 2]), [1, 1], "a large one goes alone");
    }

    #[test]
    fn replies_are_summed_up() {
        let mut written = Written::default();
        written.add(&doc! { "ok": 1, "n": 2 }, 0);
        written.add(
            &doc! { "ok": 1, "n": 1, "writeErrors": [{ "index": 1, "code": 11000, "keyPattern": { "_id": 1 } }] },
            2,
        );
        assert_eq!(
            written,
            Written { matched: 3, refused: vec![Refused { statement: 3, code: 11000, unique: vec!["_id".into()] }] }
        );
    }
}
