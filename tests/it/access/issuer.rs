//! A login service that signs tokens with a private key.

use std::path::PathBuf;
use std::time::SystemTime;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::harness::{Answer, Phone, Request, base64url, sign_with};

/// A private key, and what its tokens and its published half call it.
pub struct Issuer {
    pair: Pair,
    id: Option<String>,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    /// With the RSA key of `keys/`.
    pub fn rsa() -> Self {
        Self::of(Pair::Rsa(RsaKeyPair::from_pkcs8(&private("rsa")).expect("an RSA key")))
    }

    /// With the P-256 key of `keys/`.
    pub fn p256() -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private("p256"), &SystemRandom::new());
        Self::of(Pair::P256(pair.expect("a P-256 key")))
    }

    /// With the Ed25519 key of `keys/`.
    pub fn ed25519() -> Self {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private("ed25519"));
        Self::of(Pair::Ed25519(pair.expect("an Ed25519 key")))
    }

    /// With a new Ed25519 key.
    pub fn fresh() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a new key");
        Self::of(Pair::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("an Ed25519 key")))
    }

    /// The same under another id.
    pub fn called(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    fn of(pair: Pair) -> Self {
        Self { pair, id: None }
    }

    /// Its algorithm, as tokens name it.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A good token for this client.
    pub fn token(&self, client: &str) -> String {
        self.token_with(client, json!({}), json!({}))
    }

    /// A good token but for these members of its claims and of its header; `null` takes one out.
    pub fn token_with(&self, client: &str, claims: Value, header: Value) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let good = json!({"clientId": client, "exp": now + 3600});
        let head = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id});
        sign_with(changed(good, claims), changed(head, header), |signed| self.sign(signed))
    }

    /// The public half, as a key set holds it.
    pub fn jwk(&self) -> Value {
        let key = match &self.pair {
            Pair::Rsa(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)})
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
        };
        changed(key, json!({"kid": self.id, "use": "sig", "alg": self.algorithm()}))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A key set of these keys.
pub fn key_set<'a>(issuers: impl IntoIterator<Item = &'a Issuer>) -> String {
    json!({"keys": issuers.into_iter().map(Issuer::jwk).collect::<Vec<_>>()}).to_string()
}

/// The path of a file in `keys/`.
pub fn key_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/access/keys", name].iter().collect()
}

/// What a phone hears that shows this token.
pub fn show(phone: &Phone, token: &str) -> Answer {
    phone.send(Request::sync().header("Authorization", &format!("Bearer {token}")))
}

fn private(name: &str) -> Vec<u8> {
    let key = PrivatePkcs8KeyDer::from_pem_file(key_file(&format!("{name}.pem")));
    key.expect("a private key").secret_pkcs8_der().to_vec()
}

fn changed(mut value: Value, changes: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    value
}
