//! `JWKS_FILE` and `JWKS_URL`: keys that an issuer changes while the server runs.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::issuer::{Issuer, key_file, key_set, show};
use super::key_server::KeyServer;
use crate::behaviour::errors::assert_error;
use crate::harness::{Phone, Request, Server, Setup, TEST_SECRET, base64url, eventually, sign, token};

/// How long a change may take to be seen.
const SOON: Duration = Duration::from_secs(20);

fn at(keys: &KeyServer) -> Setup {
    Setup::embedded().without("JWT_SECRET").env("JWKS_URL", keys.url())
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (path, aside) = (directory.path().join("keys.json"), directory.path().join("new.json"));
    let [old, new] = ["old", "new"].map(|id| Issuer::fresh().called(id));
    fs::write(&path, key_set([&old])).unwrap();
    let server = Server::start(&Setup::embedded().env("JWKS_FILE", path.to_str().unwrap()));
    let phone = Phone::new(&server);
    let status = |issuer: &Issuer| show(&phone, &issuer.token(&phone.client)).status;
    assert_eq!((status(&old), status(&new), phone.pull().status), (200, 401, 200));

    fs::write(&aside, key_set([&old, &new])).unwrap();
    fs::rename(&aside, &path).unwrap();
    eventually("the new key", SOON, || (status(&new) == 200).then_some(()));
    assert_eq!(status(&old), 200);

    fs::write(&path, key_set([&new])).unwrap();
    eventually("the end of the old key", SOON, || (status(&old) == 401).then_some(()));
    assert_eq!(status(&new), 200);

    fs::write(&path, "{").unwrap();
    server.wait_for_log(|line| line.contains("the last good ones stay in force"));
    assert_eq!(status(&new), 200);
    // Whether the issuer has published it meanwhile cannot be told, so nobody is logged out.
    assert_eq!(status(&old), 503);
    fs::remove_file(&path).unwrap();
    assert_eq!(status(&new), 200);
    fs::write(&path, key_set([&new])).unwrap();
    eventually("the file is good again", SOON, || (status(&old) == 401).then_some(()));
}

#[test]
fn a_key_that_is_new_at_an_address_is_good_at_its_first_token() {
    let [old, new, never] = ["old", "new", "never"].map(|id| Issuer::fresh().called(id));
    let keys = KeyServer::start(&key_set([&old]));
    let server = Server::start(&at(&keys).env("JWKS_REFRESH_SECONDS", "1"));
    let phone = Phone::new(&server);
    let status = |issuer: &Issuer| show(&phone, &issuer.token(&phone.client)).status;
    assert_eq!(status(&old), 200);
    // Nobody shares a secret here.
    show(&phone, &token(&phone.client)).expect_error(401, "unauthorized");

    keys.publish(&key_set([&new]));
    eventually("the new key, and the end of the old one", SOON, || {
        (status(&new) == 200 && status(&old) == 401).then_some(())
    });
    assert_eq!(status(&never), 401);
}

#[test]
fn unknown_keys_have_the_set_fetched_but_not_each_time() {
    let [known, unknown] = ["known", "unknown"].map(|id| Issuer::fresh().called(id));
    let keys = KeyServer::start(&key_set([&known]));
    let began = Instant::now();
    let server = Server::start(&at(&keys));
    let phone = Phone::new(&server);
    let status = |issuer: &Issuer| show(&phone, &issuer.token(&phone.client)).status;
    let status = &status;
    // After each reading there is a rest of five seconds.
    let most = || 1 + (began.elapsed().as_secs() / 5) as u32;
    let without_id = Issuer::fresh();
    std::thread::scope(|scope| {
        for number in 0..50 {
            let unknown = if number % 2 == 0 { &unknown } else { &without_id };
            scope.spawn(move || assert_eq!(status(unknown), 401));
        }
    });
    assert!(keys.asked() <= most(), "{} times", keys.asked());
    keys.publish(&key_set([&known, &unknown]));
    eventually("the set is fetched for an unknown key, long before its time", SOON, || {
        (status(&unknown) == 200).then_some(())
    });
    assert!((2..=most()).contains(&keys.asked()), "{} times", keys.asked());
}

