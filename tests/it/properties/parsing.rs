//! Parsing: whatever is sent, the answer is a batch, or problems that one can find in the body.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use viveka_sync::batch::{Batch, Invalid, check_body_client};

use super::story::{client, config, stories};
use super::wild;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_json_makes_parsing_panic_and_every_problem_can_be_found_in_the_body(body in wild::bodies()) {
        check_paths(&body)?;
    }

    #[test]
    fn the_problems_of_a_damaged_queue_can_be_found_in_it(story in stories()) {
        for step in story.steps() {
            check_paths(&step.body)?;
        }
    }

    #[test]
    fn bytes_that_are_no_json_are_told_so_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let parsed = Batch::parse(&bytes, &client(), 10_000);
        let is_json = bytes.is_empty() || serde_json::from_slice::<Value>(&bytes).is_ok();
        prop_assert_eq!(is_json, !matches!(parsed, Err(Invalid::Json(_))), "{:?}", parsed);
    }

    #[test]
    fn broken_json_is_told_so_without_a_panic(
        body in wild::bodies(),
        at in any::<prop::sample::Index>(),
        byte in prop::option::of(any::<u8>()),
    ) {
        let mut bytes = body.to_string().into_bytes();
        let at = at.index(bytes.len());
        match byte {
            Some(byte) => bytes[at] = byte,
            None => bytes.truncate(at),
        }
        if let Ok(body) = serde_json::from_slice::<Value>(&bytes) {
            check_paths(&body)?;
        } else if !bytes.is_empty() {
            let parsed = Batch::parse(&bytes, &client(), 10_000);
            prop_assert!(matches!(parsed, Err(Invalid::Json(_))), "{:?}", parsed);
        }
    }
}

/// Parses a body, and looks for the places that problems and warnings tell of.
fn check_paths(body: &Value) -> TestCaseResult {
    let bytes = body.to_string().into_bytes();
    let _ = check_body_client(&bytes, &client(), 10_000);
    match Batch::parse(&bytes, &client(), 10_000) {
        Ok(batch) => {
            let warnings = batch.warnings.into_list();
            warnings.iter().try_for_each(|warning| is_there(body, &warning.path))
        }
        Err(Invalid::Shape(problems)) => {
            let problems = problems.to_json();
            problems.as_array().unwrap().iter().try_for_each(|problem| can_be_found(body, problem))
        }
        Err(Invalid::ForeignClient) => {
            prop_assert!(body.get("clientId").is_some());
            Ok(())
        }
        Err(Invalid::Json(why)) if why.detail.contains("stands twice") => Ok(()),
        Err(other) => Err(TestCaseError::fail(format!("{other:?}"))),
    }
}

fn is_there(body: &Value, path: &str) -> TestCaseResult {
    prop_assert!(body.pointer(path).is_some(), "{:?} is nowhere in {}", path, body);
    Ok(())
}

/// Whether a problem leads to a value, or to a member that an object lacks, or of which it has only a blank.
fn can_be_found(body: &Value, problem: &Value) -> TestCaseResult {
    let path = problem["path"].as_str().unwrap();
    let (parent, name) = path.rsplit_once('/').unwrap_or_default();
    match problem["code"].as_str() {
        Some("missing") => {
            let is_blank = match body.pointer(path) {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => text.trim().is_empty(),
                Some(value) => *value == json!([]),
            };
            let parent = body.pointer(parent);
            prop_assert!(is_blank && parent.is_some_and(|p| !p.is_string()), "{} is not so in {}", problem, body);
        }
        // A total that nobody stated follows from the lines.
        _ if name == "totalAmount" => prop_assert!(body.pointer(parent).is_some_and(Value::is_object)),
        _ => is_there(body, path)?,
    }
    Ok(())
}
