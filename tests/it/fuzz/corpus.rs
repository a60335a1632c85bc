//! What the fuzzing starts from.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

/// Bodies: those of `fixtures/fuzz/bodies`, and the requests of the scenarios. Each with its file's name.
pub fn bodies() -> &'static [(String, Vec<u8>)] {
    static BODIES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    BODIES.get_or_init(|| {
        let mut bodies = files("fixtures/fuzz/bodies");
        for (name, scenario) in files("fixtures/scenarios") {
            let scenario: Value = serde_json::from_slice(&scenario).expect("a scenario is JSON");
            bodies.push((name, scenario["request"]["body"].to_string().replace("\"$client\"", "null").into()));
        }
        bodies
    })
}

/// Whole requests, byte for byte, with `$TOKEN` where a token belongs.
pub fn requests() -> &'static [(String, Vec<u8>)] {
    static REQUESTS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    REQUESTS.get_or_init(|| files("fixtures/fuzz/requests"))
}

/// All files of a folder, by name.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect(folder);
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (format!("{folder}/{name}"), std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    assert!(!files.is_empty(), "{folder} is empty");
    files.sort();
    files
}