#[test]
fn a_key_that_was_published_before_its_token_is_never_refused() {
    let [old, new] = ["old", "new"].map(|id| Issuer::fresh().called(id));
    let nameless = Issuer::fresh();
    let keys = KeyServer::start(&key_set([&old]));
    let server = Server::start(&at(&keys));
    let phone = Phone::new(&server);
    let began = Instant::now();
    let shown = |issuer: &Issuer, claims| show(&phone, &issuer.token_with(&phone.client, claims, json!({}))).status;
    // Right after a reading, and right after the next one.
    keys.publish(&key_set([&old, &new]));
    assert_eq!(shown(&new, json!({})), 200);
    keys.publish(&key_set([&old, &nameless]));
    assert_eq!(shown(&nameless, json!({})), 200);
    assert!(keys.asked() <= 2 + (began.elapsed().as_secs() / 5) as u32, "{} times", keys.asked());
    // What a known key says is final, and nobody waits or asks for it.
    let asked = keys.asked();
    for issuer in [&old, &nameless] {
        assert_eq!(shown(issuer, json!({"exp": 1})), 401);
    }
    assert_eq!(keys.asked(), asked);
}

#[test]
fn the_last_good_set_stays_in_force() {
    let [known, unknown] = ["known", "unknown"].map(|id| Issuer::fresh().called(id));
    let keys = KeyServer::start(&key_set([&known]));
    let server = Server::start(&at(&keys).env("JWKS_REFRESH_SECONDS", "1"));
    let phone = Phone::new(&server);
    let status = |issuer: &Issuer| show(&phone, &issuer.token(&phone.client)).status;
    assert_eq!((status(&known), status(&unknown)), (200, 401));
    let both = key_set([&known, &unknown]);
    for (answer, body) in [
        ("500 Oops", both.clone()),
        ("302 Found", both.clone()),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", json!({"keys": []}).to_string()),
        ("200 OK", format!("{}{}", " ".repeat(300 << 10), both)),
    ] {
        keys.answer(answer, &body);
        eventually("the failure is noticed", SOON, || (status(&unknown) == 503).then_some(()));
        assert_eq!(status(&known), 200, "{answer}");
        keys.publish(&key_set([&known]));
        eventually("the end of the failure is noticed", SOON, || (status(&unknown) == 401).then_some(()));
    }
    let url = keys.url();
    drop(keys);
    eventually("that nobody is there is noticed", SOON, || (status(&unknown) == 503).then_some(()));
    let refused = show(&phone, &unknown.token(&phone.client));
    refused.expect_error(503, "keys_unavailable");
    assert!(refused.header("Retry-After").is_some());
    assert_eq!(status(&known), 200);
    assert!(!server.log().join("\n").contains(&url), "the address may hold a key of its own");
}

#[test]
fn an_issuer_that_is_away_at_the_start_logs_nobody_out() {
    let issuer = Issuer::rsa().called("one");
    let keys = KeyServer::start("");
    keys.answer("503 Away", "");
    let server = Server::start(&at(&keys).env("JWKS_REFRESH_SECONDS", "1"));
    let phone = Phone::new(&server);
    let bearer = format!("Bearer {}", issuer.token(&phone.client));
    assert_error(&phone, Request::sync().header("Authorization", &bearer), "keys_unavailable");
    show(&phone, "garbage").expect_error(401, "unauthorized");
    show(&phone, &token(&phone.client)).expect_error(401, "unauthorized");
    keys.publish(&key_set([&issuer]));
    eventually("the keys are there", SOON, || (show(&phone, &issuer.token(&phone.client)).status == 200).then_some(()));
}

#[test]
fn an_address_is_believed_by_its_certificate() {
    let issuer = Issuer::ed25519().called("one");
    let keys = KeyServer::start_https(&key_set([&issuer]));
    for (roots, status) in [("authority.pem", 200), ("certificate.pem", 503)] {
        let server = Server::start(&at(&keys).env("SSL_CERT_FILE", key_file(roots).to_str().unwrap()));
        let phone = Phone::new(&server);
        assert_eq!(show(&phone, &issuer.token(&phone.client)).status, status, "with {roots}");
    }
    let refusal = Server::refused(&at(&keys).env("SSL_CERT_FILE", "/dev/null"));
    assert!(refusal.contains("JWKS_URL cannot be used"), "{refusal}");
    // On the loopback address there may be no roots to trust.
    let keys = KeyServer::start(&key_set([&issuer]));
    let server = Server::start(&at(&keys).env("SSL_CERT_FILE", "/dev/null"));
    let phone = Phone::new(&server);
    show(&phone, &issuer.token(&phone.client)).expect_ok();
}

