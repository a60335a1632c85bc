//! Keeps a merged batch from applying what was applied capture by capture: it has a key of its own, which tells nothing
//! of theirs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::courier::{Courier, Delivery};
use super::merge::Origins;
use super::outcome::{Outcome, Verdict};
use crate::phone::Route;

/// The part of a reconcile's answer that is looked at.
#[derive(Deserialize)]
struct Reconciled {
    keys: BTreeMap<String, Fate>,
}

#[derive(Deserialize)]
struct Fate {
    status: String,
}

/// Why the merged captures cannot be sent, if one of them is in the books, or nobody can tell.
pub(super) async fn obstacle(courier: &Courier, origins: &Origins) -> Option<Outcome> {
    /// What one reconcile takes (API.md).
    const MOST_KEYS: usize = 1000;
    let keys: Vec<_> = origins.keys().collect();
    for some in keys.chunks(MOST_KEYS) {
        let body = json!({ "keys": some }).to_string().into();
        let delivery = courier.send(Route::Reconcile, &body, None).await;
        match committed(&delivery) {
            Ok(None) => {}
            Ok(Some(key)) => return Some(refused(&key, &delivery)),
            Err(Unknown) => return Some(unanswered(delivery)),
        }
    }
    None
}

struct Unknown;

/// The first key that is in the books.
fn committed(delivery: &Delivery) -> Result<Option<String>, Unknown> {
    let answer = delivery.last.as_ref().ok().filter(|answer| answer.is_ok()).ok_or(Unknown)?;
    let reconciled: Reconciled = serde_json::from_slice(&answer.body).map_err(|_| Unknown)?;
    Ok(reconciled.keys.into_iter().find(|(_, fate)| fate.status != "unknown").map(|(key, _)| key))
}

fn refused(key: &str, delivery: &Delivery) -> Outcome {
    let mut outcome = Outcome::not_sent(Verdict::Refused);
    outcome.told.code = Some("applied_one_by_one".to_owned());
    outcome.told.message =
        Some(format!("{key} is in the books already, under its own requestId; send the captures without --batch"));
    (outcome.attempts, outcome.time) = (delivery.attempts, delivery.time);
    outcome
}

fn unanswered(delivery: Delivery) -> Outcome {
    let mut outcome = Outcome::of(Route::Reconcile, delivery.last, delivery.attempts, delivery.time);
    if outcome.verdict.is_good() {
        outcome.verdict = Verdict::Unsettled;
    }
    outcome
}
