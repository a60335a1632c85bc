//! Where a client is: its revision and its next invoice number, and the revisions of its records.

use std::collections::BTreeMap;

use mongodb::bson::doc;
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::planting::{Fate, Fault, Held, Place, set};
use super::shop;
use crate::harness::Engine;

pub const FAULTS: &[Fault] = &[
    Fault {
        what: "a record from the future",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"revision": 77_i64}),
        severity: "problem",
        said: "its revision is 77, and the client is at revision 2",
    },
    Fault {
        what: "a revision that is no number",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"revision": "x"}),
        severity: "problem",
        said: "its revision is no whole number",
    },
    Fault {
        what: "the client is set back",
        place: Place::Counters,
        edit: |counters| set(counters, doc! {"revision": 1_i64}),
        severity: "problem",
        said: "its revision is 1, and 3 records are of later commits, up to 2",
    },
    Fault {
        what: "an invoice number below the first",
        place: Place::Counters,
        edit: |counters| set(counters, doc! {"nextInvoice": 0_i64}),
        severity: "problem",
        said: "its next invoice would be number 0",
    },
    Fault {
        what: "the client's counters are gone",
        place: Place::Counters,
        edit: |_| Fate::Remove,
        severity: "problem",
        said: "of commits up to 2",
    },
    Fault {
        what: "a record that lost its revision",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("revision");
            Fate::Replace
        },
        severity: "problem",
        said: "which carries no revision",
    },
];

/// Counters that no arithmetic of the database can raise; the file's have a type.
#[test]
fn counters_that_cannot_be_raised_are_one_problem() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let (setup, _) = shop(engine);
        let sound = Held::take(engine, &setup, Place::Counters);
        let faults = [
            (doc! {"nextInvoice": "4"}, "its nextInvoice is no whole number, so no batch is committed"),
            (doc! {"revision": "2"}, "its revision is no whole number, so no batch is committed; 14 records are"),
            (doc! {"revision": 2.5}, "its revision is no whole number"),
            (doc! {"lineage": 7}, "its lineage cannot be read"),
        ];
        for (fields, said) in faults {
            let mut unfit = sound.clone();
            unfit.0.values_mut().for_each(|counters| counters.extend(fields.clone()));
            unfit.put(engine, &setup, Place::Counters);
            let told = run(on(engine, &setup, &["check"])).expect_findings();
            assert!(told.contains(said), "{told}");
            assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
        }
    }
}

#[test]
fn one_cause_is_told_once() {
    for engine in [Engine::Embedded, Engine::ReplicaSet] {
        let (setup, client) = shop(engine);
        let sound = Held::take(engine, &setup, Place::Counters);
        let mut set_back = sound.clone();
        set_back.0.values_mut().for_each(|counters| drop(counters.insert("revision", 0_i64)));
        let faults = [
            (Held(BTreeMap::new()), "it is missing, and 14 records are of commits up to 2"),
            (set_back, "its revision is 0, and 14 records are of later commits, up to 2"),
        ];
        for (counters, said) in faults {
            counters.put(engine, &setup, Place::Counters);
            let told = run(on(engine, &setup, &["check"])).expect_findings();
            assert!(told.contains(&format!("PROBLEM  client {client} syncclients: {said}")), "{told}");
            assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
            assert!(told.contains("1 client, ") && told.contains(": 1 problem, "), "{told}");
        }
    }
}
