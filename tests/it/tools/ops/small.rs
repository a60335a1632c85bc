//! Configuration, health, completions and manual pages, and that each command explains itself.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{Ran, program, run};
use crate::harness::{Mongod, Server, Setup, Topology, eventually};

const COMMANDS: [&str; 7] = ["check", "completions", "config", "export", "health", "import", "man"];
const ALL: [&str; 11] =
    ["check", "completions", "config", "export", "health", "import", "man", "replay", "serve", "storm", "token"];

fn setting(settings: &Value, name: &str) -> Value {
    let found = settings.as_array().unwrap().iter().find(|setting| setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not told"));
    json!([found["value"], found["source"]])
}

#[test]
fn the_configuration_is_told_with_where_it_comes_from() {
    let environment = [("PORT", "8080"), ("MAX_OPERATIONS", "7"), ("JWT_SECRET", "")];
    let settings = run(program(&["config", "--max-operations", "500", "--json"], &environment)).expect_json();
    assert_eq!(setting(&settings, "PORT"), json!(["8080", "environment"]));
    assert_eq!(setting(&settings, "MAX_OPERATIONS"), json!(["500", "flag"]));
    assert_eq!(setting(&settings, "HOST"), json!(["127.0.0.1", "default"]));
    assert_eq!(setting(&settings, "MONGO_URL"), json!([null, "unset"]));
    assert_eq!(setting(&settings, "JWT_SECRET"), json!([null, "unset"]));
    let table = run(program(&["config"], &environment)).expect_ok();
    assert!(table.lines().any(|line| line.split_whitespace().eq(["PORT", "8080", "environment"])), "{table}");
}

#[test]
fn a_configuration_with_secrets_shows_none() {
    let secret = "keep-this-secret-keep-this-secret";
    let url = format!("mongodb://user:{secret}@one,two:27018/shop?replicaSet=rs0&appName={secret}");
    let ran = run(program(&["config"], &[("JWT_SECRET", secret), ("MONGO_URL", &url)]));
    let said = format!("{}{}", ran.output, ran.error);
    assert!(!said.contains("keep-this") && !said.contains("user"), "{said}");
    assert!(said.contains("mongodb://***@one,two:27018/shop") && said.contains("(hidden)"), "{said}");
    assert_eq!(ran.code, 0);
    // Not even what is wrong with one tells it.
    let ran = run(program(&["config", "--json"], &[("MONGO_URL", "mongodb://user:keep-this@:port")]));
    assert_eq!(ran.code, 1);
    assert!(!format!("{}{}", ran.output, ran.error).contains("keep-this"), "{}", ran.output);
}

#[test]
fn health_is_the_exit_code() {
    let server = Server::start_ready(&Setup::embedded());
    let url = server.url();
    assert!(run(program(&["health", "--url", &url], &[])).expect_ok().contains("\"status\":\"ok\""));
    let port = url.rsplit(':').next().unwrap();
    // As a container would ask itself.
    run(program(&["health"], &[("HOST", "0.0.0.0"), ("PORT", port)])).expect_ok();
    let by_name = format!("http://localhost:{port}");
    run(program(&["health", "--url", &by_name], &[])).expect_ok();
    drop(server);
    let said = run(program(&["health", "--url", &url, "--timeout", "1"], &[])).expect_findings();
    assert!(said.contains("does not answer"), "{said}");
    run(program(&["health", "--timeout", "0"], &[])).expect_failure();
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let captures = format!("{}/fixtures/queues/day.json", env!("CARGO_MANIFEST_DIR"));
    for command in [&["replay", &captures][..], &["storm"], &["health"]] {
        for url in ["http://user:s3cret@127.0.0.1:1/", "http://s3cret@h", "user:s3cret@h", "ftp://:s3c@s3cret@h/#?"] {
            for url in [&["--url", url][..], &[url]] {
                let said = run(program(&[command, url].concat(), &[("TOKEN", "any")]));
                // A capture may have any name.
                let Ran { code, error, .. } = said;
                let is_capture = command[0] == "replay" && url.len() == 1;
                assert!(code == 2 && error.lines().count() == 1, "{command:?} {url:?}: {error}");
                assert!(is_capture || !error.contains("s3c"), "{command:?} {url:?}: {error}");
            }
        }
    }
}

#[test]
fn a_server_without_its_store_is_not_well() {
    let mut mongod = Mongod::start(Topology::Lone);
    let server = Server::start_ready(&Setup::at(&mongod));
    run(program(&["health", "--url", &server.url()], &[])).expect_ok();
    mongod.kill();
    // An answer is good for a moment.
    let said = eventually("the server has noticed", Duration::from_secs(20), || {
        let ran = run(program(&["health", "--url", &server.url(), "--timeout", "30"], &[]));
        (ran.code != 0).then(|| ran.expect_findings())
    });
    assert!(said.contains("store_unavailable"), "{said}");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = run(program(&["completions", shell], &[])).expect_ok();
        for command in COMMANDS {
            assert!(text.contains(command), "{shell}: {command}");
        }
    }
}

