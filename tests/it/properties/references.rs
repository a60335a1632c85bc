//! References: what they lead to, and what is said of those that lead nowhere.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use viveka_sync::model::{InvoiceId, ItemId};
use viveka_sync::plan::{Plan, Reject};

use super::body::{aliases, list, reference, resolve};
use super::book::Book;
use super::plans::makes_an_item;
use super::story::{Outcome, Step, config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_reference_to_nothing_is_told_and_no_other(story in stories()) {
        story.check(|step| {
            let nothing = references_to_nothing(step);
            match &step.outcome {
                Outcome::Invalid(_) => Ok(()),
                Outcome::Committed(_) => prop_check(nothing, Vec::new()),
                Outcome::Rejected(Reject::Problems(problems)) => {
                    let problems = problems.to_json();
                    let not_found = problems.as_array().unwrap().iter().filter(|problem| problem["code"] == "not_found");
                    prop_check(nothing, not_found.map(|problem| problem["path"].as_str().unwrap().to_owned()).collect())
                }
                Outcome::Rejected(reject) => Err(TestCaseError::fail(reject.to_string())),
            }
        })?;
    }

    #[test]
    fn every_operation_reaches_the_record_that_it_names(story in stories()) {
        story.check_commits(|step, plan| {
            let synced = &plan.receipt.synced;
            let item = |value: &Value| resolve(value, list(&step.body, "item", "create"), &synced.items_created).unwrap();
            let updated: Vec<ItemId> = list(&step.body, "item", "update").iter().map(|sent| item(&sent["_id"])).collect();
            let deleted: Vec<ItemId> = list(&step.body, "item", "delete").iter().map(item).collect();
            prop_assert_eq!(&synced.items_updated, &updated);
            prop_assert_eq!(&synced.items_deleted, &deleted);
            for (sent, id) in list(&step.body, "invoice", "create").iter().zip(&synced.invoices_created) {
                for (line, sold) in sent["products"].as_array().unwrap().iter().zip(&step.after.invoices[id].products) {
                    let expected = if makes_an_item(line) { sold.product_id } else { item(&line["productId"]) };
                    prop_assert_eq!(sold.product_id, expected);
                }
            }
            pays_on_the_invoices_named(step, plan)
        })?;
    }
}

fn pays_on_the_invoices_named(step: &Step, plan: &Plan) -> TestCaseResult {
    let synced = &plan.receipt.synced;
    let creates = list(&step.body, "invoice", "create");
    for (sent, id) in list(&step.body, "payment", "create").iter().zip(&synced.payments_created) {
        let named: Option<InvoiceId> = resolve(&sent["invoiceId"], creates, &synced.invoices_created);
        prop_assert_eq!(Some(step.after.payments[id].invoice_id), named);
    }
    Ok(())
}

fn prop_check(expected: Vec<String>, told: Vec<String>) -> TestCaseResult {
    prop_assert_eq!(told, expected);
    Ok(())
}

/// The paths of all references that lead nowhere, in operation order.
fn references_to_nothing(step: &Step) -> Vec<String> {
    let mut paths = Vec::new();
    let items = list(&step.body, "item", "create");
    let invoices = list(&step.body, "invoice", "create");
    let mut check = |leads: bool, path: String| paths.extend((!leads).then_some(path));
    for (index, sent) in list(&step.body, "item", "update").iter().enumerate() {
        check(leads_to_item(&sent["_id"], items, &step.before), format!("/item/update/{index}/_id"));
    }
    for (index, sent) in list(&step.body, "item", "delete").iter().enumerate() {
        check(leads_to_item(sent, items, &step.before), format!("/item/delete/{index}"));
    }
    for (index, sent) in invoices.iter().enumerate() {
        for (place, line) in sent["products"].as_array().into_iter().flatten().enumerate() {
            let leads = makes_an_item(line) || leads_to_item(&line["productId"], items, &step.before);
            check(leads, format!("/invoice/create/{index}/products/{place}/productId"));
        }
    }
    for (index, sent) in list(&step.body, "payment", "create").iter().enumerate() {
        let stored = |id: InvoiceId| step.before.invoices.contains_key(&id);
        let leads = is_alias(&sent["invoiceId"], invoices) || resolve(&sent["invoiceId"], &[], &[]).is_some_and(stored);
        check(leads, format!("/payment/create/{index}/invoiceId"));
    }
    paths
}

fn leads_to_item(value: &Value, creates: &[Value], before: &Book) -> bool {
    let stored = |id: ItemId| before.items.contains_key(&id);
    is_alias(value, creates) || resolve(value, &[], &[]).is_some_and(stored)
}

fn is_alias(value: &Value, creates: &[Value]) -> bool {
    reference(value).is_some_and(|text| aliases(creates).iter().any(|(alias, _)| *alias == text))
}
