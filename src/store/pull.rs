//! How much of a dataset a phone wants, and what it gets.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use utoipa::ToSchema;

use super::StoreError;
use super::cache::Known;
use crate::model::{ClientId, Cursor, Lineage, Position, Revision, StoreId};

/// How much of a client's dataset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Only where the client's books stand.
    Nothing,
    /// Everything, and why no less.
    Full(FullReason),
    /// The records that commits have changed since; everything, if the store cannot tell.
    Since(Cursor),
}

/// Why a phone gets everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FullReason {
    /// It sent no cursor.
    NoCursor,
    /// What it sent is no cursor, or another client's.
    CursorUnknown,
    /// Its cursor was made by another store.
    CursorFromAnotherStore,
    /// Its cursor is ahead of the store, as after a restored backup.
    CursorAhead,
    /// Its cursor is of a history that is not this one any more, or from before what the store remembers.
    CursorExpired,
}

/// What a phone gets.
pub struct Pull {
    /// The state of the books that it shows.
    pub cursor: Cursor,
    /// How much of it.
    pub mode: Mode,
    /// The JSON of `data`.
    pub data: Data,
    /// When that was.
    pub moment: Moment,
    /// Whether equal cursors are equal datasets: nobody but this program writes.
    pub exact: bool,
}

/// How much a phone gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing of the dataset.
    None,
    /// All of it, and why.
    Full(FullReason),
    /// What changed since its cursor.
    Delta,
}

/// A JSON object in pieces.
pub enum Data {
    /// None was wanted.
    Nothing,
    /// All of it is here.
    Ready(Vec<Bytes>),
    /// It is too large to be held, and read as fast as it is taken.
    Stream(DataStream),
}

/// A dataset that is read as it is taken. After an error it is not complete.
pub type DataStream = BoxStream<'static, Result<Bytes, StoreError>>;

impl Data {
    /// The same, to be taken piece by piece.
    pub fn into_stream(self) -> DataStream {
        match self {
            Self::Nothing => stream::empty().boxed(),
            Self::Ready(pieces) => stream::iter(pieces).map(Ok).boxed(),
            Self::Stream(stream) => stream,
        }
    }
}

/// A moment in the life of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Where the client's books stood.
    pub position: Position,
    /// The database's own time, where it has one; 0 where it has none.
    pub time: u64,
}

/// What a dataset must not be older than.
#[derive(Debug, Clone, Default)]
pub struct After {
    /// The moment.
    pub moment: Moment,
    /// The books of that moment, if whoever was there has read them.
    pub(super) read: Option<Box<ReadOnTheWay>>,
}

/// Books that were read on the way to a moment.
#[derive(Debug, Clone)]
pub(super) struct ReadOnTheWay {
    /// In which time of the store. Of another one they say nothing.
    pub epoch: u64,
    /// The books.
    pub known: Known,
}

impl From<Moment> for After {
    fn from(moment: Moment) -> Self {
        Self { moment, read: None }
    }
}

/// The most that changed records may take to be told one by one where so much of a dataset may be held: in any case
/// what some batches change, however little that is.
pub(super) fn most_changed(most_held: usize) -> usize {
    const SOME_BATCHES: usize = 4 << 20;
    most_held.max(SOME_BATCHES)
}

/// What is to be read for what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Nothing,
    Full(FullReason),
    Since(Revision),
}

impl Wanted {
    /// What there is to read in books that stand here.
    pub(super) fn reading(self, store: StoreId, revision: Revision, lineage: &Lineage) -> Reading {
        match self {
            Self::Nothing => Reading::Nothing,
            Self::Full(reason) => Reading::Full(reason),
            Self::Since(cursor) if cursor.store != store => Reading::Full(FullReason::CursorFromAnotherStore),
            Self::Since(cursor) if cursor.position.revision > revision => Reading::Full(FullReason::CursorAhead),
            Self::Since(cursor) if lineage.holds(cursor.position, revision) => Reading::Since(cursor.position.revision),
            Self::Since(_) => Reading::Full(FullReason::CursorExpired),
        }
    }
}

impl Pull {
    /// Where a client's books stand, and nothing of the dataset.
    pub(super) fn nothing(store: StoreId, client: ClientId, moment: Moment, exact: bool) -> Self {
        let cursor = Cursor { store, client, position: moment.position };
        Self { cursor, mode: Mode::None, data: Data::Nothing, moment, exact }
    }
}

impl Reading {
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Nothing => Mode::None,
            Self::Full(reason) => Mode::Full(reason),
            Self::Since(_) => Mode::Delta,
        }
    }
}

impl FullReason {
    /// The reason as phones read it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoCursor => "no_cursor",
            Self::CursorUnknown => "cursor_unknown",
            Self::CursorFromAnotherStore => "cursor_from_another_store",
            Self::CursorAhead => "cursor_ahead",
            Self::CursorExpired => "cursor_expired",
        }
    }
}
