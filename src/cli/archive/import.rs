//! `viveka-sync import`: the clients of an archive into a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bson::raw::RawDocument;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use super::directory::{ClientSummary, Directory, Manifest, refuse, sums};
use super::{export, progress};
use crate::cli::output::{Table, print, print_json};
use crate::cli::store_settings::{self, StoreSettings};
use crate::cli::{CliError, Exit};
use crate::clock;
use crate::model::ClientId;
use crate::store::archive::{Archive, ArchiveError, Chunks, Incoming, Landed, Part};
use crate::telemetry;

/// What `--help` says below the options.
const HELP: &str = "\
Reads an archive that `viveka-sync export` wrote, of either engine, and writes its clients into the store, embedded or
MongoDB. Only a client that the store holds nothing of is taken; any other is refused and told, and the rest goes on.

A client is there as a whole or not at all. In the embedded engine it is one transaction; no server may run meanwhile. In
MongoDB its records are written under a mark, with which servers answer 503 for this client, and the mark goes when all
is there. What the store then holds is read back and compared with the archive, by counts and digests. The same command
again goes on where it was interrupted; --discard takes back what an interrupted one has left.

After the move batches that are sent again under their keys are replayed, local ids are known, and invoice numbers go
on. Cursors of the old store do not hold: each phone gets one full answer. Receipts older than RECEIPT_DAYS are left out.

Exit code: 0 if all is done; 1 if --verify found a client damaged; 2 if a client was refused, or nothing could be done.

Examples:
  viveka-sync import --verify backup
  MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync import backup
  viveka-sync import --data-dir ./data --client 64b0000000000000000000c1 backup";

/// What to import.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// The directory of the archive
    directory: PathBuf,
    /// Only this client: 24 hex digits
    #[arg(long, value_parser = store_settings::client)]
    client: Option<ClientId>,
    /// Only read the archive and compare it with its own counts and digests; no store is opened
    #[arg(long)]
    verify: bool,
    /// Remove what an interrupted import of this archive has left in the store, and import nothing
    #[arg(long, conflicts_with = "verify")]
    discard: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreSettings,
}

/// What came of one client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    client: String,
    outcome: Outcome,
    revision: i64,
    records: u64,
    /// Receipts that were too old to be taken.
    expired: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What came of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It is there now.
    Imported,
    /// It was imported before, by the same archive.
    Before,
    /// The archive's records are what it says.
    Verified,
    /// What was left of it is removed.
    Discarded,
    /// There was nothing to remove.
    Nothing,
    /// It was not taken.
    Refused,
}

/// Does it, and prints what came of each client.
pub(in crate::cli) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let _logging = telemetry::start(&arguments.store.0)?;
    let archive = Directory::open(&arguments.directory)?;
    let summaries = summaries(&archive, &arguments)?;
    let rows = if arguments.verify {
        verify_all(&archive, &summaries).await
    } else {
        let store = arguments.store.open_to_write().await?;
        let task = Task { archive: &archive, store: store.as_ref(), arguments: &arguments };
        if arguments.discard { task.discard_all(&summaries).await? } else { task.import_all(&summaries).await? }
    };
    report(&arguments, &rows);
    Ok(match rows.iter().any(|row| row.outcome == Outcome::Refused) {
        false => Exit::Good,
        // The archive was only looked at.
        true if arguments.verify => Exit::NotGood,
        true => Exit::NotDone,
    })
}

type Summaries = Vec<(ClientId, ClientSummary)>;

fn summaries(archive: &Directory, arguments: &Arguments) -> Result<Summaries, ArchiveError> {
    let Manifest { clients: Some(clients), .. } = &archive.manifest else {
        return Err(refuse(&arguments.directory, "the export did not come to its end: run it again"));
    };
    let mut summaries = Vec::new();
    for name in clients.keys() {
        let client = store_settings::client(name).map_err(|e| refuse(&arguments.directory, format!("{name}: {e}")))?;
        if arguments.client.is_some_and(|only| only != client) {
            continue;
        }
        let summary = archive.summary(&client)?;
        let missing = || refuse(&arguments.directory, format!("the client {name} is missing"));
        summaries.push((client, summary.ok_or_else(missing)?));
    }
    if summaries.is_empty() && arguments.client.is_some() {
        return Err(refuse(&arguments.directory, "it does not hold this client"));
    }
    Ok(summaries)
}

