//! JSON Web Tokens made by hand: good ones, and any bad one that a test can think of.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The `JWT_SECRET` of every server that the harness starts.
pub const TEST_SECRET: &str = "a-secret-for-tests-only-0123456789abcdef";

/// A good token for this client, valid for an hour.
pub fn token(client_hex: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs();
    let claims = json!({ "clientId": client_hex, "iat": now, "exp": now + 3600 });
    sign(claims, TEST_SECRET.as_bytes(), json!({ "alg": "HS256", "typ": "JWT" }))
}

/// A token with these claims and this header, signed with HMAC-SHA256 whatever the header says.
pub fn sign(claims: Value, secret: &[u8], header: Value) -> String {
    sign_with(claims, header, |signed| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
        mac.update(signed);
        mac.finalize().into_bytes().to_vec()
    })
}

/// A token with these claims and this header, and the signature that a function makes of both.
pub fn sign_with(claims: Value, header: Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", base64url(&signature))
}

/// This many random bytes as hex digits.
pub fn random_hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", random_bytes::<1>()[0])).collect()
}

/// Random bytes.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random numbers");
    bytes
}

/// Base64 with the URL alphabet and without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..=chunk.len() {
            text.push(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63].into());
        }
    }
    text
}
