//! `viveka-sync check`: are the store and the books of all clients as they must be?

mod books;
mod figures;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::archive::export::clients;
use super::output::{print, print_json};
use super::store_settings::{self, StoreSettings};
use super::{CliError, Exit};
use crate::model::ClientId;
use crate::store::archive::{Archive, ArchiveError, Finding, Severity};
use crate::store::mongo::Pending;
use crate::telemetry;
use books::Audit;

/// What `--help` says below the options.
const HELP: &str = "\
Verifies the store (its kind, its indexes) and the books of each client: paid sums, finalisation, purchase histories and
their totals, payments, prices, stocks and amounts (numbers, and not below 0), receipts, local ids and logged commits that
point to records, revisions, counters. Reads one client at a time, of one moment, and changes nothing.

A `problem` is something that this program's rules rule out. A `note` is worth to be known: other services may well have
meant it. Records that this program never wrote carry no revision, and at most get notes.

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
/// Findings that are told; more are counted.
const MOST_FINDINGS: u64 = 10_000;

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

/// What was found so far.
#[derive(Default)]
struct Report {
    clients: u64,
    records: u64,
    problems: u64,
    notes: u64,
    findings: Vec<Finding>,
}

/// Checks, and prints what was found.
pub(super) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let _logging = telemetry::start(&arguments.store.0)?;
    let store = arguments.store.open_to_read(Pending::Leave).await?;
    let mut report = Report::default();
    report.add(store.findings().await?);
    let clients = clients(store.as_ref(), arguments.client).await?;
    let bar = ProgressBar::new(clients.len() as u64);
    for client in clients {
        check(store.as_ref(), client, &mut report).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.tell(arguments.json, &store.source().engine);
    Ok(if report.problems > 0 { Exit::NotGood } else { Exit::Good })
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
            Err(error @ ArchiveError::Unfinished(_)) => {
                let why = error.to_string();
                report.add(vec![Finding::of(Severity::Problem, &client, "syncclients", None, why)]);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    report.add(store.findings_of(&client).await?);
    Ok(())
}

async fn audit(store: &dyn Archive, client: ClientId) -> Result<(Vec<Finding>, u64), ArchiveError> {
    let mut books = store.read(&client).await?;
    let mut audit = Audit::new(client, books.head);
    while let Some(chunk) = books.records.recv().await {
        audit.take(&chunk?);
    }
    Ok(audit.finish())
}

impl Report {
    fn add(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let found = match finding.severity {
                Severity::Problem => &mut self.problems,
                Severity::Note => &mut self.notes,
            };
            *found += 1;
            // Of each: notes, however many, do not keep a problem from being told.
            if *found <= MOST_FINDINGS {
                self.findings.push(finding);
            }
        }
    }

    fn tell(&self, as_json: bool, engine: &str) {
        let Self { clients, records, problems, notes, findings } = self;
        if as_json {
            let report = json!({
                "engine": engine, "clients": clients, "records": records, "problems": problems, "notes": notes,
                "findings": findings,
            });
            return print_json(&report);
        }
        let mut findings: Vec<_> = findings.iter().collect();
        findings.sort_by_key(|finding| finding.severity);
        let mut text: String = findings.into_iter().map(line).collect();
        let untold = (problems + notes) as usize - self.findings.len();
        if untold > 0 {
            text.push_str(&format!("and {untold} more\n"));
        }
        print(&format!("{text}{clients} clients, {records} records: {problems} problems, {notes} notes\n"));
    }
}

fn line(finding: &Finding) -> String {
    let Finding { severity, client, collection, id, why } = finding;
    let severity = match severity {
        Severity::Problem => "PROBLEM",
        Severity::Note => "note   ",
    };
    let client = client.as_ref().map(|client| format!("client {client}"));
    let place = [client.as_deref(), collection.as_deref(), id.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let place = if place.is_empty() { "the store".to_owned() } else { place.join(" ") };
    format!("{severity}  {place}: {why}\n")
}
