//! What this server reads of a token. Its times and audience are for the validation.

use bson::oid::ObjectId;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Caller;
use crate::model::SessionId;

/// The claims of a token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claims {
    client_id: String,
    #[serde(default)]
    device_session_id: Lenient,
    #[serde(default)]
    iss: Lenient,
}

/// A text, or whatever a server that looks up no sessions, or asks for no issuer, need not mind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Text(String),
    Other(IgnoredAny),
}

impl Default for Lenient {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl Claims {
    /// Whether they name one issuer. A list is none (RFC 7519, 4.1.1), even one with the right issuer in it.
    pub fn has_one_issuer(&self) -> bool {
        matches!(self.iss, Lenient::Text(_))
    }

    /// Who is calling, if the claims of a verified token say so.
    pub fn caller(&self) -> Option<Caller> {
        let session = match &self.device_session_id {
            Lenient::Text(text) => ObjectId::parse_str(text).ok().map(SessionId),
            Lenient::Other(_) => None,
        };
        Caller::named(&self.client_id, None).map(|caller| Caller { session, ..caller })
    }
}
