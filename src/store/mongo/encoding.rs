//! Datasets that are encoded while the database is busy with the commit that they are shown after.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::dataset::{Dataset, Malformed, Records};
use crate::store::whole::Whole;

/// A dataset that is being encoded.
pub(super) struct Encoding(JoinHandle<Result<Dataset, Malformed>>);

impl Encoding {
    /// Begins to encode what a client's records will be once these are written.
    pub fn begin(before: Whole, written: Records) -> Self {
        Self(Handle::current().spawn(async move { before.dataset_with(&written) }))
    }

    /// The dataset. There is none if a record cannot be shown, which whoever reads it again is told.
    pub async fn wait(self) -> Option<Dataset> {
        self.0.await.ok()?.ok()
    }
}
