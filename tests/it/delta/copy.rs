//! The phone's own database, and what every answer must look like that it is made of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Answer, Phone, Request};

/// What a phone keeps: the records of the six lists by their ids, and the cursor of what it took in last.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    lists: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// What to send as `since`; `None` before the first answer.
    pub cursor: Option<String>,
}

impl Copy {
    /// The database of a phone that was never synced.
    pub fn new() -> Self {
        Self { lists: LISTS.map(|list| (list, BTreeMap::new())).into(), cursor: None }
    }

    /// Takes an answer in: a full one replaces everything, a delta adds and replaces records, the receipt alone does
    /// nothing. The error says what is wrong with the answer's form.
    pub fn take_in(&mut self, answer: &Value) -> Result<(), String> {
        let mode = mode(answer)?;
        if mode == "none" {
            return Ok(());
        }
        if mode != "delta" {
            *self = Self::new();
        }
        for list in LISTS {
            let known = self.lists.entry(list).or_default();
            known.extend(records(answer, list)?.into_iter().map(|(id, record)| (id, record.clone())));
        }
        self.cursor = answer["cursor"].as_str().map(str::to_owned);
        Ok(())
    }

    /// What a full answer of this moment must hold as its `data`.
    pub fn data(&self) -> Value {
        let list = |(list, records): (&&str, &BTreeMap<String, Value>)| {
            ((*list).to_owned(), records.values().cloned().collect::<Vec<_>>().into())
        };
        Value::Object(self.lists.iter().map(list).collect())
    }

    /// The record of this list with this id.
    pub fn record(&self, list: &str, id: &str) -> Option<&Value> {
        self.lists[list].get(id)
    }
}

/// What an answer says of its data: `full: <reason>`, `delta` or `none`; an error if its members do not fit that.
pub fn mode(answer: &Value) -> Result<String, String> {
    let problem = |what: &str| Err(format!("{what}: {}", without_data(answer)));
    let (Some(mode), reason) = (answer["dataMode"].as_str(), answer.get("fullSyncReason")) else {
        return problem("no dataMode");
    };
    if (mode == "full") != reason.is_some() {
        return problem("a fullSyncReason is for full answers, and for all of them");
    }
    if mode == "none" {
        let bare = answer.get("data").is_none() && answer.get("cursor").is_none();
        return if bare { Ok(mode.to_owned()) } else { problem("data or a cursor with dataMode none") };
    }
    let cursor = answer["cursor"].as_str().unwrap_or_default();
    if !(1..=200).contains(&cursor.len()) || !cursor.bytes().all(|byte| byte.is_ascii_graphic()) {
        return problem("a cursor is 1 to 200 visible ASCII characters");
    }
    let mut names: Vec<_> = answer["data"].as_object().into_iter().flat_map(|lists| lists.keys()).collect();
    names.sort();
    let mut expected = LISTS;
    expected.sort_unstable();
    if names != expected {
        return problem(&format!("the lists are {names:?}"));
    }
    match (mode, reason.and_then(Value::as_str)) {
        ("delta", None) => Ok("delta".to_owned()),
        ("full", Some(reason)) if REASONS.contains(&reason) => Ok(format!("full: {reason}")),
        _ => problem("an unknown dataMode or fullSyncReason"),
    }
}

/// The mode of an answer that must be a good one.
#[track_caller]
pub fn mode_of(answer: &Value) -> String {
    mode(answer).unwrap_or_else(|problem| panic!("{problem}"))
}

/// The cursor of an answer that must have one.
#[track_caller]
pub fn cursor_of(answer: &Value) -> String {
    answer["cursor"].as_str().unwrap_or_else(|| panic!("no cursor: {}", without_data(answer))).to_owned()
}

/// The ids of every list of an answer's data that is not empty.
#[track_caller]
pub fn shown(answer: &Value) -> BTreeMap<&'static str, Vec<String>> {
    let ids = |list| {
        let records = records(answer, list).unwrap_or_else(|problem| panic!("{problem}"));
        (list, records.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    };
    LISTS.map(ids).into_iter().filter(|(_, ids)| !ids.is_empty()).collect()
}

/// A batch with a `since`.
pub fn since(batch: &Value, cursor: impl Into<Value>) -> Value {
    let mut body = batch.clone();
    body["since"] = cursor.into();
    body
}

/// What changed since a cursor: an empty batch.
#[track_caller]
pub fn pull_since(phone: &Phone, cursor: &str) -> Value {
    phone.sync(&since(&json!({}), cursor)).expect_ok()
}

/// A pull by GET, of everything or of what changed since a cursor.
pub fn get(cursor: Option<&str>) -> Request {
    match cursor {
        None => Request::new("GET", DATA_PATH),
        Some(cursor) => Request::new("GET", &format!("{DATA_PATH}?since={cursor}")),
    }
}

/// The bytes of the answer's `data`, as they came.
pub fn data_bytes(answer: &Answer) -> &[u8] {
    const BEGINNING: &[u8] = br#","data":{"itemGroups":["#;
    let start = answer.bytes.windows(BEGINNING.len()).position(|bytes| bytes == BEGINNING);
    let start = start.unwrap_or_else(|| panic!("no data: {}", String::from_utf8_lossy(&answer.bytes)));
    &answer.bytes[start + br#","data":"#.len()..answer.bytes.len() - 1]
}

/// The records of one list with their ids, in the order in which they must be.
fn records<'a>(answer: &'a Value, list: &str) -> Result<Vec<(String, &'a Value)>, String> {
    let id = |record: &Value| record["_id"].as_str().map(str::to_owned);
    let records = answer["data"][list].as_array().ok_or_else(|| format!("no list {list}"))?;
    let records: Option<Vec<_>> = records.iter().map(|record| Some((id(record)?, record))).collect();
    let records = records.ok_or_else(|| format!("a record of {list} without an _id"))?;
    if records.is_sorted_by(|one, next| one.0 < next.0) { Ok(records) } else { Err(format!("{list} is not in order")) }
}

/// An answer for a message.
fn without_data(answer: &Value) -> Value {
    let mut head = answer.clone();
    if let Some(data) = head.get_mut("data") {
        *data = json!("...");
    }
    head
}

/// The six lists of an answer's data.
pub const LISTS: [&str; 6] = ["itemGroups", "items", "clientCustomers", "invoices", "payments", "purchaseHistory"];

/// Where the pull by GET is.
pub const DATA_PATH: &str = "/api/sync/data";

/// Why an answer may be full.
const REASONS: [&str; 5] =
    ["no_cursor", "cursor_unknown", "cursor_from_another_store", "cursor_ahead", "cursor_expired"];
