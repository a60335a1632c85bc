//! Receipts, without which a retry fails or doubles.

use mongodb::bson::{Document, bson, doc, oid::ObjectId};

use super::command::{on, run};
use super::planting::{Fate, Fault, Place, set};
use super::shop;
use crate::harness::{Engine, block_on, database_at};

pub const FAULTS: &[Fault] = &[
    Fault {
        what: "a receipt that tells of nothing",
        place: Place::Receipts,
        edit: |receipt| {
            let synced = receipt.get_document_mut("receipt").and_then(|inner| inner.get_document_mut("synced"));
            synced.unwrap().insert("paymentsCreated", [ObjectId::from_bytes([9; 12])].to_vec());
            Fate::Replace
        },
        severity: "problem",
        said: "it tells of 090909090909090909090909 of payments, which is not there",
    },
    Fault {
        what: "a receipt from the future",
        place: Place::Receipts,
        edit: |receipt| {
            receipt.get_document_mut("receipt").unwrap().insert("revision", 77_i64);
            Fate::Replace
        },
        severity: "problem",
        said: "its revision is 77",
    },
    Fault {
        what: "a receipt whose lists are a text",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"synced": "all"}),
        severity: "problem",
        said: "its synced cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt one of whose ids is a text",
        place: Place::Receipts,
        edit: |stored| {
            let synced = receipt(stored).get_document_mut("synced").unwrap();
            set(synced, doc! {"itemsUpdated": ["64b0000000000000000000c1x"]})
        },
        severity: "problem",
        said: "its synced cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt without a summary",
        place: Place::Receipts,
        edit: |stored| {
            receipt(stored).remove("summary");
            Fate::Replace
        },
        severity: "problem",
        said: "its summary cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose ids are a list",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"idMap": {"items": 7, "invoices": [], "payments": []}}),
        severity: "problem",
        said: "its idMap cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose ids name a record that is not there",
        place: Place::Receipts,
        edit: |stored| {
            let pair = bson!(["1", ObjectId::from_bytes([9; 12])]);
            set(receipt(stored).get_document_mut("idMap").unwrap(), doc! {"items": [pair]})
        },
        severity: "problem",
        said: "it tells of 090909090909090909090909 of items, which is not there",
    },
    Fault {
        what: "a receipt whose warnings are a text",
        place: Place::Receipts,
        edit: |stored| set(receipt(stored), doc! {"warnings": "none"}),
        severity: "problem",
        said: "its warnings cannot be read, so a retry of its batch fails",
    },
    Fault {
        what: "a receipt whose fingerprint is a number",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"fingerprint": 7}),
        severity: "problem",
        said: "its fingerprint cannot be read",
    },
    Fault {
        what: "a receipt whose fingerprint is none",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"fingerprint": "0123"}),
        severity: "problem",
        said: "its fingerprint is none",
    },
    Fault {
        what: "a receipt that does not say when it was made",
        place: Place::Receipts,
        edit: |stored| {
            stored.remove("createdAt");
            Fate::Replace
        },
        severity: "problem",
        said: "its createdAt cannot be read",
    },
    Fault {
        what: "a receipt that says it in words",
        place: Place::Receipts,
        edit: |stored| set(stored, doc! {"createdAt": "2025-01-12T00:00:00.000Z"}),
        severity: "problem",
        said: "its createdAt",
    },
    Fault {
        what: "two receipts of one commit",
        place: Place::Receipts,
        edit: |stored| match stored.get_str("key") {
            Ok("second") => set(receipt(stored), doc! {"revision": 1_i64}),
            _ => Fate::Skip,
        },
        severity: "problem",
        said: "it says that its batch took the revision 1, and so does that of \"first\"",
    },
];

fn receipt(stored: &mut Document) -> &mut Document {
    stored.get_document_mut("receipt").unwrap()
}

#[test]
fn receipts_that_do_not_expire_as_they_are_to_are_found() {
    let (setup, _) = shop(Engine::ReplicaSet);
    let index = |seconds: i64| doc! { "collMod": "syncreceipts", "index": {"keyPattern": {"createdAt": 1}, "expireAfterSeconds": seconds} };
    let told = || run(on(Engine::ReplicaSet, &setup, &["check"])).expect_findings();
    block_on(async { database_at(&setup).await.run_command(index(60)).await.unwrap() });
    let other = told();
    assert!(
        other.contains("PROBLEM  syncreceipts: receipts expire after 60 seconds by the index createdAt_1"),
        "{other}"
    );
    block_on(async {
        let receipts = database_at(&setup).await.collection::<Document>("syncreceipts");
        receipts.drop_index("createdAt_1").await.unwrap();
    });
    let missing = told();
    assert!(missing.contains("PROBLEM  syncreceipts: the index on createdAt is missing"), "{missing}");
    assert_eq!(missing.matches("PROBLEM").count(), 1, "{missing}");
    run(on(Engine::ReplicaSet, &setup, &["check", "--receipt-days", "0"])).expect_ok();
}
