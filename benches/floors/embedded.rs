//! The embedded engine: commits, and datasets.

use std::sync::Arc;

use divan::black_box_drop;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use viveka_sync::batch::Batch;
use viveka_sync::model::{Collection, Revision};
use viveka_sync::plan::{ReadSet, Snapshot};
use viveka_sync::store::embedded::EmbeddedStore;
use viveka_sync::store::{Data, DatasetMemory, FullReason, Store, Wanted};

use crate::compare::{Comparison, Round, Way, round};
use crate::raw_redb::{RawFile, Rows};
use crate::sample::{self, Queue};
use crate::testing::scratch;

/// A commit must write its rows, and those of several clients could be written in one transaction. A dataset must
/// be read, which leaves its bytes where redb has them.
pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        work: "embedded commit of 20 operations",
        floor: Way { name: "raw redb", prepare: || write_rows(1) },
        beside: &[Way { name: "EmbeddedStore::execute", prepare: || execute(1) }],
    },
    Comparison {
        work: "embedded commits of 8 clients at once",
        floor: Way { name: "raw redb", prepare: || write_rows(8) },
        beside: &[Way { name: "EmbeddedStore::execute", prepare: || execute(8) }],
    },
    Comparison {
        work: "embedded dataset of 2,800 records",
        floor: Way { name: "raw redb", prepare: scan_rows },
        beside: &[
            Way { name: "EmbeddedStore::dataset, read anew", prepare: || read(0) },
            Way { name: "EmbeddedStore::dataset, kept", prepare: || read(64 << 20) },
        ],
    },
];

fn execute(clients: i32) -> Option<Round> {
    let books = Books::of(clients, 0);
    let batch = Queue::Small.batch();
    let mut rounds = 0..;
    round(move || books.commit(&batch, rounds.next().expect("the numbers do not end")))
}

fn write_rows(clients: i32) -> Option<Round> {
    let before = Books::of(clients, 0).close();
    let rows = Books::of(clients, 0).rows_of_a_commit(Queue::Small);
    let file = RawFile::with(&before);
    let mut rounds = 0..;
    round(move || file.commit(&rows, &before, rounds.next().expect("the numbers do not end")))
}

fn read(cache: usize) -> Option<Round> {
    let books = Books::of(1, cache);
    round(move || black_box_drop(books.dataset()))
}

fn scan_rows() -> Option<Round> {
    let file = RawFile::with(&Books::of(1, 0).close());
    round(move || assert_eq!(file.scan(&sample::client(0)), sample::RECORDS))
}

/// An embedded store with shops.
pub struct Books {
    store: EmbeddedStore,
    directory: TempDir,
    clients: i32,
    runtime: Runtime,
}

impl Books {
    /// A new one with shops of so many clients, which keeps so many bytes of datasets.
    pub fn of(clients: i32, cache: usize) -> Self {
        let directory = scratch::fresh_dir("books-");
        let memory = DatasetMemory { cache, stream_above: 64 << 20 };
        let store = EmbeddedStore::open(directory.path(), 0, memory).expect("a new store");
        for client in (0..clients).map(sample::client) {
            let shop = sample::shop(&client);
            for collection in Collection::ALL {
                let records = shop.iter().filter(|(of, _)| *of == collection).map(|(_, record)| record.clone());
                store.import(&client, collection, records.collect()).expect("room for a shop");
            }
            store.import_counters(&client, Revision(1), 1).expect("room for a shop");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { store, directory, clients, runtime }
    }

    /// What the first client's planner is given.
    pub fn snapshot(&self, reads: &ReadSet) -> Snapshot {
        self.runtime.block_on(self.store.snapshot(&sample::client(0), reads)).expect("a store that can be read")
    }

    /// The rows that a commit of each client writes.
    pub fn rows_of_a_commit(self, queue: Queue) -> Rows {
        self.commit(&queue.batch(), 0);
        let before = Self::of(self.clients, 0).close();
        self.close().since(&before)
    }

    /// Ends the store, and tells what is in it.
    fn close(self) -> Rows {
        let Self { store, directory, .. } = self;
        drop(store);
        Rows::of(directory.path())
    }

    /// Has each client commit the batch, all at once.
    fn commit(&self, batch: &Arc<Batch>, round: u32) {
        let key = format!("round-{round}");
        let commits = (0..self.clients).map(|number| {
            let planner = Arc::new(sample::planner(batch, &key));
            async move { self.store.execute(&sample::client(number), planner, Wanted::Nothing).await }
        });
        for outcome in self.runtime.block_on(join_all(commits)) {
            assert!(!outcome.expect("the batch is valid").replayed);
        }
    }

    fn dataset(&self) -> Data {
        let wanted = Wanted::Full(FullReason::NoCursor);
        let pull = self.runtime.block_on(self.store.dataset(&sample::client(0), wanted, None));
        pull.expect("a store that can be read").data
    }
}
