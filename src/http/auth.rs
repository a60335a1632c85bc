//! Who is calling. The one place that makes a [`ClientId`].

use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::error::ApiError;
use super::hs256;
use crate::clock;
use crate::model::ClientId;

/// The caller of a request, taken from its token before its body is read.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub ClientId);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().expect("the app is registered with its routes");
        let mut headers = request.headers().get_all(AUTHORIZATION);
        // Of two headers, a proxy before this server may have looked at the other one.
        let header = headers.next().filter(|_| headers.next().is_none()).and_then(|value| value.to_str().ok());
        ready(
            header.and_then(bearer).and_then(|token| app.tokens.verify(token)).map(Self).ok_or(ApiError::Unauthorized),
        )
    }
}

/// Signs and verifies tokens with one HS256 secret.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

/// What a token must say. Its times are for the validation, which also takes fractions of seconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    client_id: String,
}

impl Tokens {
    /// Takes the secret.
    pub fn new(secret: &str) -> Self {
        hs256::install();
        // RFC 7519: `exp` is required and has a leeway of 60 s, and so has `nbf` if there is one. Tokens
        // of existing systems may carry an audience, which says nothing to this server.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Self {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            verifying: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// The client that a token stands for; `None` for whatever is wrong with it.
    pub fn verify(&self, token: &str) -> Option<ClientId> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation).ok()?.claims;
        ClientId::from_verified_claim(&claims.client_id)
    }

    /// Mints a token that is good for some days; `None` if the client is not 24 hex digits.
    pub fn mint(&self, client: &str, days: u32) -> Option<String> {
        let client_id = ClientId::from_verified_claim(client)?.to_string();
        let exp = clock::now().date_time().timestamp_millis() / 1000 + i64::from(days) * 86_400;
        let claims = json!({"clientId": client_id, "exp": exp});
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).ok()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

/// The token of an `Authorization` header. The scheme's name has no case (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