#[test]
fn keys_of_this_machine_come_through_no_proxy() {
    let [good, forged] = ["good", "forged"].map(|id| Issuer::fresh().called(id));
    let (keys, proxy) = (KeyServer::start(&key_set([&good])), KeyServer::start(&key_set([&forged])));
    let server = Server::start(&at(&keys).env("HTTP_PROXY", proxy.url()).env("http_proxy", proxy.url()));
    let phone = Phone::new(&server);
    show(&phone, &good.token(&phone.client)).expect_ok();
    assert_eq!((keys.asked(), proxy.asked()), (1, 0));
}

#[test]
fn a_set_may_hold_what_cannot_be_used() {
    let (rsa, p256, ed25519) = (Issuer::rsa().called("twin"), Issuer::p256().called("twin"), Issuer::ed25519());
    let [enc, wrong, later] = ["enc", "wrong", "later"].map(|id| Issuer::fresh().called(id));
    let with = |issuer: &Issuer, name: &str, value: Value| {
        let mut key = issuer.jwk();
        key[name] = value;
        key
    };
    let oct = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64url(TEST_SECRET.as_bytes())});
    let keys = json!([
        with(&enc, "use", json!("enc")),
        with(&wrong, "alg", json!("ES256")),
        with(&later, "key_ops", json!(["sign"])),
        oct,
        {"kty": "RSA", "kid": "small", "n": base64url(&[200; 128]), "e": "AQAB"},
        {"kty": "EC", "kid": "short", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "kid": "p384", "crv": "P-384", "x": base64url(&[1; 48]), "y": base64url(&[1; 48])},
        {"kty": "lattice", "kid": "future"},
        {"no": "key"},
        7,
        rsa.jwk(),
        p256.jwk(),
        ed25519.jwk(),
    ]);
    let published = KeyServer::start(&json!({"keys": keys, "more": true}).to_string());
    let server = Server::start(&at(&published).env("JWKS_REFRESH_SECONDS", "1"));
    let phone = Phone::new(&server);
    let status = |issuer: &Issuer| show(&phone, &issuer.token(&phone.client)).status;
    // Two keys of one id and two types are two keys.
    assert_eq!((status(&rsa), status(&p256), status(&ed25519)), (200, 200, 200));
    assert_eq!((status(&enc), status(&wrong), status(&later)), (401, 401, 401));
    for id in ["oct", "enc", "small", "short", "p384", "future"] {
        server.wait_for_log(|line| line.contains("is left out") && line.contains(&format!("\\\"{id}\\\"")));
    }
    let claims = || json!({"clientId": phone.client, "exp": 4_102_444_800_u64});
    for kid in ["oct", "twin", ""] {
        let header = json!({"alg": "HS256", "kid": kid});
        show(&phone, &sign(claims(), TEST_SECRET.as_bytes(), header)).expect_error(401, "unauthorized");
    }
    let under =
        |issuer: &Issuer, kid: Value| show(&phone, &issuer.token_with(&phone.client, json!({}), json!({"kid": kid})));
    // Of another type, of another issuer, and of none.
    under(&ed25519, json!("twin")).expect_ok();
    under(&rsa, json!("future")).expect_error(401, "unauthorized");
    under(&Issuer::fresh(), json!("twin")).expect_error(401, "unauthorized");
    under(&rsa, json!(null)).expect_ok();
    under(&Issuer::fresh(), json!(null)).expect_error(401, "unauthorized");
}

#[test]
fn two_keys_of_one_id_and_one_type_are_both_good() {
    let [one, other] = [Issuer::fresh(), Issuer::fresh()].map(|issuer| issuer.called("same"));
    let keys = KeyServer::start(&key_set([&one, &other]));
    let server = Server::start(&at(&keys));
    let phone = Phone::new(&server);
    for issuer in [&one, &other] {
        show(&phone, &issuer.token(&phone.client)).expect_ok();
    }
}

#[test]
fn a_place_that_keys_cannot_come_from_stops_the_start() {
    let path = key_file("README.md");
    for (name, value) in [
        ("JWKS_URL", "http://id.example/keys"),
        ("JWKS_URL", "keys"),
        ("JWKS_FILE", "/nowhere/keys.json"),
        ("JWKS_FILE", path.to_str().unwrap()),
    ] {
        let refusal = Server::refused(&Setup::embedded().env(name, value));
        assert!(refusal.contains(name), "{refusal}");
    }
    let both = Setup::embedded().env("JWKS_URL", "https://id.example/keys").env("JWKS_FILE", "keys.json");
    assert!(Server::refused(&both).contains("cannot both be set"));
}
