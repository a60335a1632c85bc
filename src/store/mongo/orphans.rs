//! Transactions that a dead server process left behind. MongoDB keeps one open for a minute, and with it
//! the document of the client whose batch it was.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::{Bson, Document, Uuid, doc};
use futures_util::StreamExt;
use mongodb::error::{Error, Result};
use mongodb::{ClientSession, Database};
use tokio::time::timeout;

use super::error::describe;
use super::options::APP_NAME;

/// Ends orphaned transactions, one search at a time.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// When the last search ended.
    searched: tokio::sync::Mutex<Option<Instant>>,
    /// The sessions that batches of this process work in now.
    own: Mutex<HashSet<SessionId>>,
}

type SessionId = [u8; 16];

/// A batch of this process at work in a session, until it is dropped.
pub(super) struct AtWork<'a> {
    own: &'a Mutex<HashSet<SessionId>>,
    session: Option<SessionId>,
}

impl Orphans {
    /// How long a transaction of this program must lie idle to be taken for an orphan. To end one of a
    /// living process is safe: nothing of it is written, and it runs again.
    const IDLE: Duration = Duration::from_millis(1500);
    /// How long a search may take. Nobody else searches meanwhile, and the driver waits for ever on a connection on which
    /// nothing happens.
    const LONGEST_SEARCH: Duration = Duration::from_secs(4);
    /// How long a search keeps others from searching again, however many wait.
    const REST: Duration = Duration::from_secs(1);

    /// Keeps a session's transactions from being taken for orphans: whoever asks is alive.
    pub fn at_work(&self, session: &ClientSession) -> AtWork<'_> {
        let session = session_id(session.id());
        self.own().extend(session);
        AtWork { own: &self.own, session }
    }

    /// Ends all transactions of this program in which nothing happens, but those that this process works
    /// in. Does nothing if a search is under way or just was. That it fails is logged only: the server
    /// itself ends such transactions too, though later.
    pub async fn end(&self, db: &Database) {
        let Ok(mut searched) = self.searched.try_lock() else { return };
        if searched.is_some_and(|searched| searched.elapsed() < Self::REST) {
            return;
        }
        let admin = db.client().database("admin");
        let ended = timeout(Self::LONGEST_SEARCH, self.end_idle(&admin)).await;
        match ended.unwrap_or_else(|_| Err(Error::custom("no answer"))) {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "ended transactions that a dead process had left open"),
            Err(error) => tracing::warn!(
                error = describe(&error),
                "cannot end orphaned transactions; the database does, after transactionLifetimeLimitSeconds"
            ),
        }
        *searched = Some(Instant::now());
    }

    async fn end_idle(&self, admin: &Database) -> Result<usize> {
        tracing::debug!("looking for orphaned transactions");
        let before = self.foreign(idle(admin).await?);
        if before.is_empty() {
            return Ok(0);
        }
        tokio::time::sleep(Self::IDLE).await;
        let orphans: Vec<_> = self.foreign(idle(admin).await?).intersection(&before).map(Idle::session).collect();
        if !orphans.is_empty() {
            admin.run_command(doc! { "killSessions": &orphans }).await?;
        }
        Ok(orphans.len())
    }

    fn foreign(&self, mut idle: BTreeSet<Idle>) -> BTreeSet<Idle> {
        let own = self.own();
        idle.retain(|idle| !own.contains(&idle.session));
        idle
    }

    fn own(&self) -> std::sync::MutexGuard<'_, HashSet<SessionId>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
        }
    }
}

/// A transaction between two commands. It is equal to itself for as long as nothing happens in it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    session: SessionId,
    transaction: i64,
    worked_micros: i64,
}

async fn idle(admin: &Database) -> Result<BTreeSet<Idle>> {
    let pipeline = [
        doc! { "$currentOp": { "allUsers": false, "idleSessions": true } },
        doc! { "$match": { "type": "idleSession", "appName": APP_NAME, "transaction": { "$exists": true } } },
    ];
    let mut sessions = admin.aggregate(pipeline).await?;
    let mut idle = BTreeSet::new();
    while let Some(session) = sessions.next().await {
        idle.extend(Idle::of(&session?));
    }
    Ok(idle)
}

impl Idle {
    fn of(session: &Document) -> Option<Self> {
        let id = session_id(session.get_document("lsid").ok()?)?;
        let transaction = session.get_document("transaction").ok()?;
        Some(Self {
            session: id,
            transaction: transaction.get_document("parameters").ok()?.get_i64("txnNumber").ok()?,
            worked_micros: transaction.get_i64("timeActiveMicros").ok()?,
        })
    }

    fn session(&self) -> Document {
        doc! { "id": Uuid::from_bytes(self.session) }
    }
}

fn session_id(session: &Document) -> Option<SessionId> {
    let Bson::Binary(id) = session.get("id")? else { return None };
    Some(id.to_uuid().ok()?.bytes())
}
