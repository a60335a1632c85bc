//! Where the books are kept: one contract, three engines.

mod account;
mod cache;
mod client_queue;
mod gather;
mod pull;
mod records;
mod waiting;
mod whole;

pub mod archive;
pub mod embedded;
pub mod mongo;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{ClientId, SessionId};
use crate::plan::{Planner, ReadSet, Receipt, Reject, Snapshot};
pub use account::{AccountCollection, Standing};
pub use pull::{After, Data, DataStream, FullReason, Mode, Moment, Pull, Wanted};

/// A store of all clients' books.
///
/// # Isolation
/// `execute` is atomic and durable: when it returns `Ok`, the whole plan survives a crash of the server
/// and of the store; when it returns [`ExecuteError::Rejected`], nothing was written; when it returns
/// [`ExecuteError::Store`], all of the plan was written or nothing, which a retry with the same
/// idempotency key finds out. The batches of one client run one after another, in the order of their
/// revisions, which have no gaps: the snapshot that a planner is given holds every earlier commit of that
/// client and no part of a later one. `execute` may call `plan` more than once.
///
/// # Visibility
/// `dataset` is one consistent snapshot of one client, which holds every batch whose `execute` had
/// returned `Ok` before it was called. A client sees its own records only: an id of another client's
/// record is an id of nothing, in `execute` as in `dataset`. (On a lone mongod a program other than this
/// server may see the middle of a batch.)
///
/// # Cancellation
/// Dropping the future of `execute` may leave the outcome open, though never half done. Who calls it
/// runs it on a task of its own, to its end.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Loads what the planner reads, lets it plan, and commits the plan. `next` is what will be asked for afterwards: a
    /// store may read it on the way.
    ///
    /// # Errors
    /// [`ExecuteError`].
    async fn execute(
        &self,
        client: &ClientId,
        planner: Arc<dyn Planner>,
        next: Wanted,
    ) -> Result<Outcome, ExecuteError>;

    /// What a planner that reads this would be given now. It holds every batch whose `execute` had returned
    /// `Ok` before, and of a batch under way all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn snapshot(&self, client: &ClientId, reads: &ReadSet) -> Result<Snapshot, StoreError>;

    /// One client's dataset, or as much of it as is wanted. It holds all that was committed at the moment `after`, and of
    /// what other programs write all that was there when the batch of that moment began; without a moment it is of
    /// now.
    ///
    /// # Errors
    /// [`StoreError`], be it here or in the middle of a stream.
    async fn dataset(&self, client: &ClientId, wanted: Wanted, after: Option<&After>) -> Result<Pull, StoreError>;

    /// Rises whenever the store was away and is back, for it may be back from a backup: what was remembered of it
    /// before does not hold any more. Asks nobody.
    fn epoch(&self) -> u64 {
        0
    }

    /// Whether a session of a device may act for a client now, by the records of `clients` and `devicesessions`,
    /// which the login service writes and this server never does: active only if the session's record is there,
    /// is this client's and says that it is active, and the client's does too. The session is looked at first. The
    /// records are as they are now, though not of one moment together: each is asked for by itself. A store that is
    /// away says nothing, which is an error and never a standing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn standing(&self, client: &ClientId, session: SessionId) -> Result<Standing, StoreError>;

    /// Asks the store whether it can work.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot.
    async fn ping(&self) -> Result<Health, StoreError>;

    /// Says how much it keeps in memory, for the metrics. Asks nobody.
    fn measure(&self);
}

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its receipt.
    pub receipt: Receipt,
    /// Whether it had been committed before, so that nothing was written now.
    pub replayed: bool,
    /// When it is certain to be in the dataset.
    pub after: After,
}

/// The most of a dataset that [`Store::execute`] may have read on the way, in bytes.
pub const MOST_READ_ON_THE_WAY: usize = 1 << 20;

/// How much memory datasets may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetMemory {
    /// All that are kept to be shown again.
    pub cache: usize,
    /// One that is held for its answer. A larger one is sent while it is read, unless it can be kept.
    pub stream_above: usize,
}

impl DatasetMemory {
    /// The largest dataset that is worth to be kept: some should find room together.
    pub fn largest_kept(self) -> usize {
        self.cache / 3
    }

    /// The most that is held of one dataset.
    pub fn most_held(self) -> usize {
        self.stream_above.max(self.largest_kept())
    }
}

/// Why a batch was not committed, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the store could not do its work. The texts are for the log, never for a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting. Nothing was applied.
    #[error("the store is overloaded")]
    Overloaded,
    /// The store is known to be away, which the log was told when it began. Nothing was tried.
    #[error("the store is away")]
    Away,
    /// The store is away or did not answer in time. The outcome is settled by a retry with the same key.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store is there, and will not have us as we are set up: a wrong login, missing rights, an old version. Nothing
    /// was applied.
    #[error("{0}")]
    Unusable(String),
    /// Something that cannot happen did. Nothing was applied.
    #[error("internal error of the store: {0}")]
    Internal(String),
}

/// What a store says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The engine's name: `embedded` or `mongodb`.
    pub engine: &'static str,
    /// Whether other programs never see the middle of a batch.
    pub transactional: bool,
}
