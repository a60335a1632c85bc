//! What came of each client of an import, as it is told.

use serde::Serialize;
use serde_json::json;

use super::directory::ClientSummary;
use crate::cli::output::{Table, print, print_json};
use crate::model::ClientId;
use crate::store::archive::ArchiveError;

/// What came of one client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub client: String,
    pub outcome: Outcome,
    /// Nothing of the books is known where something was discarded, or the archive does not say.
    #[serde(flatten)]
    pub books: Option<BooksOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Why it was refused.
    pub why: Option<String>,
}

/// The books of a row.
#[derive(Debug, Serialize)]
pub(super) struct BooksOf {
    pub revision: i64,
    pub records: u64,
    /// Receipts that were too old to be taken.
    pub expired: u64,
}

/// What came of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is there now.
    Imported,
    /// It was there already, the same.
    Present,
    /// The archive's records are what it says.
    Verified,
    /// What was left of it is removed.
    Discarded,
    /// There was nothing to remove.
    Nothing,
    /// It was not taken.
    Refused,
}

/// Prints all rows, as JSON or for people, and what lies in the archive that its manifest does not know.
pub(super) fn report(as_json: bool, rows: &[Row], unknown: &[String]) {
    if as_json {
        return print_json(&json!({ "clients": rows, "unknown": unknown }));
    }
    let mut table = Table::new(&["client", "outcome", "revision", "records", "expired receipts"], &[2, 3, 4]);
    for row in rows {
        let numbers = row
            .books
            .iter()
            .flat_map(|books| [books.revision.to_string(), books.records.to_string(), books.expired.to_string()]);
        table.row([row.client.clone(), row.outcome.word().to_owned()].into_iter().chain(numbers));
    }
    let mut text = table.text();
    for row in rows {
        text.extend(row.why.iter().map(|why| format!("\nREFUSED: {why}\n")));
    }
    if !unknown.is_empty() {
        text.push_str(&format!("\nnote: not in the manifest, and not looked at: clients/{{{}}}\n", unknown.join(",")));
    }
    print(&text);
}

impl Row {
    /// That of a client of an archive.
    pub fn new(summary: &ClientSummary, outcome: Outcome) -> Self {
        let books = BooksOf {
            revision: summary.head.revision.0,
            records: summary.collections.values().map(|sum| sum.records).sum(),
            expired: 0,
        };
        Self { client: summary.client.clone(), outcome, books: Some(books), why: None }
    }

    /// That of one that was not taken.
    pub fn refused(summary: &ClientSummary, error: &ArchiveError) -> Self {
        Self { why: Some(error.to_string()), ..Self::new(summary, Outcome::Refused) }
    }

    /// That of one of which the archive does not even say what it holds.
    pub fn unknown(client: &ClientId, error: &ArchiveError) -> Self {
        let why = Some(error.to_string());
        Self { client: client.to_string(), outcome: Outcome::Refused, books: None, why }
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Present => "is there already",
            Self::Verified => "verified",
            Self::Discarded => "discarded",
            Self::Nothing => "nothing to discard",
            Self::Refused => "REFUSED",
        }
    }
}
