//! `viveka-sync export`: one client or a whole store into a directory.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::directory::{ClientSummary, Directory, Manifest, sums};
use super::encoding::Encoding;
use super::{Totals, digests_table, progress};
use crate::cli::output::{counted, print, print_json};
use crate::cli::store_settings::{self, StoreSettings};
use crate::cli::{CliError, Exit};
use crate::model::ClientId;
use crate::store::archive::{Accounts, Archive, ArchiveError, Chunk, Tally};
use crate::store::mongo::Pending;
use crate::telemetry;

/// What `--help` says below the options.
const HELP: &str = "\
The archive is a directory: a manifest, and for each client its records as they are stored, byte for byte, with counts
and SHA-256 digests. Besides the books it holds what makes retries and local ids work after the move: receipts, what
local ids stand for, the revision and the next invoice number; and from MongoDB the client's records of `clients` and
`devicesessions`.

Each client is read at one moment. What is written afterwards is not in the archive: to move for good, stop the servers
first. The embedded engine's file can be read only while no server runs. On a lone mongod an interrupted batch is
finished first.

The same command again goes on where it was interrupted; clients that have changed since are read again. An archive that
is complete is compared with the store and never changed: it is an error if the store has moved on since.

A client into which an import was begun and not finished has no books yet, and one with a record that cannot be read has
none that are whole: it is left out and told, with the record, and the archive holds all others.

Exit code: 0 if the archive is complete and was read back, 1 if it is and clients were left out, 2 if it is not.

Examples:
  viveka-sync export --data-dir ./data backup
  MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync export --client 64b0000000000000000000c1 one-shop
  viveka-sync export --encoding jsonl --json readable > sums.json";

/// How often a client is read that servers keep writing to.
const ATTEMPTS: u32 = 10;

/// The archive's settings.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// The directory of the archive; made if it is not there, and gone on with if it was begun
    directory: PathBuf,
    /// Only this client: 24 hex digits
    #[arg(long, value_parser = store_settings::client)]
    client: Option<ClientId>,
    /// How records are written
    #[arg(long, default_value = "bson")]
    encoding: Encoding,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreSettings,
}

/// Writes the archive and prints what is in it.
pub(in crate::cli) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let _logging = telemetry::start(&arguments.store.0)?;
    let store = arguments.store.open_to_read(Pending::Finish).await?;
    let clients = clients(store.as_ref(), arguments.client).await?;
    let manifest = Manifest::new(arguments.encoding, store.source(), arguments.client);
    let mut archive = Directory::begin(&arguments.directory, manifest)?;
    let exported = export_all(store.as_ref(), &archive, &clients).await?;
    let ids: Vec<ClientId> = exported.summaries.iter().map(|(client, _)| *client).collect();
    match &archive.manifest.clients {
        None => archive.complete(&ids)?,
        Some(complete) if complete.keys().cloned().eq(ids.iter().map(ClientId::to_string)) => {}
        Some(_) => return Err(moved_on(&archive).into()),
    }
    report(&arguments, &archive, &exported);
    Ok(if exported.left_out.is_empty() { Exit::Good } else { Exit::NotGood })
}

/// What came of the clients.
struct Exported {
    summaries: Vec<(ClientId, ClientSummary)>,
    /// Those that have no whole books, and why.
    left_out: Vec<(ClientId, String)>,
}

/// The clients to look at: all, or the one that is asked for, if it is there.
pub(in crate::cli) async fn clients(
    store: &dyn Archive,
    only: Option<ClientId>,
) -> Result<Vec<ClientId>, ArchiveError> {
    let all = store.clients().await?;
    match only {
        None => Ok(all.into_iter().collect()),
        Some(client) if all.contains(&client) => Ok(vec![client]),
        Some(client) => Err(ArchiveError::Source(format!("the store holds nothing of the client {client}"))),
    }
}

