//! Writing one client, under a marker that keeps servers from serving it.
//!
//! The marker is set in the client's own document. Then it is found out that there are no books of the client yet, and
//! noted; so what an interrupted import has left is known to be its own. Records that are there already are left as they
//! are: at the end all that is held is compared with all that was sent. The last write sets the counters and removes the
//! marker.

use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, doc};
use mongodb::Database;
use mongodb::error::{Error, ErrorKind};

use super::super::INTENTS;
use super::super::backoff::Backoff;
use super::super::error::DUPLICATE_KEY;
use super::marker::{Claim, Marker};
use super::read::filter;
use super::{accounts, durable, failed};
use crate::model::ClientId;
use crate::store::archive::{
    ArchiveError, ArchiveId, CHUNK_RECORDS, Chunk, Incoming, Landed, Part, Sums, Tally, compare, receipt_of,
};

/// Writes a client, or goes on with what an interrupted import has left. What cannot be taken is taken back, so that
/// the client is as it was.
pub(super) async fn write(db: &Database, mut incoming: Incoming) -> Result<Landed, ArchiveError> {
    let client = incoming.client;
    let mut marker = match claim(db, &client, &incoming.archive).await? {
        Claim::Occupied { by_this_archive } => return Ok(Landed::Occupied { by_this_archive }),
        Claim::Set(marker) | Claim::Found(marker) => marker,
    };
    if !marker.proven && holds_books(db, &client).await? {
        marker.remove(db).await?;
        return Ok(Landed::Occupied { by_this_archive: false });
    }
    let written = match fill(db, &mut marker, &mut incoming).await {
        Ok(held) => marker.publish(db, incoming.head).await.map(|()| held),
        Err(error) => Err(error),
    };
    match &written {
        Err(ArchiveError::TakenBack(_)) => sweep(db, marker, &incoming.archive).await?,
        Err(error) if is_refusal(error) => take_back(db, &marker).await?,
        _ => {}
    }
    written.map(Landed::Now)
}

/// Claims the client when nobody is taking an import of it back any more. Who does so and was killed is not waited for
/// long: it is brought to its end here.
async fn claim(db: &Database, client: &ClientId, archive: &ArchiveId) -> Result<Claim, ArchiveError> {
    const LONGEST: Duration = Duration::from_secs(10);
    let (began, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        match Marker::claim(db, client, archive).await? {
            Claim::Found(marker) if marker.discarding && began.elapsed() >= LONGEST => take_back(db, &marker).await?,
            Claim::Found(marker) if marker.discarding => backoff.wait().await,
            claim => return Ok(claim),
        }
    }
}

/// Removes what was written after somebody had taken the import back: when that is done, under a marker of its own, and
/// only if nobody has made it a client or begun another import since.
async fn sweep(db: &Database, taken_back: Marker, archive: &ArchiveId) -> Result<(), ArchiveError> {
    match claim(db, &taken_back.client, archive).await {
        Ok(Claim::Set(mut marker)) => {
            (marker.proven, marker.accounts) = (true, taken_back.accounts);
            take_back(db, &marker).await
        }
        Ok(Claim::Found(_) | Claim::Occupied { .. }) | Err(ArchiveError::Begun(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what an interrupted import has left.
pub(super) async fn discard(
    db: &Database,
    client: &ClientId,
    archive: Option<&ArchiveId>,
) -> Result<bool, ArchiveError> {
    let Some(mut marker) = Marker::load(db, client).await? else { return Ok(false) };
    if archive.is_some_and(|archive| !marker.is_of(archive)) {
        return Err(ArchiveError::Begun(*client));
    }
    if !marker.close(db).await? {
        return Ok(false);
    }
    take_back(db, &marker).await?;
    Ok(true)
}

/// Whether it is the archive that cannot be taken, so that another try would end in the same way.
fn is_refusal(error: &ArchiveError) -> bool {
    use ArchiveError::{Account, Differs, Record, Source};
    matches!(error, Account { .. } | Differs { .. } | Record { .. } | Source(_))
}

/// Removes what an import has written, and then its marker.
async fn take_back(db: &Database, marker: &Marker) -> Result<(), ArchiveError> {
    // What was there before the marker is not the import's.
    if marker.proven {
        for part in Part::BOOKS {
            let collection = db.collection::<Document>(part.name());
            let books = collection.delete_many(filter(&marker.client, part));
            books.write_concern(durable()).await.map_err(failed)?;
        }
    }
    for note in &marker.accounts {
        accounts::remove(db, &marker.client, note).await?;
    }
    marker.remove(db).await
}

/// Whether there is anything of the client that this program or another one has put into its books.
async fn holds_books(db: &Database, client: &ClientId) -> Result<bool, ArchiveError> {
    for collection in Part::BOOKS.map(Part::name).into_iter().chain([INTENTS]) {
        let found = db.collection::<RawDocumentBuf>(collection).find_one(doc! { "clientId": client.object_id() }).await;
        if found.map_err(failed)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the records, the login service's last, and compares what is there then.
async fn fill(db: &Database, marker: &mut Marker, incoming: &mut Incoming) -> Result<Sums, ArchiveError> {
    let client = incoming.client;
    let notes = accounts::settle(db, &client, &incoming.accounts, &marker.accounts).await?;
    marker.prove(db, notes).await?;
    let mut sent = Tally::default();
    while let Some(chunk) = incoming.records.recv().await {
        let chunk = chunk?;
        sent.add(&chunk);
        marker.expect_set(db).await?;
        insert(db, &client, chunk).await?;
    }
    let held = compare(&client, &sent.finish(), held(db, &client).await?)?;
    marker.expect_set(db).await?;
    accounts::write(db, &client, &incoming.accounts, &marker.accounts).await?;
    Ok(held)
}

/// Inserts records. Those that are there already stay as they are.
pub(super) async fn insert(db: &Database, client: &ClientId, chunk: Chunk) -> Result<(), ArchiveError> {
    let Chunk { part, records } = chunk;
    let mut documents = Vec::with_capacity(records.len());
    for record in records {
        part.check(client, &record)?;
        documents.push(match part {
            Part::Receipts => {
                let key = record.get_str("key").map_err(|_| part.refuse(client, &record, "has no key"))?;
                receipt_of(client.object_id(), key, &record)?
            }
            _ => record,
        });
    }
    let collection = db.collection::<RawDocumentBuf>(part.name());
    for documents in documents.chunks(CHUNK_RECORDS) {
        let inserted = collection.insert_many(documents).ordered(false).write_concern(durable()).await;
        match inserted {
            Err(error) if !is_there_already(&error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether all that went wrong is that records were there.
fn is_there_already(error: &Error) -> bool {
    let ErrorKind::InsertMany(error) = error.kind.as_ref() else { return false };
    let refused = error.write_errors.iter().flatten();
    error.write_concern_error.is_none()
        && refused.clone().count() > 0
        && refused.into_iter().all(|e| e.code == DUPLICATE_KEY)
}

/// The books as they are under the marker.
async fn held(db: &Database, client: &ClientId) -> Result<Sums, ArchiveError> {
    let mut tally = Tally::default();
    let mut records = super::read::under_the_marker(db, client);
    while let Some(chunk) = records.recv().await {
        tally.add(&chunk?);
    }
    Ok(tally.finish())
}
