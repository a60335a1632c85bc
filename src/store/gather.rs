//! From the records of six collections, which arrive in parts and side by side, to the JSON of `data`.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::StoreError;
use super::pull::Data;
use crate::dataset::{self, Dataset, Leaf};
use crate::model::Collection;

/// The encoded records of one collection in `_id` order, as they are read.
pub(super) type Leaves = BoxStream<'static, Result<Leaf, StoreError>>;

/// What came of the reading.
pub(super) enum Gathered {
    /// All of it, held in memory.
    Whole(Dataset),
    /// It is larger than what may be held.
    Large(BoxStream<'static, Result<Bytes, StoreError>>),
}

/// Takes in all collections at once, until they are complete or have come to more than `most` bytes.
pub(super) async fn gather(sources: [Leaves; Collection::ALL.len()], most: usize) -> Result<Gathered, StoreError> {
    let mut lists = sources.map(|source| List { taken: Vec::new(), rest: Some(source) });
    let mut bytes = 0;
    while lists.iter().any(|list| list.rest.is_some()) && bytes <= most {
        bytes += fetch(&mut lists).await?;
    }
    Ok(Gathered::of(lists))
}

impl Gathered {
    /// What the lists come to.
    pub fn of(lists: [List; Collection::ALL.len()]) -> Self {
        if lists.iter().any(|list| list.rest.is_some()) {
            return Self::Large(in_order(lists));
        }
        let mut dataset = Dataset::default();
        for (collection, list) in Collection::ALL.into_iter().zip(lists) {
            list.taken.into_iter().for_each(|leaf| dataset.push(collection, leaf));
        }
        Self::Whole(dataset)
    }

    /// The JSON of `data`.
    pub fn into_data(self) -> Data {
        match self {
            Self::Whole(dataset) => Data::Ready(dataset.pieces().collect()),
            Self::Large(stream) => Data::Stream(stream),
        }
    }
}

/// One collection: what was taken in of it, and the rest of it that is still to come.
pub(super) struct List {
    pub taken: Vec<Leaf>,
    pub rest: Option<Leaves>,
}

/// Takes in what has arrived, and waits if nothing has. Says how many bytes it was.
async fn fetch(lists: &mut [List]) -> Result<usize, StoreError> {
    poll_fn(|context| {
        let (mut bytes, mut news) = (0, false);
        for List { taken, rest } in lists.iter_mut() {
            let Some(source) = rest else { continue };
            match source.poll_next_unpin(context) {
                Poll::Pending => continue,
                Poll::Ready(None) => *rest = None,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(leaf))) => {
                    bytes += leaf.bytes();
                    taken.push(leaf);
                }
            }
            news = true;
        }
        if news { Poll::Ready(Ok(bytes)) } else { Poll::Pending }
    })
    .await
}

/// One list after the other: what was taken in, then what is still to come. A source whose turn has not come
/// is not asked, so its reader waits.
fn in_order(lists: [List; Collection::ALL.len()]) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let lists = Collection::ALL.into_iter().zip(lists).map(|(collection, list)| {
        let rest = list.rest.unwrap_or_else(|| stream::empty().boxed());
        let leaves = stream::iter(list.taken).map(Ok).chain(rest).enumerate();
        let pieces = leaves.map(|(index, leaf)| leaf.map(|leaf: Leaf| leaf.piece(index == 0)));
        stream::once(std::future::ready(Ok(dataset::opening(collection)))).chain(pieces)
    });
    let closing = stream::once(std::future::ready(Ok(Bytes::from_static(dataset::CLOSING))));
    stream::iter(lists).flatten().chain(closing).boxed()
}
