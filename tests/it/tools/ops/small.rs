//! Configuration, health, completions and manual pages, and that each command explains itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::command::{program, run};
use crate::harness::{Mongod, Server, Setup, Topology, eventually};

const COMMANDS: [&str; 7] = ["check", "completions", "config", "export", "health", "import", "man"];

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
    drop(server);
    let said = run(program(&["health", "--url", &url, "--timeout", "1"], &[])).expect_findings();
    assert!(said.contains("does not answer"), "{said}");
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

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    run(program(&["man", "--directory", directory.path().to_str().unwrap()], &[])).expect_ok();
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("viveka-sync.1").contains("MONGO_URL"));
    for command in COMMANDS {
        let text = page(&format!("viveka-sync-{command}.1"));
        assert!(text.starts_with(".") || text.contains(".TH"), "{command}");
        let printed = run(program(&["man", command], &[])).expect_ok();
        assert!(printed.contains(&format!("viveka\\-sync\\-{command}")) || printed.contains(command), "{command}");
    }
    assert!(run(program(&["man", "nothing"], &[])).expect_failure().contains("there is no command nothing"));
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
}
