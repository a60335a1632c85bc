//! `JWT_PUBLIC_KEY`: each kind of key verifies its own algorithm and nothing else.

use std::fs;
use std::process::{Command, Output};

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::issuer::{Issuer, key_file, show};
use crate::harness::{Engine, Phone, Server, Setup, TEST_SECRET, sign, token};

/// A server with this public key of `keys/` and no secret.
fn setup(name: &str) -> Setup {
    let path = key_file(&format!("{name}.pub.pem"));
    Setup::embedded().without("JWT_SECRET").env("JWT_PUBLIC_KEY", path.to_str().unwrap())
}

/// Nothing that a thief of the public key could make is a token.
fn assert_attacks_fail(phone: &Phone, issuer: &Issuer, name: &str) {
    let pem = fs::read(key_file(&format!("{name}.pub.pem"))).unwrap();
    let claims = || json!({"clientId": phone.client, "exp": 4_102_444_800_u64});
    let trimmed = String::from_utf8(pem.clone()).unwrap().trim().to_owned();
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).unwrap();
    // The text, its DER, and what each kind of key ends with.
    let parts = [0, 12, 24, 26, 27].map(|start| &der[start..]);
    for secret in [&pem[..], trimmed.as_bytes(), b"", TEST_SECRET.as_bytes()].into_iter().chain(parts) {
        for algorithm in ["HS256", issuer.algorithm(), "none"] {
            let forged = sign(claims(), secret, json!({"alg": algorithm, "typ": "JWT"}));
            show(phone, &forged).expect_error(401, "unauthorized");
        }
    }
    for algorithm in ["none", "HS256", "HS512", "RS384", "PS256", "ES384", "RS256", "ES256", "EdDSA"] {
        let token = issuer.token_with(&phone.client, json!({}), json!({"alg": algorithm}));
        let status = if algorithm == issuer.algorithm() { 200 } else { 401 };
        assert_eq!(show(phone, &token).status, status, "{name} as {algorithm}");
    }
    let token = issuer.token(&phone.client);
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for broken in [unsigned.to_owned(), format!("{unsigned}."), format!("{token}A"), format!("{unsigned}.AAAA")] {
        show(phone, &broken).expect_error(401, "unauthorized");
    }
}

#[test]
fn each_kind_of_key_verifies_its_own_algorithm_alone() {
    for (name, issuer) in [("rsa", Issuer::rsa()), ("p256", Issuer::p256()), ("ed25519", Issuer::ed25519())] {
        let server = Server::start(&setup(name));
        let phone = Phone::new(&server);
        show(&phone, &issuer.token(&phone.client)).expect_ok();
        // An issuer may name its key, which is here without a name.
        let named = issuer.token_with(&phone.client, json!({}), json!({"kid": "2025-01"}));
        show(&phone, &named).expect_ok();
        for extension in ["b64", "exp", "anything"] {
            let critical = issuer.token_with(&phone.client, json!({}), json!({"crit": [extension], extension: true}));
            show(&phone, &critical).expect_error(401, "unauthorized");
        }
        show(&phone, &Issuer::fresh().token(&phone.client)).expect_error(401, "unauthorized");
        assert_attacks_fail(&phone, &issuer, name);
    }
}

#[test]
fn a_key_may_stand_in_the_variable_itself_beside_a_secret() {
    let pem = fs::read_to_string(key_file("ed25519.pub.pem")).unwrap();
    for text in [pem.clone(), pem.trim().replace('\n', "\\n")] {
        let server = Server::start(&Setup::embedded().env("JWT_PUBLIC_KEY", text));
        let phone = Phone::new(&server);
        phone.pull().expect_ok();
        show(&phone, &Issuer::ed25519().token(&phone.client)).expect_ok();
        show(&phone, &Issuer::p256().token(&phone.client)).expect_error(401, "unauthorized");
    }
}

#[test]
fn a_database_needs_no_secret_beside_a_key() {
    let path = key_file("p256.pub.pem");
    let setup = Setup::on(Engine::ReplicaSet).without("JWT_SECRET");
    let server = Server::start_ready(&setup.env("JWT_PUBLIC_KEY", path.to_str().unwrap()));
    let phone = Phone::new(&server);
    show(&phone, &Issuer::p256().token(&phone.client)).expect_ok();
}

