//! `viveka-sync check`: are the store and the books of all clients as they must be?

mod books;
mod figures;
mod receipts;
mod report;
mod shape;

use clap::Args;
use indicatif::ProgressBar;

use super::archive::export::clients;
use super::store_settings::{self, StoreSettings};
use super::{CliError, Exit};
use crate::model::ClientId;
use crate::store::StoreError;
use crate::store::archive::{Archive, ArchiveError, Finding, Severity};
use crate::store::mongo::Pending;
use crate::telemetry;
use books::Audit;
use report::Report;

/// What `--help` says below the options.
const HELP: &str = "\
Verifies the store (its kind, its indexes, when receipts expire by RECEIPT_DAYS) and the books of each client: that records
can be read and have their fields, paid sums, finalisation, purchase histories and their totals, payments, prices, stocks and
amounts (numbers, and not below 0), receipts that a retry can be answered with, local ids, receipts and logged commits that
point to records, revisions, counters. Reads one client at a time, of one moment, and changes nothing.

On the embedded engine the whole file is compared with its checksums first, which reads all of it twice; not with --client.

A `problem` is something that this program's rules rule out. A `note` is worth to be known: other services may well have
meant it. Records that this program never wrote carry no revision, and at most get notes, unless they cannot be decoded. Of one kind of finding in one client 20 are
listed, and the others counted; with --json 10000.

What cannot be known: phones may state an invoice's totals as they like, so these are not derived from its lines; and what
was paid when an invoice was created is not told anywhere else, so of its paid amount only the bounds are checked: at
least the sum of its payments, at most its total.

The embedded engine's file can be read only while no server runs; one that was not closed is put in order as it is opened,
as any opening does. On MongoDB servers may go on.

Exit code: 0 if there is no problem, 1 if there is one, 2 if the store cannot be read.

Examples:
  viveka-sync check --data-dir ./data
  MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync check --client 64b0000000000000000000c1
  viveka-sync check --json | jq '.findings[] | select(.severity == \"problem\")'";

/// How often a client is read that servers keep writing to.
const ATTEMPTS: u32 = 10;
/// Where a client's counters are.
const COUNTERS: &str = "syncclients";

/// What to check.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct Arguments {
    /// Only this client: 24 hex digits
    #[arg(long, value_parser = store_settings::client)]
    client: Option<ClientId>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreSettings,
}

/// Checks, and prints what was found.
pub(super) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let _logging = telemetry::start(&arguments.store.0)?;
    let store = arguments.store.open_to_read(Pending::Leave).await?;
    let mut report = Report::new(arguments.json);
    if arguments.client.is_none() {
        report.add(store.damage().await?);
    }
    report.add(store.findings().await?);
    check_all(store.as_ref(), arguments.client, &mut report).await?;
    let exit = if report.problems > 0 { Exit::NotGood } else { Exit::Good };
    report.tell(&store.source().engine);
    Ok(exit)
}

async fn check_all(store: &dyn Archive, only: Option<ClientId>, report: &mut Report) -> Result<(), ArchiveError> {
    let clients = match clients(store, only).await {
        // It comes of what was found, and that must be told.
        Err(ArchiveError::Store(StoreError::Internal(why))) if report.problems > 0 => {
            let why = format!("which clients there are cannot be read: {why}");
            report.add_one(Finding::of_the_store(Severity::Problem, None, why));
            return Ok(());
        }
        clients => clients?,
    };
    let bar = ProgressBar::new(clients.len() as u64);
    for client in clients {
        check(store, client, report).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

async fn check(store: &dyn Archive, client: ClientId, report: &mut Report) -> Result<(), ArchiveError> {
    report.clients += 1;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match audit(store, client).await {
            Ok((findings, records)) => {
                report.records += records;
                report.add(findings);
                break;
            }
            Err(ArchiveError::Moved(_)) if attempts < ATTEMPTS => {}
            // The books are not to be judged before it is finished, which is told below.
            Err(ArchiveError::Pending(_)) => break,
            Err(error) => {
                report.add_one(unread(&client, error)?);
                break;
            }
        }
    }
    match store.findings_of(&client).await {
        Ok(findings) => report.add(findings),
        Err(error) => report.add_one(unread(&client, error)?),
    }
    Ok(())
}

/// What keeps one client's books from being read is a finding, and the next clients are looked at. What keeps all from
/// it is an error.
fn unread(client: &ClientId, error: ArchiveError) -> Result<Finding, ArchiveError> {
    let why = match error {
        error @ ArchiveError::Unfinished(_) => error.to_string(),
        ArchiveError::Store(StoreError::Internal(why)) => format!("its books cannot be read to their end: {why}"),
        error => return Err(error),
    };
    Ok(Finding::of(Severity::Problem, client, COUNTERS, None, why))
}

async fn audit(store: &dyn Archive, client: ClientId) -> Result<(Vec<Finding>, u64), ArchiveError> {
    let mut books = store.read(&client).await?;
    let mut audit = Audit::new(client, books.head);
    while let Some(chunk) = books.records.recv().await {
        match chunk {
            Err(ArchiveError::Record { part, id, .. }) => audit.take_unreadable(part, Some(id)),
            chunk => audit.take(&chunk?),
        }
    }
    Ok(audit.finish(&store.counters(&client).await?))
}
