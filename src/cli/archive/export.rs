//! `viveka-sync export`: one client or a whole store into a directory.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::directory::{ClientSummary, Directory, Manifest, sums};
use super::encoding::Encoding;
use super::{Totals, digests_table, progress};
use crate::cli::output::{print, print_json};
use crate::cli::store_settings::{self, StoreSettings};
use crate::cli::{CliError, Exit};
use crate::model::ClientId;
use crate::store::archive::{Archive, ArchiveError, Tally};
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

Exit code: 0 if the archive is complete and was read back, 2 if not.

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
    if let Some(complete) = &archive.manifest.clients
        && !complete.keys().cloned().eq(clients.iter().map(ClientId::to_string))
    {
        return Err(moved_on(&archive).into());
    }
    let summaries = export_all(store.as_ref(), &archive, &clients).await?;
    if archive.manifest.clients.is_none() {
        archive.complete(&clients)?;
    }
    report(&arguments, &archive, &summaries);
    Ok(Exit::Good)
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

async fn export_all(
    store: &dyn Archive,
    archive: &Directory,
    clients: &[ClientId],
) -> Result<Vec<ClientSummary>, ArchiveError> {
    let bar = progress(clients.len() as u64, "clients");
    let mut summaries = Vec::with_capacity(clients.len());
    let mut totals = Totals::default();
    for client in clients {
        let summary = export(store, archive, client).await?;
        totals.add(&sums(&summary.collections));
        bar.set_message(format!("{} records", totals.records()));
        bar.inc(1);
        summaries.push(summary);
    }
    bar.finish_and_clear();
    Ok(summaries)
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
    if archive.manifest.clients.is_some() {
        return Err(moved_on(archive));
    }
    let summary = archive.put(client, store.read(client).await?).await?;
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

/// Reads what was written.
pub(super) async fn verify(
    archive: &Directory,
    client: &ClientId,
    summary: &ClientSummary,
) -> Result<(), ArchiveError> {
    let mut records = archive.read(client, summary, |_, _| true);
    let mut tally = Tally::default();
    while let Some(chunk) = records.recv().await {
        tally.add(&chunk?);
    }
    Ok(())
}

fn report(arguments: &Arguments, archive: &Directory, summaries: &[ClientSummary]) {
    if arguments.json {
        let Manifest { archive, encoding, source, .. } = &archive.manifest;
        print_json(&json!({ "archive": archive, "encoding": encoding, "source": source, "clients": summaries }));
        return;
    }
    let mut totals = Totals::default();
    summaries.iter().for_each(|summary| totals.add(&sums(&summary.collections)));
    let table = match summaries {
        [one] => digests_table(&one.collections),
        _ => totals.table(),
    };
    let (clients, records) = (summaries.len(), totals.records());
    let place = arguments.directory.display();
    print(&format!("{table}\n{clients} clients, {records} records, read back from {place}\n"));
}
