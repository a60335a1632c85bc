//! What the server did otherwise than the phone may have expected, though it did the rest.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::openapi::schema::{Discriminator, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::model::{Amount, LocalId};

/// One thing to know about a batch that was applied all the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// JSON pointer (RFC 6901) to the value in the request body; empty for the whole batch.
    pub path: String,
    /// What it is about.
    #[serde(flatten)]
    pub kind: WarningKind,
}

/// The kinds of warnings, each with what a program needs to act on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum WarningKind {
    /// A field that the contract does not know was ignored.
    UnknownField {
        /// Its name, cut at 200 characters.
        field: String,
    },
    /// A group, customer or dealer that this store does not know was kept as given.
    UnknownReference {
        /// What it would be.
        kind: ReferenceKind,
        /// The id as stored.
        id: String,
    },
    /// The stock was too small for a line and stays as it was.
    InsufficientStock {
        /// The item.
        item_id: String,
        /// Its name.
        item_name: String,
        /// The stock that is there.
        available: Amount,
        /// The quantity that was sold.
        requested: Amount,
    },
    /// A create whose local id is known was not applied again.
    AlreadyApplied {
        /// What the phone calls the record.
        local_id: LocalId,
        /// The record.
        id: String,
        /// Whether the create says something else than it said when it was applied.
        differs: bool,
    },
    /// More warnings than are listed one by one.
    WarningsOmitted {
        /// How many.
        count: i64,
    },
}

/// The kinds of records that other services make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceKind {
    /// An item's group.
    Group,
    /// An invoice's customer.
    Customer,
    /// An item's dealer.
    Dealer,
}

impl fmt::Display for ReferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Customer => "customer",
            Self::Dealer => "dealer",
        })
    }
}

impl Warning {
    /// As `warnings[]` of the answer.
    pub fn to_json(&self) -> Value {
        let path = &self.path;
        match &self.kind {
            WarningKind::UnknownField { field } => {
                json!({"code": "unknown_field", "path": path, "message": format!("Unknown field ignored: {field}")})
            }
            WarningKind::UnknownReference { kind, id } => {
                json!({"code": "unknown_reference", "path": path, "message": format!("Unknown {kind}: {id}"), "id": id})
            }
            WarningKind::InsufficientStock { item_id, item_name, available, requested } => json!({
                "code": "insufficient_stock",
                "path": path,
                "message": format!("Not enough stock of {item_name}: {available} available, {requested} sold"),
                "itemId": item_id,
                "available": available.to_json(),
                "requested": requested.to_json(),
            }),
            WarningKind::AlreadyApplied { local_id, id, differs } => json!({
                "code": "already_applied",
                "path": path,
                "message": format!("Applied before{}: {local_id}", if *differs { ", with other content" } else { "" }),
                "localId": local_id,
                "id": id,
                "differs": differs,
            }),
            WarningKind::WarningsOmitted { count } => {
                json!({"code": "warnings_omitted", "path": path, "message": format!("{count} more warnings"), "count": count})
            }
        }
    }
}

/// As [`Warning::to_json`] writes them: one shape for each code.
impl PartialSchema for Warning {
    fn schema() -> RefOr<Schema> {
        let about = "One thing to know about a batch that was applied all the same. `code` tells which.";
        let kinds = kinds().map(|(name, code, _)| (name, code));
        let refs = kinds.iter().map(|(name, code)| (*code, Ref::from_schema_name(*name).ref_location));
        let one_of = OneOfBuilder::new()
            .description(Some(about))
            .discriminator(Some(Discriminator::with_mapping("code", refs.collect::<Vec<_>>())));
        kinds.iter().fold(one_of, |one_of, (name, _)| one_of.item(Ref::from_schema_name(*name))).into()
    }
}

impl ToSchema for Warning {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend(kinds().map(|(name, _, kind)| (name.to_owned(), kind.into())));
    }
}

/// The name of each shape, its code and itself.
fn kinds() -> [(&'static str, &'static str, ObjectBuilder); 5] {
    let of = |types: Type, about: &str| ObjectBuilder::new().schema_type(types).description(Some(about));
    let id = |about: &str| of(Type::String, about);
    let kind = |name, code, about: &str, more: Vec<(&str, ObjectBuilder)>| {
        let common = [
            ("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some([code]))),
            ("path", of(Type::String, "JSON pointer (RFC 6901) into the request body.")),
            ("message", of(Type::String, "For people; its wording may change.")),
        ];
        let fields = common.into_iter().chain(more);
        let shape = of(Type::Object, about);
        (name, code, fields.fold(shape, |shape, (name, value)| shape.property(name, value).required(name)))
    };
    [
        kind("UnknownField", "unknown_field", "A field or list that the API does not know was ignored.", vec![]),
        kind(
            "UnknownReference",
            "unknown_reference",
            "A group, customer or dealer that this store does not know was kept as given.",
            vec![("id", id("As it is stored."))],
        ),
        kind(
            "InsufficientStock",
            "insufficient_stock",
            "The stock was too small for a line and stays as it was. The sale stands.",
            vec![
                ("itemId", id("The item.")),
                ("available", of(Type::Number, "What was there.")),
                ("requested", of(Type::Number, "What was sold.")),
            ],
        ),
        kind(
            "AlreadyApplied",
            "already_applied",
            "A create whose `localId` is known was not applied again.",
            vec![
                ("localId", of(Type::String, "What the phone calls the record.")),
                ("id", id("The record.")),
                ("differs", of(Type::Boolean, "Whether it says something else than it said when it was applied.")),
            ],
        ),
        kind(
            "WarningsOmitted",
            "warnings_omitted",
            "There are more warnings than are listed.",
            vec![("count", of(Type::Integer, "How many are not listed."))],
        ),
    ]
}

/// The warnings of one batch. At most 1000 are kept and the rest counted, so that receipts stay small.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Warnings {
    listed: Vec<Warning>,
    omitted: i64,
}

impl Warnings {
    /// As many as are kept.
    pub(super) const MOST: usize = 1000;

    /// Adds one.
    pub fn push(&mut self, path: String, kind: WarningKind) {
        if self.listed.len() < Self::MOST {
            self.listed.push(Warning { path, kind });
        } else {
            self.omitted += 1;
        }
    }

    /// All that were kept, with a last one that counts the rest.
    pub fn into_list(mut self) -> Vec<Warning> {
        if self.omitted > 0 {
            let kind = WarningKind::WarningsOmitted { count: self.omitted };
            self.listed.push(Warning { path: String::new(), kind });
        }
        self.listed
    }
}
