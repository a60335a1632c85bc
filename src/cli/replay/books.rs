//! The client's dataset as a whole: pulled, compared, kept.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use similar::TextDiff;

use super::canonical::canonical;
use super::courier::Courier;
use crate::cli::place::{Place, PlaceError};
use crate::phone::Route;

/// A dataset, and the revision that it is of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Books {
    pub revision: u64,
    data: Map<String, Value>,
}

/// A dataset that is expected, in canonical form.
#[derive(Debug)]
pub(super) struct Expected {
    file: PathBuf,
    text: String,
}

/// Why a file holds no dataset, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is something else.
    #[error("{0} holds no dataset: {1}")]
    NoDataset(PathBuf, String),
}

impl Books {
    /// Asks for the whole dataset with an empty sync; the error is a line for people.
    pub(super) async fn pull(courier: &Courier) -> Result<Self, String> {
        let answer = match courier.send(Route::Sync, &Bytes::new(), None).await.last {
            Ok(answer) if answer.is_ok() => answer,
            Ok(answer) => return Err(format!("cannot pull the dataset: the server answers {}", answer.status)),
            Err(error) => return Err(format!("cannot pull the dataset: {error}")),
        };
        serde_json::from_slice(&answer.body).map_err(|error| format!("cannot read the dataset: {error}"))
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.data.values().filter_map(Value::as_array).map(Vec::len).sum()
    }

    /// Keeps the dataset in a file, in canonical form.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub(super) fn save(&self, place: Place<'_>) -> Result<(), PlaceError> {
        place.put(&text(self.data.clone()))
    }
}

impl Expected {
    /// Reads a dataset: one that was saved, or a whole answer with its `data`.
    pub(super) fn read(file: &Path) -> Result<Self, ExpectError> {
        let bytes = std::fs::read(file).map_err(|error| ExpectError::Unreadable(file.to_owned(), error))?;
        let wrong = |why: String| ExpectError::NoDataset(file.to_owned(), why);
        let mut members: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let data = match members.remove("data") {
            Some(Value::Object(data)) => data,
            Some(_) => return Err(wrong("its data is not an object".into())),
            None if members.contains_key("items") => members,
            None => return Err(wrong("it has no list items".into())),
        };
        Ok(Self { file: file.to_owned(), text: text(data) })
    }

    /// The file's name.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How a dataset differs, as a unified diff; `None` if it does not.
    pub(super) fn difference(&self, books: &Books) -> Option<String> {
        let found = text(books.data.clone());
        if found == self.text {
            return None;
        }
        let diff = TextDiff::from_lines(&self.text, &found);
        // Enough lines to see which record it is: its name comes first, and invoices are the longest.
        Some(
            diff.unified_diff()
                .context_radius(8)
                .header(&self.file.display().to_string(), "the server's dataset")
                .to_string(),
        )
    }
}

/// The canonical form, a member a line.
fn text(data: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(canonical(data)))
}