/// What bash offers for the last of these words.
fn offered_by_bash(words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"source <("$0" completions bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _viveka__sync "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ASK, env!("CARGO_BIN_EXE_viveka-sync"), "viveka-sync"]).args(words);
    run(bash).expect_ok().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_behind_a_command() {
    assert_eq!(offered_by_bash(&["exp"]), ["export"]);
    assert_eq!(offered_by_bash(&["export", "--en"]), ["--encoding"]);
    assert_eq!(offered_by_bash(&["export", "--encoding", ""]), ["bson", "jsonl"]);
    assert!(offered_by_bash(&["completions", ""]).contains(&"fish".to_owned()));
}

#[test]
fn a_directory_that_is_named_beside_a_database_is_refused() {
    let url = ("MONGO_URL", "mongodb://127.0.0.1:1/shop");
    for command in [&["serve"][..], &[], &["check"], &["export", "/nowhere"], &["import", "/nowhere"], &["config"]] {
        let ran = run(program(&[command, &["--data-dir", "/nowhere"]].concat(), &[url]));
        assert_eq!(
            (ran.code, ran.output.as_str(), ran.error.lines().count()),
            (2, "", 1),
            "{command:?}: {}",
            ran.error
        );
        assert!(
            ran.error.contains("--data-dir names a directory, and the environment variable MONGO_URL"),
            "{}",
            ran.error
        );
    }
    let flags = ["config", "--data-dir", "/nowhere", "--mongo-url", url.1];
    assert!(run(program(&flags, &[])).refusal().contains("--mongo-url a database"));
    // Images and compose files set both variables, and one that is set to nothing is not set.
    let secret = ("JWT_SECRET", "keep-this-secret-keep-this-secret");
    run(program(&["config"], &[url, secret, ("DATA_DIR", "/nowhere")])).expect_ok();
    run(program(&["config", "--data-dir", "/nowhere"], &[("MONGO_URL", "")])).expect_ok();
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let settings = run(program(&["config", "--json"], &[])).expect_json();
    let names: Vec<_> = settings.as_array().unwrap().iter().map(|setting| setting["name"].as_str().unwrap()).collect();
    let empty: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(run(program(&["config", "--json"], &empty)).expect_json(), settings);
}

#[test]
fn a_server_of_another_kind_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for body in ["<html>welcome</html>", r#"{"status":"ok"}"#, "[]"] {
        let listener = listener.try_clone().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            assert!(stream.read(&mut asked).unwrap() > 0);
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
        });
        let said = run(program(&["health", "--url", &url], &[])).expect_findings();
        assert!(said.contains("not as a viveka-sync server"), "{said}");
        answering.join().unwrap();
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = [("JWT_SECRET", "keep-this-secret"), ("MONGO_URL", "mongodb://u:keep-this-secret@h")];
    run(program(&["man", "--directory", directory.path().to_str().unwrap()], &secrets)).expect_ok();
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let settings = run(program(&["config", "--json"], &[])).expect_json();
    let settings: Vec<_> = settings.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in ["viveka-sync.1", "viveka-sync-serve.1", "viveka-sync-config.1"] {
        let without = settings.iter().find(|setting| !page(name).contains(&format!("\\fB{setting}\\fR")));
        assert_eq!(without, None, "{name}");
    }
    let names = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = names.collect();
    let expected = ALL.into_iter().map(|command| format!("viveka-sync-{command}.1"));
    assert_eq!(pages, expected.chain(["viveka-sync.1".to_owned()]).collect());
    assert!(pages.iter().all(|name| !page(name).contains("keep\\-this") && !page(name).contains("keep-this")));
    for command in COMMANDS {
        let text = page(&format!("viveka-sync-{command}.1"));
        assert!(text.starts_with(".") || text.contains(".TH"), "{command}");
        let printed = run(program(&["man", command], &[])).expect_ok();
        assert!(printed.contains(&format!("viveka\\-sync\\-{command}")) || printed.contains(command), "{command}");
    }
    assert!(run(program(&["man", "nothing"], &[])).expect_failure().contains("there is no command nothing"));
}

