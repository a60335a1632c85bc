//! Identifiers. Each kind of record has an id type of its own, so that one cannot stand for another.

use std::fmt;

use bson::oid::ObjectId;
use serde::ser::{Error, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The tenant: the shop whose data a request may touch, and the only source of tenancy.
///
/// Whoever holds a value of this type may read and write that shop's data, so there is one way for a request to
/// make one: from the claim of a token whose signature was checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(ObjectId);

impl ClientId {
    /// Reads the `clientId` claim of a verified token: exactly 24 hex digits, of either case.
    pub fn from_verified_claim(claim: &str) -> Option<Self> {
        ObjectId::parse_str(claim).ok().map(Self)
    }

    /// A client whom the operator names, or whom the store holds: for commands that are run beside the store by who
    /// may read all of it anyway, never for a request.
    pub fn for_operator(id: ObjectId) -> Self {
        Self(id)
    }

    /// Whether a `clientId` that a request states is this client.
    pub fn is(&self, stated: &str) -> bool {
        ObjectId::parse_str(stated).is_ok_and(|id| id == self.0)
    }

    /// The id as databases hold it.
    pub fn object_id(&self) -> ObjectId {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", self.0)
    }
}

/// A client's commit counter: 0 before its first commit, then +1 for each committed batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of the commit after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How the id of any record looks in answers, for the API's document.
pub struct RecordId;

impl RecordId {
    /// As a regular expression.
    pub const PATTERN: &str = "^[0-9a-f]{24}$";
}

impl PartialSchema for RecordId {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some(Self::PATTERN));
        let id = id.description(Some("The server's id of a record."));
        id.examples(["64b0000000000000000000aa"]).into()
    }
}

impl ToSchema for RecordId {}

/// Declares the id type of one kind of record.
macro_rules! record_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub bson::oid::ObjectId);

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::model::ids::serialize(self.0, serializer)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<bson::oid::ObjectId> for $name {
            fn from(id: bson::oid::ObjectId) -> Self {
                Self(id)
            }
        }
    };
}

/// Serializes an id as [`ObjectId`] itself does, by its digits as a member `$oid`, without a new string for each.
pub(super) fn serialize<S: Serializer>(id: ObjectId, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = [0; 24];
    hex::encode_to_slice(id.bytes(), &mut text).map_err(S::Error::custom)?;
    let mut extended = serializer.serialize_struct("$oid", 1)?;
    extended.serialize_field("$oid", str::from_utf8(&text).map_err(S::Error::custom)?)?;
    extended.end()
}

/// Declares the type of a name that phones make: 1 to so many visible ASCII characters.
macro_rules! phone_made_name {
    ($(#[$doc:meta])* $name:ident, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The longest one, in characters.
            pub const MOST_CHARACTERS: usize = $most;

            /// Takes a name as it stands; `None` if it is none.
            pub fn new(text: &str) -> Option<Self> {
                let fits = (1..=Self::MOST_CHARACTERS).contains(&text.len());
                (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
            }

            /// As the phone sent it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(super) use phone_made_name;
pub(super) use record_id;

#[cfg(test)]
mod tests {
    use super::*;

    record_id! {
        /// An id of the tests' own.
        TestId
    }

    #[test]
    fn an_id_is_serialized_as_an_object_id_is() {
        for id in ["0123456789abcdeffedcba98", "000000000000000000000000", "ffffffffffffffffffffffff"] {
            let id = ObjectId::parse_str(id).unwrap();
            let all = (bson::doc! { "id": id }, serde_json::to_string(&id).unwrap());
            #[derive(Serialize)]
            struct Record {
                id: TestId,
            }
            let record = Record { id: TestId(id) };
            assert_eq!(
                (bson::serialize_to_document(&record).unwrap(), serde_json::to_string(&record.id).unwrap()),
                all
            );
            let raw = bson::serialize_to_raw_document_buf(&record).unwrap();
            assert_eq!(raw.get_object_id("id").unwrap(), id);
        }
    }
}
