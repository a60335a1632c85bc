//! What a batch changes, and what it leaves alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use viveka_sync::batch::WarningKind;
use viveka_sync::model::{Invoice, Item, ItemId};
use viveka_sync::plan::{Plan, Planner};

use super::body::{list, resolve};
use super::plans::makes_an_item;
use super::story::{Outcome, Step, config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_accepted_batch_changes_only_what_it_names(story in stories()) {
        story.check_commits(|step, plan| {
            let named = named_fields(step, plan);
            for (id, before) in &step.before.items {
                let named = named.get(id).cloned().unwrap_or_default();
                let changed = changed_fields(before, &step.after.items[id]);
                prop_assert!(changed.is_subset(&named), "{:?} changed, {:?} named: {:?}", changed, named, before);
                    let is_new = step.after.items[id].updated_at == step.stamp.time();
                prop_assert!(is_new || named.is_empty(), "{:?} named: {:?}", named, before);
            }
            for (id, before) in &step.before.invoices {
                let paid = step.after.payments.values().any(|p| p.invoice_id == *id && !step.before.payments.contains_key(&p.id));
                is_settled_at_most(before, &step.after.invoices[id], paid)?;
            }
            leaves_all_others(step, plan)
        })?;
    }

    #[test]
    fn a_refused_batch_leaves_no_trace_in_what_comes_after(story in stories()) {
        let steps = story.steps();
        for pair in steps.windows(2).filter(|pair| !matches!(pair[0].outcome, Outcome::Committed(_))) {
            prop_assert_eq!(&pair[0].before, &pair[0].after);
            let Some(planner) = pair[1].planner() else { continue };
            let without = planner.plan(&pair[0].before.answer(&planner.reads()));
            prop_assert_eq!(without, planner.plan(&pair[1].before.answer(&planner.reads())));
        }
    }
}

/// The fields that operations name, for each stored item. A line that finds too little stock changes nothing.
fn named_fields(step: &Step, plan: &Plan) -> BTreeMap<ItemId, BTreeSet<&'static str>> {
    const FIELDS: [&str; 9] =
        ["name", "price", "stock", "unit", "groupId", "description", "lowStockQuantity", "dealerIds", "isActive"];
    let mut named: BTreeMap<ItemId, BTreeSet<&'static str>> = BTreeMap::new();
    let mut name = |value: &Value, fields: &mut dyn Iterator<Item = &'static str>| {
        let id = resolve(value, list(&step.body, "item", "create"), &plan.receipt.synced.items_created).unwrap();
        named.entry(id).or_default().extend(fields.chain(["updatedAt"]));
    };
    for sent in list(&step.body, "item", "update") {
        name(&sent["_id"], &mut FIELDS.into_iter().filter(|field| sent.get(field).is_some()));
    }
    for sent in list(&step.body, "item", "delete") {
        name(sent, &mut ["isActive"].into_iter());
    }
    for (index, sent) in list(&step.body, "invoice", "create").iter().enumerate() {
        for (place, line) in sent["products"].as_array().into_iter().flatten().enumerate() {
            let kept = plan.receipt.warnings.iter().any(|warning| {
                let path = format!("/invoice/create/{index}/products/{place}");
                warning.path == path && matches!(warning.kind, WarningKind::InsufficientStock { .. })
            });
            if !makes_an_item(line) && !kept {
                name(&line["productId"], &mut ["stock"].into_iter());
            }
        }
    }
    named
}

fn changed_fields(before: &Item, after: &Item) -> BTreeSet<&'static str> {
    let fields = [
        ("_id", before.id != after.id),
        ("groupId", before.group_id != after.group_id),
        ("name", before.name != after.name),
        ("price", before.price != after.price),
        ("stock", before.stock != after.stock),
        ("lowStockQuantity", before.low_stock_quantity != after.low_stock_quantity),
        ("unit", before.unit != after.unit),
        ("description", before.description != after.description),
        ("dealerIds", before.dealer_ids != after.dealer_ids),
        ("isActive", before.is_active != after.is_active),
        ("createdAt", before.created_at != after.created_at),
        ("updatedAt", before.updated_at != after.updated_at),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

fn is_settled_at_most(before: &Invoice, after: &Invoice, paid: bool) -> TestCaseResult {
    let mut expected = before.clone();
    if paid {
        expected.paid_amount = after.paid_amount;
        expected.is_finalized = after.is_finalized;
        expected.updated_at = after.updated_at;
    }
    prop_assert_eq!(&expected, after);
    Ok(())
}

/// Nothing is made that the receipt does not list, and nothing else is touched.
fn leaves_all_others(step: &Step, plan: &Plan) -> TestCaseResult {
    let (before, after, synced) = (&step.before, &step.after, &plan.receipt.synced);
    prop_assert_eq!(after.items.len(), before.items.len() + synced.items_created.len());
    prop_assert_eq!(after.invoices.len(), before.invoices.len() + synced.invoices_created.len());
    prop_assert_eq!(after.payments.len(), before.payments.len() + synced.payments_created.len());
    prop_assert!(before.payments.iter().all(|(id, payment)| after.payments[id] == *payment));
    prop_assert!(before.purchases.iter().all(|(id, purchase)| after.purchases[id] == *purchase));
    Ok(())
}
