//! What was found, and how it is told.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::output::{counted, print, print_json};
use crate::store::archive::{Finding, Severity};

/// What was found so far.
pub(super) struct Report {
    as_json: bool,
    pub clients: u64,
    pub records: u64,
    pub problems: u64,
    notes: u64,
    /// In the order in which their first ones were found.
    kinds: Vec<Kind>,
    places: BTreeMap<Place, usize>,
    /// How many kinds of each severity there are.
    counts: BTreeMap<Severity, usize>,
}

/// Findings that say the same of records of one collection of one client, but for ids, numbers and names.
struct Kind {
    findings: Vec<Finding>,
    /// How many there are beside these.
    more: u64,
}

type Place = (Severity, Option<String>, Option<String>, String);

impl Report {
    /// Findings of one kind that are told one by one; more are counted, so that one cause hides no other.
    const MOST_OF_A_KIND: u64 = 20;
    /// The same for a program that reads them.
    const MOST_OF_A_KIND_AS_JSON: u64 = 10_000;
    /// Kinds of findings of each severity that are told.
    const MOST_KINDS: usize = 10_000;

    /// Nothing was found yet.
    pub fn new(as_json: bool) -> Self {
        let (kinds, places, counts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { as_json, clients: 0, records: 0, problems: 0, notes: 0, kinds, places, counts }
    }

    pub fn add(&mut self, findings: Vec<Finding>) {
        findings.into_iter().for_each(|finding| self.add_one(finding));
    }

    pub fn add_one(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Problem => self.problems += 1,
            Severity::Note => self.notes += 1,
        }
        let most = if self.as_json { Self::MOST_OF_A_KIND_AS_JSON } else { Self::MOST_OF_A_KIND };
        let place = (finding.severity, finding.client.clone(), finding.collection.clone(), without_names(&finding.why));
        if let Some(index) = self.places.get(&place) {
            return self.kinds[*index].add(finding, most);
        }
        // Of each: notes, however many, do not keep a problem from being told.
        let count = self.counts.entry(finding.severity).or_default();
        if *count < Self::MOST_KINDS {
            *count += 1;
            self.places.insert(place, self.kinds.len());
            self.kinds.push(Kind { findings: vec![finding], more: 0 });
        }
    }

    /// Prints all.
    pub fn tell(mut self, engine: &str) {
        self.kinds.sort_by_key(|kind| kind.findings.first().map(|finding| finding.severity));
        let Self { as_json, clients, records, problems, notes, kinds, .. } = self;
        if as_json {
            let findings: Vec<_> = kinds.iter().flat_map(|kind| &kind.findings).collect();
            let report = json!({
                "engine": engine, "clients": clients, "records": records, "problems": problems, "notes": notes,
                "findings": findings,
            });
            return print_json(&report);
        }
        let mut text: String = kinds.iter().map(Kind::lines).collect();
        let told: u64 = kinds.iter().map(|kind| kind.findings.len() as u64 + kind.more).sum();
        if problems + notes > told {
            text.push_str(&format!("and {} more\n", problems + notes - told));
        }
        let [clients, records] = [counted(clients, "client"), counted(records, "record")];
        let [problems, notes] = [counted(problems, "problem"), counted(notes, "note")];
        print(&format!("{text}{clients}, {records}: {problems}, {notes}\n"));
    }
}

impl Kind {
    fn add(&mut self, finding: Finding, most: u64) {
        if (self.findings.len() as u64) < most { self.findings.push(finding) } else { self.more += 1 }
    }

    fn lines(&self) -> String {
        let mut lines: String = self.findings.iter().map(|finding| line(finding, true, &finding.why)).collect();
        if let Some(finding) = self.findings.first().filter(|_| self.more > 0) {
            lines.push_str(&line(finding, false, &format!("and {} more of this kind", self.more)));
        }
        lines
    }
}

fn line(finding: &Finding, with_id: bool, why: &str) -> String {
    let Finding { severity, client, collection, id, .. } = finding;
    let severity = match severity {
        Severity::Problem => "PROBLEM",
        Severity::Note => "note   ",
    };
    let client = client.as_ref().map(|client| format!("client {client}"));
    let id = id.as_deref().filter(|_| with_id);
    let place: Vec<&str> = [client.as_deref(), collection.as_deref(), id].into_iter().flatten().collect();
    let place = if place.is_empty() { "the store".to_owned() } else { place.join(" ") };
    format!("{severity}  {place}: {why}\n")
}

/// A sentence less its words that hold digits, which are ids and numbers, and less what it quotes.
fn without_names(why: &str) -> String {
    let unquoted: String = why.split('"').step_by(2).collect();
    let is_word = |word: &&str| !word.contains(|character: char| character.is_ascii_digit());
    unquoted.split(' ').filter(is_word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_what_is_said_less_ids_numbers_and_names() {
        let kind = without_names("its localId \"my tea 7\" is 64b0000000000000000000c1, and 3.5 is paid of -1");
        assert_eq!(kind, "its localId  is and is paid of");
        assert_eq!(without_names("its price is no number"), "its price is no number");
    }

    #[test]
    fn of_one_kind_some_are_told_and_the_others_counted() {
        let mut report = Report::new(false);
        for number in 0..25 {
            let why = format!("its stock is -{number}");
            report.add_one(Finding::of_the_store(Severity::Problem, Some("items"), why));
        }
        report.add_one(Finding::of_the_store(Severity::Problem, Some("items"), "its price is no number".to_owned()));
        assert_eq!((report.problems, report.kinds.len()), (26, 2));
        let lines = report.kinds[0].lines();
        assert_eq!(lines.lines().count(), 21);
        assert!(lines.ends_with("PROBLEM  items: and 5 more of this kind\n"), "{lines}");
        assert_eq!(report.kinds[1].more, 0);
    }
}