async fn export_all(store: &dyn Archive, archive: &Directory, clients: &[ClientId]) -> Result<Exported, ArchiveError> {
    let bar = progress(clients.len() as u64, "clients");
    let mut exported = Exported { summaries: Vec::with_capacity(clients.len()), left_out: Vec::new() };
    let mut totals = Totals::default();
    for client in clients {
        match export(store, archive, client).await {
            Ok(summary) => {
                totals.add(&sums(&summary.collections));
                exported.summaries.push((*client, summary));
            }
            // Others must have their backup. Whoever asks for this one alone gets nothing that looks like one.
            Err(error @ (ArchiveError::Unfinished(_) | ArchiveError::Record { .. }))
                if archive.manifest.client.is_none() =>
            {
                if archive.manifest.clients.is_none() {
                    archive.remove(client)?;
                }
                exported.left_out.push((*client, error.to_string()));
            }
            Err(error) => return Err(error),
        }
        bar.set_message(format!("{} records", totals.records()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(exported)
}

/// Writes one client and reads it back, unless it is there already as it stands in the store.
async fn export(store: &dyn Archive, archive: &Directory, client: &ClientId) -> Result<ClientSummary, ArchiveError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match try_export(store, archive, client).await {
            Err(ArchiveError::Moved(_)) if attempts < ATTEMPTS => {}
            exported => return exported,
        }
    }
}

async fn try_export(
    store: &dyn Archive,
    archive: &Directory,
    client: &ClientId,
) -> Result<ClientSummary, ArchiveError> {
    if let Some(summary) = archive.summary(client)?
        && is_current(store, client, &summary).await?
    {
        return Ok(summary);
    }
    // First of all it is told whether it is one to be left out.
    let books = store.read(client).await?;
    if archive.manifest.clients.is_some() {
        archive.try_out(client, books).await?;
        return Err(moved_on(archive));
    }
    let summary = archive.put(client, books).await?;
    verify(archive, client, &summary).await?;
    Ok(summary)
}

/// Whether the store still holds what the archive does.
async fn is_current(store: &dyn Archive, client: &ClientId, summary: &ClientSummary) -> Result<bool, ArchiveError> {
    let mut books = store.read(client).await?;
    let mut tally = Tally::default();
    while let Some(chunk) = books.records.recv().await {
        tally.add(&chunk?);
    }
    Ok(books.head == summary.head && tally.finish() == sums(&summary.collections))
}

fn moved_on(archive: &Directory) -> ArchiveError {
    archive.refuse("it is complete, and the store has moved on since it was made; name another directory")
}

/// Reads what was written, and gives what it holds of other services.
pub(super) async fn verify(
    archive: &Directory,
    client: &ClientId,
    summary: &ClientSummary,
) -> Result<Accounts, ArchiveError> {
    let mut records = archive.read(client, summary, |part, _| part.is_foreign());
    let mut accounts = Accounts::default();
    while let Some(chunk) = records.recv().await {
        let Chunk { part, records } = chunk?;
        accounts.add(part, records);
    }
    Ok(accounts)
}

fn report(arguments: &Arguments, archive: &Directory, exported: &Exported) {
    let Exported { summaries, left_out } = exported;
    let summaries: Vec<&ClientSummary> = summaries.iter().map(|(_, summary)| summary).collect();
    if arguments.json {
        let Manifest { archive, encoding, source, .. } = &archive.manifest;
        let left_out: Vec<_> =
            left_out.iter().map(|(client, why)| json!({ "client": client.to_string(), "why": why })).collect();
        return print_json(&json!({
            "archive": archive, "encoding": encoding, "source": source, "clients": summaries, "leftOut": left_out,
        }));
    }
    let mut totals = Totals::default();
    summaries.iter().for_each(|summary| totals.add(&sums(&summary.collections)));
    let table = match summaries[..] {
        [one] => digests_table(&one.collections),
        _ => totals.table(),
    };
    let (clients, records) = (counted(summaries.len() as u64, "client"), counted(totals.records(), "record"));
    let place = arguments.directory.display();
    let mut text = format!("{table}\n{clients}, {records}, read back from {place}\n");
    text.extend(left_out.iter().map(|(_, why)| format!("LEFT OUT: {why}\n")));
    print(&text);
}
