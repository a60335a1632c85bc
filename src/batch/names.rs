//! References: how an operation names a record, be it one that an earlier operation of the same batch
//! makes or one that is stored.

use std::collections::HashMap;
use std::fmt;

use bson::oid::ObjectId;
use serde_json::Value;

use crate::model::LocalId;

/// What a phone calls a record until it knows the server's id: the `_id` that a create carries, as text.
pub type Alias = String;

/// What a reference names. Names of the batch, aliases and local ids, are looked up before stored records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<Id> {
    /// The record of the create at this index of the batch.
    Created(usize),
    /// A record that must be stored already: the one with this local id, or else the one with this id.
    Stored {
        /// The reference as it was sent, less white space around it.
        local_id: LocalId,
        /// The same as an id of the server, if it looks like one.
        id: Option<Id>,
    },
    /// Text that can name no record.
    Nothing(String),
}

impl<Id> Target<Id> {
    /// The local id that the reference may be.
    pub fn local_id(&self) -> Option<&LocalId> {
        match self {
            Self::Stored { local_id, .. } => Some(local_id),
            _ => None,
        }
    }
}

/// Prints the reference as it was sent, less white space around it.
impl<Id> fmt::Display for Target<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(index) => write!(f, "create {index} of this batch"),
            Self::Stored { local_id, .. } => local_id.fmt(f),
            Self::Nothing(text) => text.fmt(f),
        }
    }
}

/// The longest alias that a phone may use.
pub(super) const MOST_ALIAS_CHARACTERS: usize = 200;

/// What the creates of one kind are called in their batch: by their aliases and their local ids.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// For each name its create; `None` where several records share it.
    creates: HashMap<String, Option<usize>>,
    /// For each local id the first create that carries it. Later ones are of the same record.
    local_ids: HashMap<String, usize>,
}

impl Names {
    /// The names of a list of creates.
    pub fn of<'a>(creates: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut names = Self::default();
        for (index, create) in creates.into_iter().enumerate() {
            let alias = create.get("_id").and_then(reference_text).filter(|alias| !alias.is_empty());
            let local_id = create.get("localId").and_then(Value::as_str).map(|text| text.trim().to_owned());
            names.add(index, alias, local_id.filter(|local_id| !local_id.is_empty()));
        }
        names
    }

    fn add(&mut self, index: usize, alias: Option<Alias>, local_id: Option<String>) {
        let record = match &local_id {
            Some(local_id) => *self.local_ids.entry(local_id.clone()).or_insert(index),
            None => index,
        };
        for name in alias.into_iter().chain(local_id) {
            self.creates
                .entry(name)
                .and_modify(|create| *create = create.filter(|create| *create == record))
                .or_insert(Some(record));
        }
    }

    /// Whether a name of the batch stands for exactly one record.
    pub fn is_unique(&self, name: &str) -> bool {
        matches!(self.creates.get(name), Some(Some(_)))
    }

    /// Finds out what a reference names; `None` if several records of the batch are called so.
    pub fn resolve<Id: From<ObjectId>>(&self, reference: &str) -> Option<Target<Id>> {
        match self.creates.get(reference) {
            Some(index) => index.map(Target::Created),
            None => Some(match LocalId::new(reference) {
                Some(local_id) => Target::Stored { local_id, id: ObjectId::parse_str(reference).ok().map(Id::from) },
                None => Target::Nothing(reference.chars().take(MOST_ALIAS_CHARACTERS).collect()),
            }),
        }
    }
}

/// The text of an alias or a reference: a string, or a whole number, of which `1` and `"1"` are the same.
/// `None` for any other value; blank text is as good as none.
pub(super) fn reference_text(value: &Value) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: below it a double stands for one whole number
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(number) => {
            number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT).map(|n| (n as i64).to_string())
        }
        _ => None,
    }
}