/// That they are kept is tested where each command is.
#[test]
fn each_command_tells_its_exit_codes() {
    let told = |arguments: &[&str]| run(program(&[arguments, &["--help"]].concat(), &[])).expect_ok();
    assert!(told(&[]).contains("Exit code, of all commands: 0 if all is good; 1 if"));
    for command in ALL {
        let help = told(&[command]);
        let codes = help.split_once("Exit code: 0 ").unwrap_or_else(|| panic!("{help}")).1.split_once("\n\n");
        let looks = ["check", "config", "export", "health", "import", "replay", "storm"].contains(&command);
        let codes = codes.map_or_else(|| help.clone(), |(codes, _)| codes.to_owned());
        assert!(codes.contains(" 2 if") && looks == codes.contains(" 1 if"), "{command}: {codes}");
    }
}

#[test]
fn who_asks_for_what_there_is_not_is_refused_in_one_line() {
    for (arguments, environment, said) in [
        (&["exprot"][..], &[][..], "unrecognized subcommand 'exprot'"),
        (&["http://user:s3cret@host"], &[], "'http://***@host'"),
        (&["token"], &[], "--client <CLIENT>"),
        (&["token", "--client", "somebody"], &[], "24 hex digits"),
        (&["replay"], &[], "<PATH>..."),
        (&["import"], &[], "<DIRECTORY>"),
        (&["completions", "sh"], &[], "[possible values: bash"),
        (&["config", "--max-operations", "0"], &[("MAX_OPERATIONS", "7")], "must be at least 1"),
        (&["health"], &[("PORT", "http")], "(set by the environment variable PORT)"),
        (&["check"], &[("RECEIPT_DAYS", "ever")], "(set by the environment variable RECEIPT_DAYS)"),
        (&["check"], &[("LOG", "===[")], "LOG is invalid"),
        (&["check", "--data-dir", "/dev/null/data"], &[], "/dev/null/data"),
    ] {
        let Ran { code, output, error } = run(program(arguments, environment));
        assert_eq!((code, output.as_str(), error.lines().count()), (2, "", 1), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(said), "{arguments:?}: {error}");
        assert_eq!(said.contains("environment"), error.contains("environment"), "{arguments:?}: {error}");
    }
}

#[test]
fn the_help_of_each_command_has_examples_and_no_secrets() {
    let secrets = [("JWT_SECRET", "keep-this-secret"), ("MONGO_URL", "mongodb://u:keep-this-secret@h")];
    for command in COMMANDS {
        let help = run(program(&[command, "--help"], &secrets)).expect_ok();
        assert!(help.contains("Examples:") && help.contains(&format!("viveka-sync {command}")), "{help}");
        assert!(!help.contains("keep-this-secret"), "{help}");
    }
    // Those that work on a store say where it is, and leave out what only a server needs.
    for command in ["check", "export", "import"] {
        let help = run(program(&[command, "--help"], &[])).expect_ok();
        assert!(help.contains("MONGO_URL") && help.contains("DATA_DIR") && !help.contains("MAX_REQUESTS"), "{help}");
    }
    let help = run(program(&["token", "--help"], &secrets)).expect_ok();
    assert!(help.contains("JWT_SECRET") && help.contains("--session") && !help.contains("MAX_REQUESTS"), "{help}");
    assert!(!help.contains("keep-this-secret"), "{help}");
}
