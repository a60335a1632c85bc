//! Every cell of the fault matrix for one round, in the program that runs the long ones.

use std::process::Command;

/// The same seed each time: what changes from run to run is only the order in which things happen.
const SEED: &str = "20260101";

#[test]
fn every_cell_survives_a_round() {
    let output = Command::new(env!("CARGO_BIN_EXE_faults"))
        .args(["--rounds", "1", "--jobs", "4", "--seed", SEED])
        .output()
        .expect("the program starts");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), cells().len(), "a row for each cell:\n{printed}");
}

#[test]
fn an_unknown_cell_is_refused_with_its_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).args(["--cell", "no-such"]).output().expect("a program");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no cell no-such"), "{output:?}");
}

#[test]
fn the_server_of_the_product_cannot_be_told_to_halt() {
    // The hidden mode of this program is the only way to a failpoint: the product has no such option.
    let help = Command::new(env!("CARGO_BIN_EXE_faults")).args(["serve", "--help"]).output().expect("a program");
    assert!(String::from_utf8_lossy(&help.stdout).contains("--halt-at"), "{help:?}");
    let product = <viveka_sync::cli::Cli as clap::Parser>::try_parse_from(["viveka-sync", "--halt-at", "mid-apply"]);
    assert!(product.is_err());
}

fn cells() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).arg("--list").output().expect("a program");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
