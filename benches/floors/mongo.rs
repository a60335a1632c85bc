//! A dataset on MongoDB: a replica set of one member, a mongod of this program's own, which ends with it.

use std::panic::catch_unwind;

use bson::{RawDocumentBuf, doc};
use divan::black_box;
use futures_util::StreamExt;
use mongodb::Database;
use tokio::runtime::Runtime;
use viveka_sync::model::Collection;
use viveka_sync::store::mongo::{MongoOptions, MongoStore};
use viveka_sync::store::{Data, DatasetMemory, FullReason, Store, Wanted};

use crate::compare::{Comparison, Round, Way, round};
use crate::sample;
use crate::testing::mongod::{Mongod, Topology, database, unique_name};
use crate::testing::mongod_binary::mongod_binary;

/// The six collections must be fetched, which can be done at the same time.
pub const COMPARISONS: &[Comparison] = &[Comparison {
    work: "MongoDB dataset of 2,800 records",
    floor: Way { name: "six raw finds", prepare: fetch },
    beside: &[
        Way { name: "six raw finds, one after another", prepare: fetch_in_turn },
        Way { name: "MongoStore::dataset, read anew", prepare: || read(false) },
        Way { name: "MongoStore::dataset, kept (SOLE_WRITER)", prepare: || read(true) },
    ],
}];

fn fetch() -> Option<Round> {
    let (books, runtime) = books()?;
    round(move || assert_eq!(runtime.block_on(fetch_at_once(&books, &runtime)), sample::RECORDS))
}

fn fetch_in_turn() -> Option<Round> {
    let (books, runtime) = books()?;
    let all = async move |books: &Database| {
        let mut found = 0;
        for collection in Collection::ALL {
            found += fetch_all(books.collection(collection.name())).await;
        }
        found
    };
    round(move || assert_eq!(runtime.block_on(all(&books)), sample::RECORDS))
}

async fn fetch_at_once(books: &Database, runtime: &Runtime) -> usize {
    let fetch = |collection: Collection| runtime.handle().spawn(fetch_all(books.collection(collection.name())));
    let mut found = 0;
    for find in Collection::ALL.map(fetch) {
        found += find.await.expect("finds do not panic");
    }
    found
}

/// Fetches one collection and looks at nothing but where its records begin. Says how many there are.
async fn fetch_all(records: mongodb::Collection<RawDocumentBuf>) -> usize {
    let find = records.find(doc! { "clientId": sample::client(0).object_id() }).batch_size(100_000);
    let mut batches = find.batch().await.expect("a mongod that can be read");
    let mut found = 0;
    while let Some(batch) = batches.next().await {
        let batch = black_box(batch.expect("a mongod that can be read"));
        found += batch.doc_slices().expect("a batch of records").into_iter().count();
    }
    found
}

fn read(sole_writer: bool) -> Option<Round> {
    let (books, runtime) = books()?;
    let options = MongoOptions {
        url: Mongod::shared(Topology::ReplicaSet).url(),
        database: books.name().to_owned(),
        receipt_days: 0,
        sole_writer,
        memory: DatasetMemory { cache: 64 << 20, stream_above: 64 << 20 },
    };
    let store = runtime.block_on(MongoStore::open(options)).expect("a mongod that can be used");
    runtime.block_on(store.ready()).expect("a mongod that can be used");
    round(move || {
        let pull = runtime.block_on(store.dataset(&sample::client(0), Wanted::Full(FullReason::NoCursor), None));
        let data = pull.expect("a mongod that can be read").data;
        assert!(matches!(black_box(data), Data::Ready(_)));
    })
}

/// A new database with a shop, and what drives it; none without a mongod.
fn books() -> Option<(Database, Runtime)> {
    // The panic has said what is missing.
    catch_unwind(mongod_binary).ok()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let books = runtime.block_on(async {
        let books = database(Mongod::shared(Topology::ReplicaSet), &unique_name("bench")).await;
        let shop = sample::shop(&sample::client(0));
        for collection in Collection::ALL {
            let stored = books.collection::<RawDocumentBuf>(collection.name());
            // As the store makes it.
            stored.create_index(mongodb::IndexModel::builder().keys(doc! { "clientId": 1, "_id": 1 }).build()).await?;
            let records = shop.iter().filter(|(of, _)| *of == collection).map(|(_, record)| sample::raw(record));
            let records: Vec<_> = records.collect();
            if !records.is_empty() {
                stored.insert_many(records).await?;
            }
        }
        Ok::<_, mongodb::error::Error>(books)
    });
    Some((books.expect("a mongod that takes writes"), runtime))
}
