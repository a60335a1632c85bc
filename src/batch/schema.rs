//! The words in which the API's document (OpenAPI 3.1, so JSON Schema 2020-12) tells the wire shapes.
//!
//! Each shape stands beside its reader. `tests/it/openapi` sends every bound that a shape states, and what lies just
//! outside of it, to a server, so that shape and reader cannot drift apart.

use std::ops::RangeInclusive;

use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};

use super::names::MOST_ALIAS_CHARACTERS;
use super::reader::MOST_IDS;
use crate::model::LocalId;

/// The fields of one JSON object. Others may be there too: they are ignored with a warning.
pub(super) struct Fields(ObjectBuilder);

/// The values that a field may have, beside null.
pub(super) struct Values(Schema);

/// From where on amounts are taken. All are below 10^11 in size.
pub(super) enum Least {
    Any,
    Zero,
    AboveZero,
}

impl Fields {
    pub fn of(about: &str) -> Self {
        Self(ObjectBuilder::new().schema_type(Type::Object).description(Some(about)))
    }

    /// A field that must be there.
    pub fn required(self, name: &str, values: Values) -> Self {
        Self(self.0.property(name, values.0).required(name))
    }

    /// A field that may be absent or null.
    pub fn optional(self, name: &str, values: Values) -> Self {
        Self(self.0.property(name, values.or_null()))
    }

    pub fn values(self) -> Values {
        Values(self.0.into())
    }

    pub fn schema(self) -> RefOr<Schema> {
        self.0.into()
    }
}

impl Values {
    fn new(types: impl IntoIterator<Item = Type>, about: &str, bound: impl FnOnce(&mut Object)) -> Self {
        let mut types: Vec<_> = types.into_iter().collect();
        let schema_type = if types.len() == 1 { types.remove(0).into() } else { SchemaType::Array(types) };
        let mut object = ObjectBuilder::new().schema_type(schema_type).description(Some(about)).build();
        bound(&mut object);
        Self(object.into())
    }

    fn or_null(self) -> Schema {
        let mut schema = self.0;
        match &mut schema {
            Schema::Object(object) => add_null(&mut object.schema_type),
            Schema::Array(array) => add_null(&mut array.schema_type),
            _ => {}
        }
        schema
    }

    /// A text of so many characters, less the white space around it.
    pub fn text(characters: RangeInclusive<usize>, about: &str) -> Self {
        Self::new([Type::String], about, |text| {
            text.min_length = Some(*characters.start()).filter(|least| *least > 0);
            text.pattern = text.min_length.map(|_| NOT_BLANK.to_owned());
            text.max_length = Some(*characters.end());
        })
    }

    /// One of these texts.
    pub fn one_of(texts: &[&str], about: &str) -> Self {
        Self::new([Type::String], about, |one| {
            let null = serde_json::Value::Null;
            one.enum_values = Some(texts.iter().map(|text| (*text).into()).chain([null]).collect());
        })
    }

    /// Any text.
    pub fn any_text(about: &str) -> Self {
        Self::new([Type::String], about, |_| {})
    }

    /// An amount, rounded on entry to 4 decimal places. Bounds hold after that.
    pub fn amount(least: Least, about: &str) -> Self {
        const MOST: f64 = 99_999_999_999.999_9;
        const SMALLEST: f64 = 0.0001;
        let least = match least {
            Least::Any => -MOST,
            Least::Zero => 0.0,
            Least::AboveZero => SMALLEST,
        };
        Self::new([Type::Number], about, |number| {
            number.minimum = Some(least.into());
            number.maximum = Some(MOST.into());
        })
    }

    pub fn flag(about: &str) -> Self {
        Self::new([Type::Boolean], about, |_| {})
    }

    /// A day or a point in time.
    pub fn time(about: &str) -> Self {
        let about = format!("{about} `YYYY-MM-DD`, which is midnight UTC, or RFC 3339 with any offset.");
        Self::new([Type::String], &about, |text| {
            text.pattern = Some(TIME.to_owned());
            text.examples = vec!["2025-01-12".into(), "2025-01-12T18:30:00+05:30".into()];
        })
    }

    /// The id of a record that other services make.
    pub fn id(about: &str) -> Self {
        Self::new([Type::String], about, |text| {
            text.pattern = Some(ID.to_owned());
            text.examples = vec!["64b0000000000000000000aa".into()];
        })
    }

    /// A list of such ids.
    pub fn ids(about: &str) -> Self {
        let id = Self::new([Type::String], "24 hex digits.", |text| text.pattern = Some(ID.to_owned()));
        Self(ArrayBuilder::new().items(RefOr::T(id.0)).max_items(Some(MOST_IDS)).description(Some(about)).into())
    }

    /// The name of a record: an alias or a local id of this batch, a stored local id, or an id.
    pub fn reference(about: &str) -> Self {
        Self::new([Type::String, Type::Integer], about, |_| {})
    }

    /// A reference that must not be blank.
    pub fn given_reference(about: &str) -> Self {
        Self::new([Type::String, Type::Integer], about, |text| text.pattern = Some(NOT_BLANK.to_owned()))
    }

    pub fn list(elements: Self, about: &str) -> Self {
        Self(ArrayBuilder::new().items(RefOr::T(elements.0)).description(Some(about)).into())
    }

    /// A list of a shape that has a name of its own.
    pub fn list_of(name: &str, about: &str) -> Self {
        Self(ArrayBuilder::new().items(Ref::from_schema_name(name)).description(Some(about)).into())
    }

    pub fn with_items(self, items: RangeInclusive<usize>) -> Self {
        match self.0 {
            Schema::Array(mut array) => {
                array.min_items = Some(*items.start()).filter(|least| *least > 0);
                array.max_items = Some(*items.end());
                Self(array.into())
            }
            other => Self(other),
        }
    }

    /// Visible ASCII characters.
    pub fn visible(most: usize, about: &str) -> Self {
        Self::new([Type::String], about, |text| {
            text.min_length = Some(1);
            text.max_length = Some(most);
            text.pattern = Some(VISIBLE.to_owned());
        })
    }

    /// The `_id` of a create, of which any type is taken.
    pub fn alias() -> Self {
        let about = "An alias: what the phone calls this record within this batch, so that other operations of the \
            batch can refer to it. A string or a whole number (`1` and `\"1\"` are the same). The server makes its own id, \
            and `idMap` of the answer tells which. A value of any other type is no alias and is dropped.";
        Self::new([], about, |alias| {
            alias.schema_type = SchemaType::AnyValue;
            alias.max_length = Some(MOST_ALIAS_CHARACTERS);
            alias.examples = vec![1.into(), "row-17".into()];
        })
    }

    pub fn local_id() -> Self {
        let about = "What the phone calls this record for ever (a UUID, a ULID). A create whose `localId` is known is not \
            applied again, whatever batch it comes in, and any later batch may refer to the record by it.";
        Self::visible(LocalId::MOST_CHARACTERS, about)
    }
}

fn add_null(schema_type: &mut SchemaType) {
    match schema_type {
        SchemaType::Type(one) => *schema_type = SchemaType::Array(vec![one.clone(), Type::Null]),
        SchemaType::Array(types) => types.push(Type::Null),
        SchemaType::AnyValue => {}
    }
}

/// As it is after trimming.
const NOT_BLANK: &str = r"\S";
const VISIBLE: &str = "^[!-~]+$";
const ID: &str = "^[0-9A-Fa-f]{24}$";
/// RFC 3339's `full-date` and `date-time`.
const TIME: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
    (T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$";