async fn verify_all(archive: &Directory, summaries: &Summaries) -> Vec<Row> {
    let bar = progress(summaries.len() as u64, "clients");
    let mut rows = Vec::new();
    for (client, summary) in summaries {
        let verified = export::verify(archive, client, summary).await;
        rows.push(match verified {
            Ok(()) => Row::new(summary, Outcome::Verified),
            Err(error) => Row::refused(summary, &error),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    rows
}

struct Task<'a> {
    archive: &'a Directory,
    store: &'a dyn Archive,
    arguments: &'a Arguments,
}

impl Task<'_> {
    async fn import_all(&self, summaries: &Summaries) -> Result<Vec<Row>, ArchiveError> {
        let all = summaries.iter().flat_map(|(_, summary)| summary.collections.values()).map(|sum| sum.records).sum();
        let bar = progress(all, "records");
        let mut rows = Vec::new();
        for (client, summary) in summaries {
            rows.push(self.import(client, summary, &bar).await?);
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    /// Imports one client. What is wrong with this client alone becomes its row; what is wrong with the store is an
    /// error.
    async fn import(&self, client: &ClientId, summary: &ClientSummary, bar: &ProgressBar) -> Result<Row, ArchiveError> {
        // Before anything is written: what is damaged would have to be taken back.
        if let Err(error) = export::verify(self.archive, client, summary).await {
            return Ok(Row::refused(summary, &error));
        }
        let expired = Arc::new(AtomicU64::new(0));
        let records = {
            let (bar, expired, since) = (bar.clone(), Arc::clone(&expired), self.oldest_receipt());
            self.archive.read(client, summary, move |part, record| {
                bar.inc(1);
                let kept = part != Part::Receipts || is_since(record, since);
                if !kept {
                    expired.fetch_add(1, Ordering::Relaxed);
                }
                kept
            })
        };
        match self.store.write(self.incoming(client, summary, records)).await {
            Ok(Landed::Now(held)) => {
                let mut row = Row::new(summary, Outcome::Imported);
                row.records = held.values().map(|sum| sum.records).sum();
                row.expired = expired.load(Ordering::Relaxed);
                Ok(row)
            }
            Ok(Landed::Before(revision)) => {
                let mut row = Row::new(summary, Outcome::Before);
                row.revision = revision.0;
                Ok(row)
            }
            Err(error @ (ArchiveError::Open(_) | ArchiveError::Mongo(_) | ArchiveError::Store(_))) => Err(error),
            Err(error) => Ok(Row::refused(summary, &error)),
        }
    }

    fn incoming(&self, client: &ClientId, summary: &ClientSummary, records: Chunks) -> Incoming {
        let parts = sums(&summary.collections).into_keys().collect();
        let archive = self.archive.manifest.archive.clone();
        Incoming { client: *client, archive, head: summary.head, parts, records }
    }

    /// The time before which receipts are not taken, in milliseconds; the store would drop them at once.
    fn oldest_receipt(&self) -> i64 {
        const DAY: i64 = 86_400_000;
        match i64::from(self.arguments.store.0.receipt_days) {
            0 => i64::MIN,
            days => clock::now().date_time().timestamp_millis() - days * DAY,
        }
    }

    async fn discard_all(&self, summaries: &Summaries) -> Result<Vec<Row>, ArchiveError> {
        let mut rows = Vec::new();
        for (client, summary) in summaries {
            let records = self.archive.read(client, summary, |_, _| true);
            rows.push(match self.store.discard(self.incoming(client, summary, records)).await {
                Ok(true) => Row::new(summary, Outcome::Discarded),
                Ok(false) => Row::new(summary, Outcome::Nothing),
                Err(error @ ArchiveError::Store(_)) => return Err(error),
                Err(error) => Row::refused(summary, &error),
            });
        }
        Ok(rows)
    }
}

/// Whether a receipt is of this time or later. One that does not say is kept.
fn is_since(receipt: &RawDocument, since: i64) -> bool {
    receipt.get_datetime("createdAt").map_or(true, |at| at.timestamp_millis() >= since)
}

impl Row {
    fn new(summary: &ClientSummary, outcome: Outcome) -> Self {
        Self {
            client: summary.client.clone(),
            outcome,
            revision: summary.head.revision.0,
            records: summary.collections.values().map(|sum| sum.records).sum(),
            expired: 0,
            why: None,
        }
    }

    fn refused(summary: &ClientSummary, error: &ArchiveError) -> Self {
        Self { why: Some(error.to_string()), ..Self::new(summary, Outcome::Refused) }
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Before => "was imported before",
            Self::Verified => "verified",
            Self::Discarded => "discarded",
            Self::Nothing => "nothing to discard",
            Self::Refused => "REFUSED",
        }
    }
}

fn report(arguments: &Arguments, rows: &[Row]) {
    if arguments.json {
        return print_json(&json!({ "clients": rows }));
    }
    let mut table = Table::new(&["client", "outcome", "revision", "records", "expired receipts"], &[2, 3, 4]);
    for row in rows {
        let numbers = [row.revision.to_string(), row.records.to_string(), row.expired.to_string()];
        table.row([row.client.clone(), row.outcome.word().to_owned()].into_iter().chain(numbers));
    }
    let mut text = table.text();
    for row in rows {
        text.extend(row.why.iter().map(|why| format!("\nREFUSED: {why}\n")));
    }
    print(&text);
}