#[test]
fn issuer_and_audience_are_required_once_they_are_set() {
    let set = setup("p256").env("JWT_ISSUER", "https://id.example/").env("JWT_AUDIENCE", "sync");
    let server = Server::start(&set);
    let phone = Phone::new(&server);
    let issuer = Issuer::p256();
    let shown = |claims| show(&phone, &issuer.token_with(&phone.client, claims, json!({}))).status;
    assert_eq!(shown(json!({"iss": "https://id.example/", "aud": "sync"})), 200);
    assert_eq!(shown(json!({"iss": "https://id.example/", "aud": ["other", "sync"]})), 200);
    for claims in [
        json!({}),
        json!({"iss": "https://id.example/"}),
        json!({"aud": "sync"}),
        json!({"iss": "https://id.example", "aud": "sync"}),
        json!({"iss": "https://evil.example/", "aud": "sync"}),
        json!({"iss": "https://id.example/", "aud": "syncs"}),
        json!({"iss": "https://id.example/", "aud": []}),
        json!({"iss": 1, "aud": "sync"}),
        json!({"iss": ["https://id.example/"], "aud": "sync"}),
        json!({"iss": ["https://evil.example/", "https://id.example/"], "aud": "sync"}),
    ] {
        assert_eq!(shown(claims.clone()), 401, "{claims}");
    }
}

#[test]
fn a_key_that_cannot_be_used_stops_the_start_with_one_line() {
    for (name, why) in [
        ("rsa-1024.pub.pem", "2048 to 8192 bits"),
        ("p384.pub.pem", "RSA, P-256 or Ed25519"),
        ("secp256k1.pub.pem", "RSA, P-256 or Ed25519"),
        ("ed448.pub.pem", "RSA, P-256 or Ed25519"),
        ("certificate.pem", "is a certificate"),
        ("rsa.pem", "is a private key"),
        ("README.md", "no public key"),
        ("nothing.pem", "nor a file"),
    ] {
        let path = key_file(name);
        let refusal = Server::refused(&Setup::embedded().env("JWT_PUBLIC_KEY", path.to_str().unwrap()));
        assert!(refusal.contains("JWT_PUBLIC_KEY ") && refusal.contains(why), "{name}: {refusal}");
        assert_eq!(refusal.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{name}: {refusal}");
    }
    let two = ["p256", "rsa"].map(|name| fs::read_to_string(key_file(&format!("{name}.pub.pem"))).unwrap()).concat();
    let refusal = Server::refused(&Setup::embedded().env("JWT_PUBLIC_KEY", two));
    assert!(refusal.contains("JWT_PUBLIC_KEY holds more than one key"), "{refusal}");
    let private = fs::read_to_string(key_file("p256.pem")).unwrap();
    let refusal = Server::refused(&Setup::embedded().env("JWT_PUBLIC_KEY", private.as_str()));
    let secret = private.lines().nth(1).unwrap();
    assert!(refusal.contains("is a private key") && !refusal.contains(&secret[..16]), "{refusal}");
}

#[test]
fn a_token_cannot_be_minted_with_a_public_key() {
    let path = key_file("rsa.pub.pem");
    let run = |settings: &[(&str, &str)]| -> Output {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_viveka-sync"));
        program.args(["token", "--client", "64b000000000000000000001"]).env_clear();
        program.current_dir(directory.path()).envs(settings.iter().copied()).output().unwrap()
    };
    let public = ("JWT_PUBLIC_KEY", path.to_str().unwrap());
    let refused = run(&[public]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{error}");
    assert!(error.contains("no token can be minted without JWT_SECRET") && error.lines().count() == 1, "{error}");

    let minted = run(&[public, ("JWT_SECRET", TEST_SECRET), ("JWT_ISSUER", "me"), ("JWT_AUDIENCE", "you")]);
    let minted = String::from_utf8(minted.stdout).unwrap();
    let server = Server::start(&Setup::embedded().env("JWT_ISSUER", "me").env("JWT_AUDIENCE", "you"));
    let phone = Phone::new(&server);
    show(&phone, minted.trim()).expect_ok();
    show(&phone, &token(&phone.client)).expect_error(401, "unauthorized");
}
