//! The model's view of a request alone: what is wrong with it whatever the books say.
//!
//! It knows the mistakes that the generator makes, not every one that there is; `behaviour/hostile.rs` has those.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::books::{alias, list, operations};
use super::numbers::{rounded, ten_thousandths};

/// Path and code of each problem.
pub fn problems(body: &Value) -> Vec<(String, &'static str)> {
    let mut problems = vec![];
    for (path, item) in operations(body, "/item/create") {
        check(&mut problems, &path, item, "name", Value::is_string);
        check(&mut problems, &path, item, "price", Value::is_number);
    }
    for (path, change) in operations(body, "/item/update") {
        check(&mut problems, &path, change, "_id", |_| true);
    }
    for (path, invoice) in operations(body, "/invoice/create") {
        check_invoice(&mut problems, &path, invoice);
    }
    for (path, payment) in operations(body, "/payment/create") {
        check(&mut problems, &path, payment, "invoiceId", |_| true);
        check(&mut problems, &path, payment, "amount", Value::is_number);
        if ten_thousandths(&payment["amount"]).is_some_and(|amount| amount <= 0) {
            problems.push((format!("{path}/amount"), "out_of_range"));
        }
    }
    problems.extend(ambiguous_references(body));
    problems
}

/// The names that several records of a list have.
pub fn shared_aliases(body: &Value, path: &str) -> Vec<String> {
    let mut carriers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (at, new) in operations(body, path) {
        // Creates of one `localId` are one record.
        let record = new["localId"].as_str().map_or(at, str::to_owned);
        for name in [&new["_id"], &new["localId"]].into_iter().filter_map(alias) {
            carriers.entry(name).or_default().insert(record.clone());
        }
    }
    carriers.into_iter().filter(|(_, records)| records.len() > 1).map(|(name, _)| name).collect()
}

/// A required field is there and of its type.
fn check(
    problems: &mut Vec<(String, &'static str)>,
    path: &str,
    operation: &Value,
    field: &str,
    fits: impl Fn(&Value) -> bool,
) {
    let value = &operation[field];
    if value.is_null() {
        problems.push((format!("{path}/{field}"), "missing"));
    } else if !fits(value) {
        problems.push((format!("{path}/{field}"), "wrong_type"));
    }
}

fn check_invoice(problems: &mut Vec<(String, &'static str)>, path: &str, invoice: &Value) {
    let lines = list(&invoice["products"]);
    if lines.is_empty() {
        return problems.push((format!("{path}/products"), "missing"));
    }
    let mut sum = Some(0);
    for (index, line) in lines.iter().enumerate() {
        let path = format!("{path}/products/{index}");
        check(problems, &path, line, "quantity", Value::is_number);
        let quantity = ten_thousandths(&line["quantity"]).unwrap_or(0);
        if quantity <= 0 && line["quantity"].is_number() {
            problems.push((format!("{path}/quantity"), "out_of_range"));
        }
        if line["productId"].is_null() {
            check(problems, &path, line, "itemName", Value::is_string);
            check(problems, &path, line, "costPerUnit", Value::is_number);
        }
        let cost = ten_thousandths(&line["costPerUnit"]);
        sum = sum.zip(cost).map(|(sum, cost)| sum + cost * quantity);
    }
    // A total that no stored price is needed for can be judged now.
    let amount = |field: &str| ten_thousandths(&invoice[field]);
    let subtotal = amount("subtotal").or(sum.map(rounded));
    let rest = amount("totalTax").unwrap_or(0) - amount("totalDiscount").unwrap_or(0);
    let total = amount("totalAmount").or(subtotal.map(|subtotal| subtotal + rest));
    match total {
        Some(total) if total < 0 => problems.push((format!("{path}/totalAmount"), "negative_total")),
        Some(total) if amount("paidAmount").is_some_and(|paid| paid > total) => {
            problems.push((format!("{path}/paidAmount"), "paid_exceeds_total"));
        }
        _ => {}
    }
}

/// References to what several creates are called.
fn ambiguous_references(body: &Value) -> Vec<(String, &'static str)> {
    let (items, invoices) = (shared_aliases(body, "/item/create"), shared_aliases(body, "/invoice/create"));
    let mut references = vec![];
    for (path, change) in operations(body, "/item/update") {
        references.push((format!("{path}/_id"), &change["_id"], &items));
    }
    for (path, item) in operations(body, "/item/delete") {
        references.push((path, item, &items));
    }
    for (path, invoice) in operations(body, "/invoice/create") {
        for (index, line) in list(&invoice["products"]).iter().enumerate() {
            references.push((format!("{path}/products/{index}/productId"), &line["productId"], &items));
        }
    }
    for (path, payment) in operations(body, "/payment/create") {
        references.push((format!("{path}/invoiceId"), &payment["invoiceId"], &invoices));
    }
    let ambiguous = references.into_iter().filter(|(_, reference, shared)| match alias(reference) {
        Some(alias) => shared.contains(&alias),
        None => false,
    });
    ambiguous.map(|(path, _, _)| (path, "ambiguous_reference")).collect()
}
