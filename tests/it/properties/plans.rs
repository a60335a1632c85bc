//! Plans: what they are made from and what form they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use bson::oid::ObjectId;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use viveka_sync::batch::{Batch, Fingerprint};
use viveka_sync::model::IdempotencyKey;
use viveka_sync::plan::{Decision, Glance, Idempotent, Plan, Planner, Reject, SyncPlanner, Write};

use super::body::{aliases, field, list, text};
use super::book::{Book, made_ids, touched};
use super::story::{Outcome, Step, config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn reads_cover_all_that_the_planner_looks_at(story in stories()) {
        story.check(|step| {
            let Some(planner) = step.planner() else { return Ok(()) };
            let asked_for = planner.plan(&step.before.answer(&planner.reads()));
            prop_assert_eq!(asked_for, planner.plan(&step.before.whole()));
            Ok(())
        })?;
    }

    #[test]
    fn planning_twice_gives_the_same_plan(story in stories()) {
        story.check(|step| {
            let Some(planner) = step.planner() else { return Ok(()) };
            let before = step.before.answer(&planner.reads());
            prop_assert_eq!(planner.plan(&before), planner.plan(&before));
            Ok(())
        })?;
    }

    #[test]
    fn the_ids_of_a_plan_are_distinct_and_within_what_the_batch_announced(story in stories()) {
        story.check_commits(|step, plan| {
            let announced = step.batch.as_ref().map_or(0, |batch| batch.ids());
            let announced: BTreeSet<ObjectId> = step.stamp.ids().take(announced).collect();
            let made = made_ids(plan);
            let distinct: BTreeSet<_> = made.iter().copied().collect();
            prop_assert_eq!(distinct.len(), made.len());
            prop_assert!(distinct.is_subset(&announced), "{:?} are not all in {:?}", distinct, announced);
            Ok(())
        })?;
    }

    #[test]
    fn a_plan_has_one_write_per_touched_record_and_never_refers_forward(story in stories()) {
        story.check_commits(|step, plan| {
            let touched: Vec<_> = plan.writes.iter().map(touched).collect();
            let distinct: BTreeSet<_> = touched.iter().collect();
            prop_assert_eq!(distinct.len(), touched.len(), "one record is written twice: {:?}", plan.writes);
            refers_backwards(plan, &step.before)
        })?;
    }

    #[test]
    fn a_receipt_counts_what_was_synced_as_the_next_revision(story in stories()) {
        story.check_commits(|step, plan| {
            let (receipt, synced) = (&plan.receipt, &plan.receipt.synced);
            let wrote = i64::from(!plan.writes.is_empty());
            prop_assert_eq!(receipt.revision.0, step.before.revision.0 + wrote);
            let count = |section, name| list(&step.body, section, name).len();
            let made_by_lines = list(&step.body, "invoice", "create")
                .iter()
                .flat_map(|invoice| invoice["products"].as_array().into_iter().flatten())
                .filter(|line| makes_an_item(line))
                .count();
            let expected = [
                (receipt.summary.items_created, synced.items_created.len(), count("item", "create") + made_by_lines),
                (receipt.summary.items_updated, synced.items_updated.len(), count("item", "update")),
                (receipt.summary.items_deleted, synced.items_deleted.len(), count("item", "delete")),
                (receipt.summary.invoices_created, synced.invoices_created.len(), count("invoice", "create")),
                (receipt.summary.payments_created, synced.payments_created.len(), count("payment", "create")),
            ];
            for (counted, listed, sent) in expected {
                prop_assert_eq!((counted, listed), (sent as i64, sent), "{:?}", receipt);
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_id_map_holds_every_alias_of_one_create_and_no_shared_one(story in stories()) {
        story.check_commits(|step, plan| {
            let (synced, map) = (&plan.receipt.synced, &plan.receipt.id_map);
            let create = |section| aliases(list(&step.body, section, "create"));
            prop_assert_eq!(&map.items, &named(create("item"), &synced.items_created));
            prop_assert_eq!(&map.invoices, &named(create("invoice"), &synced.invoices_created));
            prop_assert_eq!(&map.payments, &named(create("payment"), &synced.payments_created));
            Ok(())
        })?;
    }

    #[test]
    fn applying_a_plan_again_after_any_part_of_it_changes_nothing(story in stories(), cut in any::<prop::sample::Index>()) {
        story.check_commits(|step, plan| {
            let mut crashed = step.before.clone();
            plan.writes.iter().take(cut.index(plan.writes.len() + 1)).for_each(|write| crashed.write(write));
            crashed.commit(plan);
            prop_assert_eq!(&crashed, &step.after);
            crashed.commit(plan);
            prop_assert_eq!(&crashed, &step.after);
            let mut backwards = step.before.clone();
            plan.writes.iter().rev().for_each(|write| backwards.write(write));
            backwards.finish(plan);
            prop_assert_eq!(&backwards, &step.after);
            Ok(())
        })?;
    }

    #[test]
    fn a_key_replays_its_receipt_for_the_same_payload_and_is_refused_for_another(story in stories()) {
        story.check(keeps_its_key)?;
    }

    #[test]
    fn what_a_glance_decides_is_right_or_cannot_be_committed(story in stories()) {
        story.check(|step| {
            let Some(batch) = &step.batch else { return Ok(()) };
            glances(&SyncPlanner::new(batch.clone(), step.stamp.clone()), &step.before)?;
            let keyed = keyed(step, batch, batch.fingerprint.clone());
            glances(&keyed, &step.before)?;
            glances(&keyed, &step.after)?;
            let mut applied = step.before.clone();
            if let Ok(Decision::Commit(plan)) = keyed.plan(&applied.answer(&keyed.reads())) {
                applied.commit(&plan);
                glances(&keyed, &applied)?;
            }
            Ok(())
        })?;
    }
}

/// Plans with and without what a glance leaves out.
fn glances(planner: &impl Planner, book: &Book) -> TestCaseResult {
    let reads = planner.reads();
    let whole = book.answer(&reads);
    let mut glance = whole.clone();
    glance.receipts.clear();
    glance.invoices.values_mut().for_each(|invoice| invoice.has_purchase = false);
    let decision = planner.plan(&glance);
    if (Glance { reads: &reads, snapshot: &glance }).decides(&decision) {
        let kept_before = matches!(&decision, Ok(Decision::Commit(plan))
            if plan.remember.as_ref().is_some_and(|receipt| whole.receipts.contains_key(&receipt.key)));
        prop_assert!(kept_before || decision == planner.plan(&whole), "{:?} on a glance", decision);
    }
    Ok(())
}

/// Whether every record that a write refers to is stored already or written before it.
fn refers_backwards(plan: &Plan, before: &Book) -> TestCaseResult {
    let (items, invoices) = (before.items.keys().map(|id| id.0), before.invoices.keys().map(|id| id.0));
    let mut there: BTreeSet<ObjectId> = items.chain(invoices).collect();
    for write in &plan.writes {
        let referred: Vec<ObjectId> = match write {
            Write::InsertItem(_) => Vec::new(),
            Write::UpdateItem(id, _) => vec![id.0],
            Write::InsertInvoice(invoice) => invoice.products.iter().map(|line| line.product_id.0).collect(),
            Write::SettleInvoice(id, _) => vec![id.0],
            Write::InsertPayment(payment) => vec![payment.invoice_id.0],
            Write::InsertPurchase(purchase) => vec![purchase.invoice_id.0],
            Write::InsertLocalId(record) => vec![record.id],
        };
        prop_assert!(referred.iter().all(|id| there.contains(id)), "{:?} refers to what is not there", write);
        there.insert(touched(write));
    }
    Ok(())
}

/// The step's planner with a key.
fn keyed(step: &Step, batch: &Arc<Batch>, fingerprint: Fingerprint) -> Idempotent<SyncPlanner> {
    Idempotent {
        inner: SyncPlanner::new(batch.clone(), step.stamp.clone()),
        key: IdempotencyKey::new("monday-17").unwrap(),
        fingerprint,
        at: step.stamp.time(),
    }
}

fn keeps_its_key(step: &Step) -> TestCaseResult {
    let Some(batch) = &step.batch else { return Ok(()) };
    let same = keyed(step, batch, batch.fingerprint.clone());
    let other = keyed(step, batch, Fingerprint::of(&"another payload".into()));
    let mut book = step.before.clone();
    match (same.plan(&book.answer(&same.reads())), &step.outcome) {
        (Ok(Decision::Commit(keyed)), Outcome::Committed(plain)) => {
            prop_assert_eq!((&keyed.writes, &keyed.receipt), (&plain.writes, &plain.receipt));
            book.commit(&keyed);
            let receipt = keyed.receipt;
            prop_assert_eq!(same.plan(&book.answer(&same.reads())), Ok(Decision::Replay(Box::new(receipt))));
            prop_assert_eq!(other.plan(&book.answer(&other.reads())), Err(Reject::KeyReused));
        }
        (Err(keyed), Outcome::Rejected(plain)) => prop_assert_eq!(&keyed, plain),
        (keyed, plain) => prop_assert!(false, "{:?} with a key, {:?} without", keyed, plain),
    }
    Ok(())
}

fn named<Id: Copy>(aliases: Vec<(String, usize)>, created: &[Id]) -> Vec<(String, Id)> {
    aliases.into_iter().map(|(alias, index)| (alias, created[index])).collect()
}

/// Whether a line sells an item that it makes itself.
pub fn makes_an_item(line: &serde_json::Value) -> bool {
    field(line, "productId").is_none_or(|id| id.is_string() && text(line, "productId").is_none())
}
