//! Starting and stopping: settings, secrets, the lock, the development start, two servers on one database.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Engine, Mongod, Phone, Request, Server, Setup, TEST_SECRET, Topology};

/// Runs the program with nothing but these settings.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_viveka-sync"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .current_dir(directory.path())
        .output();
    program.unwrap()
}

/// The file of this name among the keys of the tests.
fn key_file(name: &str) -> String {
    format!("{}/tests/it/access/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// And `config` says the same, word for word, before anybody starts a server with it.
#[test]
fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    let long = TEST_SECRET;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (no_set, empty_set) = (file("no-set", "and-secret"), file("empty-set", r#"{"keys": []}"#));
    file("jwt-secret", "and-secret");
    let data = directory.path().to_str().unwrap();
    let (private, unknown) = (key_file("rsa.pem"), key_file("ed448.pub.pem"));
    let no_file = format!("mongodb://user:pass-and-secret@host/?tls=true&tlsCAFile={data}/none");
    for (settings, named) in [
        (&[("PORT", "http")][..], "port"),
        (&[("PORT", "70000")], "port"),
        (&[("HOST", "nowhere")], "host"),
        (&[("REQUIRE_IDEMPOTENCY_KEY", "perhaps")], "require-idempotency-key"),
        (&[("MAX_BODY_BYTES", "-1")], "max-body-bytes"),
        (&[("MAX_OPERATIONS", "0")], "max-operations"),
        (&[("MAX_REQUESTS", "1")], "max-requests"),
        (&[("MAX_CONCURRENT_BATCHES", "0")], "max-concurrent-batches"),
        (&[("MEMORY_BUDGET_BYTES", "1000")], "memory-budget-bytes"),
        (&[("MAX_CONNECTIONS", "0")], "max-connections"),
        (&[("LOG_FORMAT", "xml")], "log-format"),
        (&[("LOG", "a=b=c")], "LOG"),
        (&[("JWT_SECRET", "short-and-secret")], "JWT_SECRET"),
        (&[("HOST", "0.0.0.0")], "JWT_SECRET"),
        (&[("MONGO_URL", "mongodb://127.0.0.1:1")], "JWT_SECRET"),
        (&[("MONGO_URL", "postgres://user:pass-and-secret@host"), ("JWT_SECRET", long)], "MONGO_URL"),
        (&[("MONGO_URL", "mongodb://user:pass-and-secret@:port"), ("JWT_SECRET", long)], "MONGO_URL"),
        (&[("DATA_DIR", "/dev/null/data")], "DATA_DIR"),
        (&[("RATE_LIMIT_BURST", "5")], "RATE_LIMIT_PER_MINUTE"),
        (&[("RATE_LIMIT_PER_MINUTE", "many")], "rate-limit-per-minute"),
        (&[("SESSION_CACHE_SECONDS", "0")], "session-cache-seconds"),
        (&[("SESSION_CACHE_SECONDS", "86401")], "session-cache-seconds"),
        (&[("JWKS_REFRESH_SECONDS", "0")], "jwks-refresh-seconds"),
        (&[("JWKS_REFRESH_SECONDS", "18446744073709551615")], "jwks-refresh-seconds"),
        (&[("BODY_SECONDS", "0")], "body-seconds"),
        (&[("BODY_SECONDS", "86401")], "body-seconds"),
        (&[("BODY_PAUSE_SECONDS", "0")], "body-pause-seconds"),
        (&[("BODY_PAUSE_SECONDS", "18446744073709551615")], "body-pause-seconds"),
        (&[("RATE_LIMIT_PER_MINUTE", "1"), ("RATE_LIMIT_BURST", "100001")], "rate-limit-burst"),
        (&[("JWT_PREVIOUS_SECRETS", long)], "JWT_PREVIOUS_SECRETS"),
        (&[("CORS_ORIGINS", "https://x:443")], "cors-origins"),
        (&[("CORS_ORIGINS", "https://y, http://x:80")], "cors-origins"),
        (&[("CORS_ORIGINS", "https://x:port")], "cors-origins"),
        (&[("METRICS_PORT", "70000")], "metrics-port"),
        (&[("PORT", "9000"), ("METRICS_PORT", "9000")], "METRICS_PORT and PORT"),
        (&[("MONGO_DB_NAME", "a.b")], "mongo-db-name"),
        (&[("MONGO_URL", "mongodb://user:pass-and-secret@host/a%7Cb"), ("JWT_SECRET", long)], "must not hold '|'"),
        (&[("LOG", "===[")], "LOG"),
        (&[("DATA_DIR", data)], "holds no secret"),
        (&[("MONGO_URL", &no_file), ("JWT_SECRET", long)], "tlsCAFile"),
        (&[("JWT_PREVIOUS_SECRETS", "and-secret"), ("JWT_SECRET", long)], "at least 32 bytes"),
        (&[("JWT_PUBLIC_KEY", "/dev/null/key.pem")], "neither a PEM nor a file"),
        (&[("JWT_PUBLIC_KEY", &private)], "is a private key"),
        (&[("JWT_PUBLIC_KEY", &unknown)], "must be an RSA, P-256 or Ed25519 key"),
        (
            &[("JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\\nand-secret\\n-----END PUBLIC KEY-----")],
            "is no public key",
        ),
        (&[("JWKS_FILE", "/dev/null/keys.json")], "JWKS_FILE cannot be used"),
        (&[("JWKS_FILE", &no_set), ("JWT_SECRET", long)], "no JSON Web Key Set"),
        (&[("JWKS_FILE", &empty_set)], "no key that can be used"),
        (&[("JWKS_FILE", &empty_set), ("JWKS_URL", "https://id.example/keys")], "cannot both be set"),
        (&[("JWKS_URL", "http://id.example/keys")], "must be https"),
        (&[("JWKS_URL", "https://user:pass-and-secret@id.example/keys")], "user or password"),
    ] {
        let output = run(&[], settings);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{settings:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{settings:?}: {error}");
        assert!(error.contains(named), "{settings:?}: {error}");
        assert!(settings.iter().any(|(name, _)| error.contains(name)), "{settings:?}: {error}");
        assert!(!error.contains("and-secret"), "{settings:?}: {error}");

        let told = run(&["config"], settings);
        assert_eq!(String::from_utf8(told.stderr).unwrap(), error, "{settings:?}");
        // What cannot be read cannot be shown either.
        assert_eq!(told.status.code(), Some(if told.stdout.is_empty() { 2 } else { 1 }), "{settings:?}");
        assert!(!String::from_utf8(told.stdout).unwrap().contains("and-secret"), "{settings:?}");
    }
}

#[test]
fn a_good_setting_is_told_and_nothing_is_made() {
    let keys = tempfile::tempdir().unwrap();
    let set = keys.path().join("keys.json");
    std::fs::write(&set, r#"{"keys": [{"kty": "none"}, ED]}"#.replace("ED", ED25519_JWK)).unwrap();
    let data = keys.path().join("data");
    let data_dir = ("DATA_DIR", data.to_str().unwrap());
    for (settings, warned) in [
        (&[][..], ""),
        (&[("JWT_SECRET", TEST_SECRET), ("MONGO_URL", "mongodb://127.0.0.1:1/shop")], ""),
        (&[("JWT_PUBLIC_KEY", &key_file("p256.pub.pem"))], ""),
        (&[("JWKS_FILE", set.to_str().unwrap())], "a token key is left out"),
        (&[("JWKS_URL", "http://127.0.0.1:1/keys")], "without JWT_AUDIENCE"),
    ] {
        let told = run(&["config"], &[settings, &[data_dir]].concat());
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!((told.status.code(), said.lines().count()), (Some(0), usize::from(!warned.is_empty())), "{said}");
        assert!(said.contains(warned), "{settings:?}: {said}");
        assert!(!data.exists(), "{settings:?}");
    }
}

/// The key of RFC 8037, A.2.
const ED25519_JWK: &str = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

#[test]
fn a_port_of_metrics_that_is_set_to_nothing_is_not_set() {
    let server = Server::start(&Setup::embedded().env("METRICS_PORT", ""));
    Phone::new(&server).pull().expect_ok();
    assert!(!server.log().iter().any(|line| line.contains("metrics can be read")));
}

#[test]
fn what_is_allowed_and_may_not_be_meant_is_warned_of() {
    let keys = ("JWKS_URL", "http://127.0.0.1:1/keys");
    for (settings, warned) in [
        (&[keys][..], "without JWT_AUDIENCE"),
        (&[("SESSION_CHECK", "true")], "SESSION_CHECK with the embedded engine"),
        (&[keys, ("JWT_AUDIENCE", "sync")], ""),
    ] {
        let setup = settings.iter().fold(Setup::embedded(), |setup, (name, value)| setup.env(name, *value));
        let server = Server::start(&setup);
        server.wait_for_log(|line| line.contains("listening"));
        let warnings: Vec<_> = ["JWT_AUDIENCE", "SESSION_CHECK"]
            .into_iter()
            .filter(|name| server.log().iter().any(|line| line.contains("WARN") && line.contains(name)))
            .collect();
        assert_eq!(warnings.len(), usize::from(!warned.is_empty()), "{settings:?}: {warnings:?}");
        assert!(server.log().iter().any(|line| line.contains(warned)), "{settings:?}: {warned}");
    }
}

#[test]
fn help_shows_no_secrets() {
    let settings = [("JWT_SECRET", "keep-this-secret"), ("MONGO_URL", "mongodb://u:keep-this-secret@h")];
    let output = run(&["--help"], &settings);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && help.contains("JWT_SECRET") && help.contains("--max-operations"), "{help}");
    assert!(!help.contains("keep-this-secret"), "{help}");
}

#[test]
fn a_second_process_on_the_same_file_says_so_and_stops() {
    let setup = Setup::embedded();
    let server = Server::start(&setup);
    let refusal = Server::refused(&setup);
    assert!(refusal.contains("in use by another process"), "{refusal}");
    Phone::new(&server).pull().expect_ok();
}

#[test]
fn a_taken_port_stops_the_start() {
    let server = Server::start(&Setup::embedded());
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let refusal = Server::refused(&Setup::embedded().env("PORT", port));
    assert!(refusal.contains("cannot listen on 127.0.0.1:"), "{refusal}");
}

#[test]
fn a_development_start_prints_a_line_that_sends_a_whole_day() {
    let server = Server::start(&Setup::embedded().without("JWT_SECRET"));
    let logged = server.wait_for_log(|line| line.contains("curl "));
    let logged: Value = serde_json::from_str(&logged).unwrap();
    let line = logged["fields"]["message"].as_str().unwrap().lines().find(|line| line.starts_with("curl ")).unwrap();
    let between = |from: &str, to: &str| line.split_once(from).unwrap().1.split_once(to).unwrap().0;

    assert!(line.contains(&format!("{}/api/sync", server.url())), "{line}");
    let day = Request::sync().header("Authorization", between("Authorization: ", "'")).body(between("-d '", "'"));
    let answer = Phone::new(&server).send(day).expect_ok();
    let summary = &answer["summary"];
    assert_eq!(
        (&summary["itemsCreated"], &summary["invoicesCreated"], &summary["paymentsCreated"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(answer["data"]["invoices"][0]["isFinalized"], json!(true));
}

#[test]
fn the_token_command_mints_a_token_that_the_server_takes() {
    let server = Server::start(&Setup::embedded());
    let client = "0123456789abcdef01234567";
    let output = run(&["token", "--client", client], &[("JWT_SECRET", TEST_SECRET)]);
    let token = String::from_utf8(output.stdout).unwrap();
    let ready = Request::new("POST", "/api/readytosync").header("Authorization", &format!("Bearer {}", token.trim()));
    assert_eq!(Phone::new(&server).send(ready).expect_ok()["clientId"], json!(client));

    let refused = run(&["token", "--client", "somebody"], &[("JWT_SECRET", TEST_SECRET)]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
}

#[test]
fn two_servers_on_one_replica_set_commit_a_key_once() {
    let setup = Setup::on(Engine::ReplicaSet);
    let servers = [Server::start(&setup), Server::start(&setup)];
    let first = Phone::new(&servers[0]);
    let phones = [Phone::of(&servers[1], &first.client), first];
    let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}});
    let answers: Vec<_> = std::thread::scope(|scope| {
        let (phones, batch) = (&phones, &batch);
        let send = |number: usize| scope.spawn(move || phones[number % 2].sync_with_key(batch, "key"));
        let sent: Vec<_> = (0..20).map(send).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let replayed = answers.iter().filter(|answer| answer.header("Idempotency-Replayed").is_some()).count();
    assert_eq!(replayed, 19);
    assert!(answers.iter().all(|answer| answer.bytes == answers[0].bytes));
    assert_eq!(phones[0].pull().expect_ok()["revision"], json!(1));
}

#[test]
fn a_lone_mongod_is_warned_of_and_told_in_health() {
    let server = Server::start(&Setup::at(Mongod::shared(Topology::Lone)));
    server.wait_for_log(|line| line.contains("WARN") && line.contains("lone mongod"));
    let health = Phone::new(&server).send(Request::new("GET", "/api/health").without_token()).expect_ok();
    assert_eq!((&health["engine"], &health["transactional"]), (&json!("mongodb"), &json!(false)));
}

#[test]
#[cfg(target_os = "linux")]
fn no_huge_pages_are_made_of_its_memory() {
    let server = Server::start(&Setup::embedded());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
    // Kernels before 5.0 do not tell.
    assert!(line.is_none_or(|line| line.trim_end().ends_with('0')), "{line:?}");
}

#[test]
fn no_secret_reaches_the_log() {
    let setup = Setup::embedded().env("LOG", "trace");
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    phone.sync_with_key(&json!({"item": {"create": [{"name": "private name", "price": 1}]}}), "key").expect_ok();
    server.wait_for_log(|line| line.contains("answered") && line.contains("\"key\""));
    let log = server.log().join("\n");
    for secret in [TEST_SECRET, &phone.token, "private name"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
