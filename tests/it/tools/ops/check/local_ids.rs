//! Local ids, which stand for a record for ever.

use mongodb::bson::{Document, doc};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::planting::{Fate, Fault, Place, set};
use super::shop;
use crate::harness::{Engine, block_on, database_at};

pub const FAULTS: &[Fault] = &[
    Fault {
        what: "an item that a local id and a receipt name is gone",
        place: Place::Data(Collection::Items),
        edit: |item| if is_tea(item) { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "which is not there",
    },
    Fault {
        what: "a local id that is forgotten",
        place: Place::LocalIds,
        edit: |local| if is_tea(local) { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "its localId \"tea\" is not registered",
    },
    Fault {
        what: "a record that has another local id",
        place: Place::Data(Collection::Items),
        edit: |item| if is_tea(item) { set(item, doc! {"localId": "tee"}) } else { Fate::Skip },
        severity: "problem",
        said: "which says that its localId is \"tee\"",
    },
    Fault {
        what: "a local id of nothing",
        place: Place::LocalIds,
        edit: |local| set(local, doc! {"kind": "things"}),
        severity: "problem",
        said: "it does not say what it stands for",
    },
    Fault {
        what: "a record that lost its local id",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("localId");
            Fate::Replace
        },
        severity: "problem",
        said: "which has no localId",
    },
    Fault {
        what: "a local id whose content is a number",
        place: Place::LocalIds,
        edit: |local| set(local, doc! {"content": 7}),
        severity: "problem",
        said: "it does not say what it stands for",
    },
];

fn is_tea(record: &Document) -> bool {
    record.get_str("localId").is_ok_and(|local_id| local_id == "tea")
}

#[test]
fn a_missing_index_is_found() {
    let (setup, _) = shop(Engine::ReplicaSet);
    block_on(async {
        let db = database_at(&setup).await;
        db.collection::<Document>("synclocalids").drop_index("clientId_1_localId_1").await.unwrap();
    });
    let told = run(on(Engine::ReplicaSet, &setup, &["check"])).expect_findings();
    assert!(told.contains("PROBLEM  synclocalids: the unique index"), "{told}");
    assert_eq!(told.matches("PROBLEM").count(), 1, "{told}");
}
