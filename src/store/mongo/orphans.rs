//! Transactions that a dead server process left behind. MongoDB keeps one open for a minute, and with it
//! the document of the client whose batch it was.

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Bson, Document, Uuid, doc};
use futures_util::StreamExt;
use mongodb::Database;
use mongodb::error::Result;

use super::error::describe;
use super::options::APP_NAME;

/// Ends orphaned transactions, one search at a time.
#[derive(Debug, Default)]
pub(super) struct Orphans(tokio::sync::Mutex<()>);

impl Orphans {
    /// How long a transaction of this program must lie idle to be taken for an orphan. To end one of a
    /// living process is safe: nothing of it is written, and it runs again.
    const IDLE: Duration = Duration::from_millis(1500);

    /// Ends all transactions of this program in which nothing happens. Does nothing if a search is under
    /// way. That it fails is logged only: the server itself ends such transactions too, though later.
    pub async fn end(&self, db: &Database) {
        let Ok(_alone) = self.0.try_lock() else { return };
        match end_idle(&db.client().database("admin")).await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "ended transactions that a dead process had left open"),
            Err(error) => tracing::debug!(error = describe(&error), "looking for orphaned transactions failed"),
        }
    }
}

async fn end_idle(admin: &Database) -> Result<usize> {
    let before = idle(admin).await?;
    if before.is_empty() {
        return Ok(0);
    }
    tokio::time::sleep(Orphans::IDLE).await;
    let orphans: Vec<_> = idle(admin).await?.intersection(&before).map(Idle::session).collect();
    if !orphans.is_empty() {
        admin.run_command(doc! { "killSessions": &orphans }).await?;
    }
    Ok(orphans.len())
}

/// A transaction between two commands. It is equal to itself for as long as nothing happens in it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    session: [u8; 16],
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
        let Bson::Binary(id) = session.get_document("lsid").ok()?.get("id")? else { return None };
        let transaction = session.get_document("transaction").ok()?;
        Some(Self {
            session: id.to_uuid().ok()?.bytes(),
            transaction: transaction.get_document("parameters").ok()?.get_i64("txnNumber").ok()?,
            worked_micros: transaction.get_i64("timeActiveMicros").ok()?,
        })
    }

    fn session(&self) -> Document {
        doc! { "id": Uuid::from_bytes(self.session) }
    }
}
