//! `viveka-sync import`: the clients of an archive into a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bson::raw::RawDocument;
use clap::Args;
use indicatif::ProgressBar;

use super::directory::{ClientSummary, Directory, Manifest};
use super::outcome::{BooksOf, Outcome, Row, report};
use super::{export, progress};
use crate::cli::store_settings::{self, StoreSettings};
use crate::cli::{CliError, Exit};
use crate::clock;
use crate::model::ClientId;
use crate::store::archive::{Accounts, Archive, ArchiveError, ArchiveId, Books, Holding, Incoming, Landed, Part};
use crate::store::mongo::Pending;
use crate::telemetry;

/// What `--help` says below the options.
const HELP: &str = "\
Reads an archive that `viveka-sync export` wrote, of either engine, and writes its clients into the store, embedded or
MongoDB. Only a client that the store holds no books of is taken. One that is there already, with the same counts and
digests, is told to be there, and that is fine; one that is there with other books is refused and stays as it is, also if
it came from this archive and has gone on since. The rest goes on.

The login service's records (`clients`, `devicesessions`) may be there before. Those that say the same stay; if one says
something else the client is refused, and --keep-accounts is the way out: the store's stay, the archive's are not written.

A client is there as a whole or not at all. In the embedded engine it is one transaction; no server may run meanwhile. In
MongoDB its records are written under a mark, with which servers answer 503 for this client, and the mark goes when all
is there. What the store then holds is read back and compared with the archive, by counts and digests. The same command
again goes on where it was interrupted; --discard takes back what an interrupted one has left, with the archive or, if
that is gone, with --client. See to it that no import of the client is still running then.

After the move batches that are sent again under their keys are replayed, local ids are known, and invoice numbers go
on. Cursors of the old store do not hold: each phone gets one full answer. Receipts older than RECEIPT_DAYS are left out.

Exit code: 0 if all is done; 1 if --verify found a client damaged; 2 if a client was refused, or nothing could be done.

Examples:
  viveka-sync import --verify backup
  MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync import backup
  viveka-sync import --data-dir ./data --client 64b0000000000000000000c1 backup
  MONGO_URL='mongodb://a,b,c/vivekaDB?replicaSet=rs0' viveka-sync import --discard --client 64b0000000000000000000c1";

/// How often a client is read, to be compared, that servers keep writing to.
const ATTEMPTS: u32 = 10;

/// What to import.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// The directory of the archive
    #[arg(required_unless_present_all = ["discard", "client"])]
    directory: Option<PathBuf>,
    /// Only this client: 24 hex digits
    #[arg(long, value_parser = store_settings::client)]
    client: Option<ClientId>,
    /// Only read the archive and compare it with its own counts and digests; no store is opened
    #[arg(long)]
    verify: bool,
    /// Leave the store's account and device sessions of each client as they are, and write none of the archive's
    #[arg(long, conflicts_with_all = ["verify", "discard"])]
    keep_accounts: bool,
    /// Remove what an interrupted import has left in the store: of this archive, or with --client alone of any. Imports
    /// nothing
    #[arg(long, conflicts_with = "verify")]
    discard: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreSettings,
}

/// Does it, and prints what came of each client.
pub(in crate::cli) async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let _logging = telemetry::start(&arguments.store.0)?;
    let archive = arguments.directory.as_deref().map(Directory::open).transpose()?;
    let rows = match &archive {
        None => discard(&arguments, None, arguments.client.into_iter().collect()).await?,
        Some(archive) => {
            let clients = clients(archive, &arguments)?;
            if arguments.verify {
                verify_all(archive, &clients).await
            } else if arguments.discard {
                discard(&arguments, Some(&archive.manifest.archive), clients).await?
            } else {
                let store = arguments.store.open_to_write().await?;
                Task { archive, store: store.as_ref(), arguments: &arguments }.import_all(&clients).await?
            }
        }
    };
    let unknown = archive.as_ref().map_or(Ok(Vec::new()), Directory::unknown)?;
    report(arguments.json, &rows, &unknown);
    Ok(match rows.iter().any(|row| row.outcome == Outcome::Refused) {
        false => Exit::Good,
        // The archive was only looked at.
        true if arguments.verify => Exit::NotGood,
        true => Exit::NotDone,
    })
}

/// The clients that are to be looked at.
fn clients(archive: &Directory, arguments: &Arguments) -> Result<Vec<ClientId>, ArchiveError> {
    let Manifest { clients: Some(clients), .. } = &archive.manifest else {
        return Err(archive.refuse("the export did not come to its end: run it again"));
    };
    let read = |name: &String| store_settings::client(name).map_err(|e| archive.refuse(&format!("{name}: {e}")));
    let mut clients = clients.keys().map(read).collect::<Result<Vec<_>, _>>()?;
    clients.retain(|client| arguments.client.is_none_or(|only| only == *client));
    match arguments.client.is_some() && clients.is_empty() {
        true => Err(archive.refuse("it does not hold this client")),
        false => Ok(clients),
    }
}

/// What the archive says of a client that its manifest names.
fn summary(archive: &Directory, client: &ClientId) -> Result<ClientSummary, ArchiveError> {
    archive.summary(client)?.ok_or_else(|| archive.refuse(&format!("the client {client} is missing")))
}

