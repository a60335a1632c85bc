//! Who is calling: tokens, the keys that verify them, and where those come from. The one place that makes a
//! [`ClientId`].

mod claims;
mod key;
mod key_set;
mod location;
mod provider;
mod published;
mod tokens;
mod verifier;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use bson::oid::ObjectId;

use crate::model::{ClientId, SessionId};
pub use key::Rules;
pub use location::Location;
pub use tokens::Tokens;
pub use verifier::{KeyError, KeySources, Keys, Refusal, Verifier};

/// Who a verified token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whose books.
    pub client: ClientId,
    /// In which session of a device, if the token says so.
    pub session: Option<SessionId>,
}

impl Caller {
    /// By their ids as texts; `None` if one is not 24 hex digits.
    pub fn named(client: &str, session: Option<&str>) -> Option<Self> {
        let session = match session {
            Some(session) => Some(SessionId(ObjectId::parse_str(session).ok()?)),
            None => None,
        };
        Some(Self { client: ClientId::from_verified_claim(client)?, session })
    }
}

/// The token of a request, as text: of `Authorization: Bearer`. The scheme's name has no case (RFC 9110, 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(AUTHORIZATION);
    // Of two headers, a proxy before this server may have looked at the other one.
    let header = headers.next().filter(|_| headers.next().is_none())?.to_str().ok()?;
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
