//! Compares what the server says with what the books say.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::books::{Books, NewIds, Outcome, Receipt, Refusal, list};
use super::device::text;
use crate::harness::{Answer, Matcher};

/// How often each thing happened in all histories, for a run in which nothing happens proves nothing.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    /// One more of these.
    pub fn count(&self, what: &str) {
        *self.0.lock().expect("nobody panics with it").entry(what.to_owned()).or_insert(0) += 1;
    }

    /// What came of a request.
    pub fn outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Committed(receipt) if receipt.already_applied > 0 => self.count("committed, some known already"),
            Outcome::Committed(_) => self.count("committed"),
            Outcome::Replayed(_) => self.count("replayed"),
            Outcome::Pulled => self.count("empty"),
            Outcome::Refused(refusal) => self.count(refusal.code),
        }
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

/// Tells the ids of new records from a dataset, by their marks.
pub struct IdsFrom<'a> {
    data: &'a Value,
    /// Ids of records that are not new, and of those that were given out already.
    known: Vec<String>,
    before: Books,
}

impl<'a> IdsFrom<'a> {
    /// Finds what is in this dataset and not in these books.
    pub fn new(data: &'a Value, before: &Books) -> Self {
        Self { data, known: vec![], before: before.clone() }
    }

    /// Whether the id is not that of an earlier record.
    fn is_new(&self, name: &str, id: &str) -> bool {
        !self.before.knows(name, id) && !self.known.iter().any(|known| known == id)
    }

    /// Gives the id out, once.
    fn take(&mut self, name: &str, mark: &str, id: Option<&str>) -> String {
        let id = id.map_or_else(|| format!("no new record of {name} with {mark:?}"), str::to_owned);
        self.known.push(id.clone());
        id
    }
}

impl NewIds for IdsFrom<'_> {
    fn id(&mut self, name: &'static str, mark: &str) -> String {
        let field = match name {
            "items" => "description",
            "invoices" => "notes",
            "payments" => "note",
            _ => "invoiceId",
        };
        let candidates = list(&self.data[name]).iter().filter(|record| record[field] == mark);
        let mut ids = candidates.filter_map(|record| record["_id"].as_str());
        self.take(name, mark, ids.find(|id| self.is_new(name, id)))
    }
}

/// Tells the ids of new records from the answer to the very batch, and those of purchases from a later dataset.
pub struct IdsOf<'a> {
    answer: &'a Value,
    later: IdsFrom<'a>,
}

impl<'a> IdsOf<'a> {
    /// Finds what this answer names and these books do not have.
    pub fn new(answer: &'a Value, data: &'a Value, before: &Books) -> Self {
        Self { answer, later: IdsFrom::new(data, before) }
    }
}

impl NewIds for IdsOf<'_> {
    fn id(&mut self, name: &'static str, mark: &str) -> String {
        let made = match name {
            "items" => &self.answer["synced"]["itemsCreated"],
            "invoices" => &self.answer["synced"]["invoicesCreated"],
            "payments" => &self.answer["synced"]["paymentsCreated"],
            _ => return self.later.id(name, mark),
        };
        let mut made = list(made).iter().filter_map(Value::as_str);
        self.later.take(name, mark, made.find(|id| self.later.is_new(name, id)))
    }
}

/// Gives names instead of ids, to see what would come of a request.
pub struct NoIds;

impl NewIds for NoIds {
    fn id(&mut self, name: &'static str, mark: &str) -> String {
        format!("{name} {mark}")
    }
}

/// The dataset is that of the books.
pub fn check_dataset(books: &Books, client: &str, data: &Value) -> Result<(), String> {
    Matcher::new(client).check(&books.dataset(), data).map_err(|mismatch| format!("the dataset {mismatch}"))
}

/// The answer, without the dataset, is what must come of the request.
pub fn check_answer(outcome: &Outcome, books: &Books, client: &str, answer: &Answer) -> Result<(), String> {
    let replayed = answer.header("Idempotency-Replayed").is_some();
    match outcome {
        Outcome::Refused(refusal) => return check_refusal(refusal, answer),
        _ if answer.status != 200 => return Err(format!("expected {outcome:?}, got {}", text(answer))),
        Outcome::Committed(_) if replayed => return Err("the first answer says that it is a replay".into()),
        Outcome::Replayed(_) if !replayed => return Err("a replay does not say that it is one".into()),
        Outcome::Committed(receipt) | Outcome::Replayed(receipt) => {
            check_receipt(receipt, client, &answer.json())?;
        }
        Outcome::Pulled => {
            let nothing = Books::new(client).submit(None, &json!({}), &mut NoIds);
            assert_eq!(nothing, Outcome::Pulled);
            if answer.json()["revision"] != books.revision {
                return Err(format!("expected revision {}, got {}", books.revision, text(answer)));
            }
        }
    }
    Ok(())
}

/// The answer's head is that of the receipt.
pub fn check_receipt(receipt: &Receipt, client: &str, answer: &Value) -> Result<(), String> {
    let mut summary = receipt.applied.clone();
    summary.insert("alreadyApplied", receipt.already_applied);
    let expected = json!({
        "success": true,
        "message": "Sync completed successfully",
        "summary": summary,
        "synced": receipt.synced,
        "idMap": receipt.id_map,
        "warnings": receipt.warnings,
        "revision": receipt.revision,
        "...": "...",
    });
    Matcher::new(client).check(&expected, answer).map_err(|mismatch| format!("the answer {mismatch}"))
}

/// The error is this one, with exactly these problems.
pub fn check_refusal(refusal: &Refusal, answer: &Answer) -> Result<(), String> {
    let body = answer.json();
    let errors = list(&body["errors"]).iter();
    let mut problems: Vec<_> = errors.map(|error| (error["path"].clone(), error["code"].clone())).collect();
    problems.sort_by_key(|problem| (problem.0.to_string(), problem.1.to_string()));
    let mut expected: Vec<_> = refusal.problems.iter().map(|(path, code)| (json!(path), json!(code))).collect();
    expected.sort_by_key(|problem| (problem.0.to_string(), problem.1.to_string()));
    if (answer.status, &body["code"]) == (refusal.status, &json!(refusal.code)) && problems == expected {
        return Ok(());
    }
    Err(format!("expected {refusal:?}, got {}", text(answer)))
}

/// Watches the server's times: `createdAt` never changes, `updatedAt` only with a batch that wrote the record.
#[derive(Default)]
pub struct Times {
    seen: BTreeMap<String, (u64, String, String)>,
}

impl Times {
    /// Checks a dataset that has the very records of the books.
    pub fn check(&mut self, books: &Books, data: &Value) -> Result<(), String> {
        for ((name, id), touched) in books.touched() {
            let record = list(&data[name]).iter().find(|record| record["_id"] == id);
            let time = |field: &str| record.and_then(|record| record[field].as_str()).unwrap_or_default().to_owned();
            let now = (touched, time("createdAt"), time("updatedAt"));
            if let Some(before) = self.seen.insert(id.to_owned(), now.clone()) {
                let fits = now.1 == before.1 && now.2 >= before.2 && (touched != before.0 || now.2 == before.2);
                if !fits {
                    return Err(format!("the times of {name} {id} went from {before:?} to {now:?}"));
                }
            }
        }
        Ok(())
    }
}