async fn verify_all(archive: &Directory, clients: &[ClientId]) -> Vec<Row> {
    let bar = progress(clients.len() as u64, "clients");
    let mut rows = Vec::new();
    for client in clients {
        rows.push(match summary(archive, client) {
            Ok(summary) => match export::verify(archive, client, &summary).await {
                Ok(_) => Row::new(&summary, Outcome::Verified),
                Err(error) => Row::refused(&summary, &error),
            },
            Err(error) => Row::unknown(client, &error),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    rows
}

/// Takes back what interrupted imports of these clients have left. Nothing is made that is not there: neither a file nor
/// a collection.
async fn discard(
    arguments: &Arguments,
    archive: Option<&ArchiveId>,
    clients: Vec<ClientId>,
) -> Result<Vec<Row>, ArchiveError> {
    let store = arguments.store.open_to_read(Pending::Leave).await?;
    let mut rows = Vec::new();
    for client in clients {
        let (outcome, why) = match store.discard(&client, archive).await {
            Ok(true) => (Outcome::Discarded, None),
            Ok(false) => (Outcome::Nothing, None),
            Err(error) if is_of_the_store(&error) => return Err(error),
            Err(error) => (Outcome::Refused, Some(error.to_string())),
        };
        rows.push(Row { client: client.to_string(), outcome, books: None, why });
    }
    Ok(rows)
}

/// Whether it is not the client that something is wrong with.
fn is_of_the_store(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Open(_) | ArchiveError::Mongo(_) | ArchiveError::Store(_))
}

struct Task<'a> {
    archive: &'a Directory,
    store: &'a dyn Archive,
    arguments: &'a Arguments,
}

impl Task<'_> {
    async fn import_all(&self, clients: &[ClientId]) -> Result<Vec<Row>, ArchiveError> {
        let summaries: Vec<_> = clients.iter().map(|client| (client, summary(self.archive, client))).collect();
        let known = summaries.iter().flat_map(|(_, summary)| summary);
        let all = known.flat_map(|summary| summary.collections.values()).map(|sum| sum.records).sum();
        let bar = progress(all, "records");
        let mut rows = Vec::new();
        for (client, summary) in summaries {
            rows.push(match summary {
                Ok(summary) => match self.import(client, &summary, &bar).await {
                    Err(error) if is_of_the_store(&error) => return Err(error),
                    Err(error) => Row::refused(&summary, &error),
                    Ok(row) => row,
                },
                Err(error) => Row::unknown(client, &error),
            });
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    /// Imports one client.
    ///
    /// # Errors
    /// [`ArchiveError`], be it the client that something is wrong with or the store.
    async fn import(&self, client: &ClientId, summary: &ClientSummary, bar: &ProgressBar) -> Result<Row, ArchiveError> {
        // Before anything is written: what is damaged would have to be taken back.
        let mut accounts = export::verify(self.archive, client, summary).await?;
        if self.arguments.keep_accounts {
            accounts = Accounts::default();
        }
        let expired = Arc::new(AtomicU64::new(0));
        let records = {
            let (bar, expired, since) = (bar.clone(), Arc::clone(&expired), self.oldest_receipt());
            self.archive.read(client, summary, move |part, record| {
                bar.inc(1);
                let kept = is_since(part, record, since);
                if !kept {
                    expired.fetch_add(1, Ordering::Relaxed);
                }
                kept && !part.is_foreign()
            })
        };
        let archive = self.archive.manifest.archive.clone();
        let incoming = Incoming { client: *client, archive, head: summary.head, accounts: accounts.clone(), records };
        match self.store.write(incoming).await? {
            Landed::Now(held) => {
                let records = held.values().map(|sum| sum.records).sum::<u64>() + accounts.len() as u64;
                let expired = expired.load(Ordering::Relaxed);
                let books = BooksOf { revision: summary.head.revision.0, records, expired };
                Ok(Row { books: Some(books), ..Row::new(summary, Outcome::Imported) })
            }
            Landed::Occupied { by_this_archive } => {
                self.expect_the_same(client, summary, &accounts, by_this_archive).await?;
                Ok(Row::new(summary, Outcome::Present))
            }
        }
    }

    /// Compares what the store holds of a client with the archive.
    async fn expect_the_same(
        &self,
        client: &ClientId,
        summary: &ClientSummary,
        accounts: &Accounts,
        by_this_archive: bool,
    ) -> Result<(), ArchiveError> {
        let since = self.oldest_receipt();
        let records =
            self.archive.read(client, summary, move |part, record| is_since(part, record, since) && !part.is_foreign());
        let (archived, _) = Holding::of(Books { head: summary.head, records }, |_, _| true).await?;
        let (held, held_accounts) = self.held(client, since).await?;
        match held.difference(&archived) {
            Some(difference) if by_this_archive && held.head.revision > archived.head.revision => {
                Err(ArchiveError::WentOn { client: *client, difference })
            }
            Some(difference) => Err(ArchiveError::Occupied { client: *client, difference }),
            // They came with the books, and what the login service made of them since is its own.
            None if by_this_archive => Ok(()),
            None => accounts.expect_in(client, &held_accounts),
        }
    }

    async fn held(&self, client: &ClientId, since: i64) -> Result<(Holding, Accounts), ArchiveError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let keep = |part, record: &RawDocument| is_since(part, record, since);
            let held = match self.store.read(client).await {
                Ok(books) => Holding::of(books, keep).await,
                Err(error) => Err(error),
            };
            match held {
                Err(ArchiveError::Moved(_)) if attempts < ATTEMPTS => {}
                held => return held,
            }
        }
    }

    /// The time before which receipts are not taken, in milliseconds; the store would drop them at once.
    fn oldest_receipt(&self) -> i64 {
        const DAY: i64 = 86_400_000;
        match i64::from(self.arguments.store.0.receipt_days) {
            0 => i64::MIN,
            days => clock::now().date_time().timestamp_millis() - days * DAY,
        }
    }
}

/// False for a receipt that is older than this time. One that does not say is kept.
fn is_since(part: Part, record: &RawDocument, since: i64) -> bool {
    part != Part::Receipts || record.get_datetime("createdAt").map_or(true, |at| at.timestamp_millis() >= since)
}
