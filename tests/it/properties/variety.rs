//! Whether the stories are worth telling: properties of batches that are never accepted prove nothing.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use viveka_sync::batch::{Invalid, WarningKind};
use viveka_sync::plan::{Plan, Reject, Write};

use super::body::{aliases, list, reference, text};
use super::story::{Outcome, Step, stories};

#[test]
fn the_stories_reach_every_rule() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for _ in 0..256 {
        for step in stories().new_tree(&mut runner).unwrap().current().steps() {
            note(&step, &mut seen);
        }
    }
    let wanted = [
        ("committed", 150),
        ("rejected", 30),
        ("invalid", 30),
        ("not_found", 20),
        ("exceeds_balance", 8),
        ("wrong_type", 8),
        ("updates a stored item", 50),
        ("settles a stored invoice", 20),
        ("finalizes a stored invoice", 5),
        ("insufficient_stock", 50),
        ("unknown_reference", 30),
        ("unknown_field", 5),
        ("purchase", 30),
        ("pays on its own invoice", 20),
        ("default number skips", 5),
        ("makes an item for a line", 30),
        ("shares an alias", 5),
    ];
    for (what, least) in wanted {
        let times = seen.get(what).copied().unwrap_or_default();
        assert!(times >= least, "{what}: {times} times, which is below {least}: {seen:?}");
    }
}

type Seen = BTreeMap<String, usize>;

fn note(step: &Step, seen: &mut Seen) {
    let mut see = |what: &str| *seen.entry(what.to_owned()).or_default() += 1;
    match &step.outcome {
        Outcome::Committed(plan) => {
            see("committed");
            facts(step, plan).into_iter().for_each(see);
        }
        Outcome::Rejected(Reject::Problems(problems)) => {
            see("rejected");
            codes(&problems.to_json()).iter().for_each(|code| see(code));
        }
        Outcome::Invalid(Invalid::Shape(problems)) => {
            see("invalid");
            codes(&problems.to_json()).iter().for_each(|code| see(code));
        }
        other => see(&format!("{other:?}")),
    }
}

fn codes(problems: &serde_json::Value) -> Vec<String> {
    problems.as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

fn facts(step: &Step, plan: &Plan) -> Vec<&'static str> {
    let mut facts: Vec<_> = plan.writes.iter().filter_map(written).collect();
    facts.extend(plan.receipt.warnings.iter().map(|warning| match warning.kind {
        WarningKind::UnknownField { .. } => "unknown_field",
        WarningKind::UnknownReference { .. } => "unknown_reference",
        WarningKind::InsufficientStock { .. } => "insufficient_stock",
        WarningKind::AlreadyApplied { .. } => "already_applied",
        WarningKind::WarningsOmitted { .. } => "warnings_omitted",
    }));
    let synced = &plan.receipt.synced;
    if step.after.payments.values().any(|payment| synced.invoices_created.contains(&payment.invoice_id)) {
        facts.push("pays on its own invoice");
    }
    if synced.items_created.len() > list(&step.body, "item", "create").len() {
        facts.push("makes an item for a line");
    }
    let creates = ["item", "invoice", "payment"].map(|section| list(&step.body, section, "create"));
    let shares = |creates: &[Value]| {
        let named: Vec<_> = creates.iter().filter_map(|create| create.get("_id").and_then(reference)).collect();
        named.len() > aliases(creates).len()
    };
    if creates.into_iter().any(shares) {
        facts.push("shares an alias");
    }
    let unnumbered = list(&step.body, "invoice", "create").iter().filter(|sent| text(sent, "invoiceNumber").is_none());
    if step.after.next_invoice > step.before.next_invoice + unnumbered.count() as i64 {
        facts.push("default number skips");
    }
    facts
}

fn written(write: &Write) -> Option<&'static str> {
    match write {
        Write::UpdateItem(..) => Some("updates a stored item"),
        Write::SettleInvoice(_, settlement) if settlement.is_finalized => Some("finalizes a stored invoice"),
        Write::SettleInvoice(..) => Some("settles a stored invoice"),
        Write::InsertLocalId(_) => Some("a local id"),
        Write::InsertPurchase(_) => Some("purchase"),
        Write::InsertItem(_) | Write::InsertInvoice(_) | Write::InsertPayment(_) => None,
    }
}
