//! In-batch references: how an operation names what an earlier one of the same batch made.

use std::collections::HashMap;
use std::fmt;

use bson::oid::ObjectId;
use serde_json::Value;

/// What a phone calls a record until it knows the server's id: the `_id` that a create carries, as text.
pub type Alias = String;

/// What a reference names. Aliases of the batch are looked up before stored ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<Id> {
    /// The record that the create at this index of the batch makes.
    Created(usize),
    /// A record that must be stored already.
    Stored(Id),
    /// Text that can name no record.
    Nothing(String),
}

/// Prints the reference as it was sent, less white space around it.
impl<Id: fmt::Display> fmt::Display for Target<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(index) => write!(f, "create {index} of this batch"),
            Self::Stored(id) => id.fmt(f),
            Self::Nothing(text) => text.fmt(f),
        }
    }
}

/// The longest alias that a phone may use.
pub(super) const MOST_ALIAS_CHARACTERS: usize = 200;

/// The aliases of the creates of one kind, in order of the creates.
#[derive(Debug, Default)]
pub(super) struct Aliases(HashMap<Alias, Option<usize>>);

impl Aliases {
    /// Remembers what the create at `index` calls its record. An alias that comes twice names nothing.
    pub fn add(&mut self, index: usize, alias: &str) {
        self.0.entry(alias.to_owned()).and_modify(|at| *at = None).or_insert(Some(index));
    }

    /// Whether an alias names exactly one record.
    pub fn is_unique(&self, alias: &str) -> bool {
        matches!(self.0.get(alias), Some(Some(_)))
    }

    /// Finds out what a reference names; `None` if several creates share the alias.
    pub fn resolve<Id: From<ObjectId>>(&self, reference: &str) -> Option<Target<Id>> {
        match self.0.get(reference) {
            Some(index) => index.map(Target::Created),
            None => Some(ObjectId::parse_str(reference).map_or_else(
                |_| Target::Nothing(reference.chars().take(MOST_ALIAS_CHARACTERS).collect()),
                |id| Target::Stored(id.into()),
            )),
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
