//! Keys that verify tokens. Each has its one algorithm, which follows from the key and never from a token, so that a
//! token cannot choose how it is verified.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header, Validation};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::Caller;
use super::claims::Claims;
use super::provider;

/// A key, and all that a token must be to be good by it.
pub(super) struct Key {
    decoding: DecodingKey,
    /// Its `algorithms` are the one of this key.
    validation: Validation,
    /// What an issuer calls it.
    id: Option<String>,
}

/// What tokens must say, whichever key they are signed with.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Their `iss`, if it matters.
    pub issuer: Option<String>,
    /// Their `aud`, or one of them, if it matters.
    pub audience: Option<String>,
}

/// Why a token is not good by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is signed with another key, which may be a good one.
    Key,
    /// It is good by no key: it is malformed, or it is signed with this one and has expired or says something wrong.
    Token,
}

/// Why a key cannot verify tokens, as the end of a sentence. It holds nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(&'static str);

impl Key {
    /// Of a secret that issuer and server share.
    pub fn hs256(secret: &str, rules: &Rules) -> Self {
        Self::new(Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes()), rules)
    }

    /// Of a public key as `openssl pkey -pubout` writes it (RFC 7468, 13).
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn from_pem(pem: &str, rules: &Rules) -> Result<Self, Unusable> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(Unusable("is a private key; give the public one, and keep this one from everybody"));
        }
        if pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(Unusable("is a certificate; give its public key (openssl x509 -pubkey -noout)"));
        }
        if pem.matches("-----BEGIN ").count() > 1 {
            return Err(Unusable("holds more than one key; give one, or all of them as a JWKS_FILE"));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| Unusable("is no public key as PEM (-----BEGIN PUBLIC KEY-----)"))?;
        if let Some(key) = der.strip_prefix(ED25519) {
            return Self::ed25519(DecodingKey::from_ed_der(key), rules);
        }
        if let Some(point) = der.strip_prefix(P256) {
            return Self::p256(DecodingKey::from_ec_der(point), rules);
        }
        let rsa = DecodingKey::from_rsa_pem(pem.as_bytes());
        Self::rsa(&rsa.map_err(|_| Unusable("must be an RSA, P-256 or Ed25519 key"))?, rules)
    }

    /// Of a member of a JSON Web Key Set (RFC 7517).
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn from_jwk(jwk: &Jwk, rules: &Rules) -> Result<Self, Unusable> {
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return Err(Unusable("is not for signatures (use)"));
        }
        if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return Err(Unusable("is not for verification (key_ops)"));
        }
        let decoding = || DecodingKey::from_jwk(jwk).map_err(|_| Unusable("is malformed"));
        let key = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Self::rsa(&decoding()?, rules),
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                Self::p256(decoding()?, rules)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Self::ed25519(decoding()?, rules)
            }
            // What is published is no secret.
            AlgorithmParameters::OctetKey(_) => Err(Unusable("is a secret (kty oct)")),
            _ => Err(Unusable("is of another type than RSA, P-256 or Ed25519 (kty, crv)")),
        }?;
        let named = match key.algorithm() {
            Algorithm::RS256 => KeyAlgorithm::RS256,
            Algorithm::ES256 => KeyAlgorithm::ES256,
            _ => KeyAlgorithm::EdDSA,
        };
        match common.key_algorithm.is_none_or(|algorithm| algorithm == named) {
            true => Ok(Self { id: common.key_id.clone(), ..key }),
            false => Err(Unusable("is for another algorithm (alg) than RS256, ES256 or EdDSA")),
        }
    }

    /// Whether a token with this header may be signed with it: of its algorithm, and of its id where both have one.
    pub fn fits(&self, header: &Header) -> bool {
        let same_id = match (&self.id, &header.kid) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        header.alg == self.algorithm() && same_id
    }

    /// Whether the header says that the token is signed with this key, by its id.
    pub fn is_named(&self, header: &Header) -> bool {
        self.id.is_some() && self.id == header.kid
    }

    /// Who shows a token.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn verify(&self, token: &str) -> Result<Caller, Wrong> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let data = data.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Wrong::Key,
            _ => Wrong::Token,
        })?;
        // The validation takes lists of issuers too.
        if self.validation.iss.is_some() && !data.claims.has_one_issuer() {
            return Err(Wrong::Token);
        }
        // No extension is understood here, and one that is critical must be (RFC 7515, 4.1.11).
        data.claims.caller().filter(|_| data.header.crit.is_none()).ok_or(Wrong::Token)
    }

    fn new(algorithm: Algorithm, decoding: DecodingKey, rules: &Rules) -> Self {
        provider::install();
        Self { decoding, validation: rules.validation(algorithm), id: None }
    }

    fn algorithm(&self) -> Algorithm {
        self.validation.algorithms[0]
    }

    fn ed25519(decoding: DecodingKey, rules: &Rules) -> Result<Self, Unusable> {
        let fits = decoding.try_get_as_bytes().is_ok_and(|key| key.len() == 32);
        let key = || Self::new(Algorithm::EdDSA, decoding, rules);
        fits.then(key).ok_or(Unusable("is malformed"))
    }

    /// Of a point that is not compressed.
    fn p256(decoding: DecodingKey, rules: &Rules) -> Result<Self, Unusable> {
        let fits = decoding.try_get_as_bytes().is_ok_and(|point| point.len() == 65 && point[0] == 4);
        let key = || Self::new(Algorithm::ES256, decoding, rules);
        fits.then(key).ok_or(Unusable("is malformed"))
    }

    fn rsa(decoding: &DecodingKey, rules: &Rules) -> Result<Self, Unusable> {
        const SIZE: Unusable = Unusable("must be an RSA key of 2048 to 8192 bits");
        let (n, e) = match decoding.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => (&n[..], &e[..]),
            DecodingKeyKind::SecretOrDer(der) => components(der).ok_or(SIZE)?,
        };
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let key = || Self::new(Algorithm::RS256, DecodingKey::from_rsa_raw_components(n, e), rules);
        (2048..=8192).contains(&bits).then(key).ok_or(SIZE)
    }
}

impl Rules {
    fn validation(&self, algorithm: Algorithm) -> Validation {
        // RFC 7519: `exp` is required and has a leeway of 60 s, and so has `nbf` if there is one. Tokens of existing
        // systems may carry an audience, which says nothing to a server that was not told its own.
        let mut validation = Validation::new(algorithm);
        validation.validate_nbf = true;
        validation.validate_aud = self.audience.is_some();
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }
}

/// How the DER of an Ed25519 public key begins, before its 32 bytes (RFC 8410, 4).
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// How the DER of a P-256 public key begins, before the 65 bytes of its point (RFC 5480, 2).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Modulus and exponent of an RSA public key in DER (RFC 8017, A.1.1), if it is large enough that all its lengths but
/// the exponent's take two bytes.
fn components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x30, 0x82, _, _, 0x02, 0x82, high, low, rest @ ..] = der else { return None };
    let (n, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
    let [0x02, length, e @ ..] = rest else { return None };
    (e.len() == usize::from(*length)).then_some((n, e))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
