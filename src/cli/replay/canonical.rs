//! Datasets without what each run makes anew: ids and times of the server.
//!
//! A record is called after what it is, `item Masala tea` or `payment 1 of invoice INV-000001`, so that a record more or
//! less leaves the names of all others as they are, and a difference can be read. The canonical form of a canonical form
//! is itself.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// How the records of one list are called, and in which order lists are gone through: later ones are called after
/// earlier ones.
struct Kind {
    list: &'static str,
    kind: &'static str,
    /// The field that holds a record's name, or the id of the record that it is called after.
    called_by: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind { list: "itemGroups", kind: "group", called_by: "name" },
    Kind { list: "items", kind: "item", called_by: "name" },
    Kind { list: "clientCustomers", kind: "customer", called_by: "name" },
    Kind { list: "invoices", kind: "invoice", called_by: "invoiceNumber" },
    Kind { list: "payments", kind: "payment", called_by: "invoiceId" },
    Kind { list: "purchaseHistory", kind: "purchase", called_by: "invoiceId" },
];

/// What stands where the server set a time.
const TIME: &str = "$time";
/// What stands for the client's id.
const CLIENT: &str = "$client";

/// Names by ids, the names that are taken, and how many records were called alike, by the name of the first.
#[derive(Default)]
struct Names {
    of: HashMap<String, String>,
    taken: HashSet<String>,
    alike: HashMap<String, usize>,
}

/// The canonical form of a dataset: the `data` of an answer.
pub(super) fn canonical(mut data: Map<String, Value>) -> Map<String, Value> {
    let mut names = Names::default();
    for kind in &KINDS {
        let Some(Value::Array(records)) = data.get_mut(kind.list) else { continue };
        let mut named: Vec<_> =
            std::mem::take(records).into_iter().map(|record| (names.give(kind, &record), record)).collect();
        // By names, and by the order in which they were made where those are alike.
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        records.extend(named.into_iter().map(|(_, record)| record));
    }
    for record in data.values_mut().filter_map(Value::as_array_mut).flatten() {
        forget_times(record);
    }
    for list in data.values_mut() {
        rewrite(list, &names.of);
        plain_numbers(list);
    }
    data
}

impl Names {
    /// Names a record; gives what it is called after, and the how manieth it is of those called alike.
    fn give(&mut self, kind: &Kind, record: &Value) -> (String, usize) {
        let field = |name: &str| record.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let called_by = field("localId").or_else(|| field(kind.called_by)).unwrap_or("without a name");
        let base = self.of.get(called_by).cloned().unwrap_or_else(|| called_by.to_owned());
        let name = |count: usize| match (kind.called_by, count) {
            ("invoiceId", 1) => format!("{} of {base}", kind.kind),
            ("invoiceId", count) => format!("{} {count} of {base}", kind.kind),
            (_, 1) => format!("{} {base}", kind.kind),
            (_, count) => format!("{} {base} ({count})", kind.kind),
        };
        let alike = self.alike.entry(name(1)).or_default();
        let mut free = (*alike + 1..).map(|count| (count, name(count)));
        // One that is called `Tea (2)` takes the name of a second `Tea`.
        let (count, name) = free.find(|(_, name)| !self.taken.contains(name)).unwrap_or_default();
        *alike = count;
        self.taken.insert(name.clone());
        if let Some(id) = field("_id") {
            self.of.insert(id.to_owned(), name);
        }
        (base, count)
    }
}

/// The server stamps a batch with one time: a date that is the time at which its record was made was not given.
fn forget_times(record: &mut Value) {
    let Some(made) = record.get("createdAt").cloned() else { return };
    for date in ["invoiceDate", "paidAt"] {
        if let Some(date) = record.get_mut(date).filter(|date| **date == made && date.is_string()) {
            *date = TIME.into();
        }
    }
}

fn rewrite(value: &mut Value, names: &HashMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                match (member.as_str(), value) {
                    ("createdAt" | "updatedAt" | "lastPurchaseAt", Value::String(time)) => TIME.clone_into(time),
                    ("clientId", Value::String(client)) => CLIENT.clone_into(client),
                    (_, value) => rewrite(value, names),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rewrite(value, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
                name.clone_into(text);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Spells whole numbers without a fraction: `10.0`, as other serializers and people write it, is `10`.
pub(super) fn plain_numbers(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(plain_numbers),
        Value::Array(values) => values.iter_mut().for_each(plain_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(data: Value) -> Value {
        let Value::Object(data) = data else { panic!("an object") };
        Value::Object(canonical(data))
    }

    /// A shop with an item sold once and paid in two parts; `salt` makes the ids and times of another run.
    fn shop(salt: char) -> Value {
        let id = |kind: char| format!("{salt}{kind}").repeat(12);
        let at = format!("2025-01-1{salt}T00:00:00.000Z");
        let payment = |kind, amount| {
            json!({"_id": id(kind), "clientId": id('f'), "invoiceId": id('2'), "amount": amount, "paidAt": at,
                   "createdAt": at, "updatedAt": at})
        };
        json!({
            "items": [
                {"_id": id('1'), "productId": id('1'), "name": "Tea", "price": 10, "createdAt": at},
                {"_id": id('3'), "productId": id('3'), "name": "Tea", "price": 12.5, "createdAt": at}
            ],
            "invoices": [{"_id": id('2'), "invoiceNumber": "INV-000001", "products": [{"productId": id('3')}],
                          "invoiceDate": "2025-01-12T00:00:00.000Z", "createdAt": at}],
            "payments": [payment('4', 5), payment('5', 7)]
        })
    }

    #[test]
    fn two_runs_have_one_form_and_it_is_its_own() {
        let one = form(shop('1'));
        assert_eq!(one, form(shop('3')));
        assert_eq!(one, form(one.clone()));
        assert_eq!(one["invoices"][0]["products"][0]["productId"], "item Tea (2)");
        assert_eq!(one["invoices"][0]["invoiceDate"], "2025-01-12T00:00:00.000Z");
        assert_eq!(one["payments"][1]["_id"], "payment 2 of invoice INV-000001");
        assert_eq!(one["payments"][1]["invoiceId"], "invoice INV-000001");
        assert_eq!(one["payments"][1]["paidAt"], TIME);
    }

    #[test]
    fn a_record_more_leaves_the_names_of_the_others() {
        let before = form(shop('1'));
        let mut more = shop('1');
        more["items"].as_array_mut().unwrap().insert(0, json!({"_id": "0".repeat(24), "name": "Bun", "price": 1.0}));
        let after = form(more);
        assert_eq!(after["items"][0], json!({"_id": "item Bun", "name": "Bun", "price": 1}));
        assert_eq!(after["items"][1], before["items"][0]);
        assert_eq!(after["payments"], before["payments"]);
    }

    #[test]
    fn a_name_that_another_record_has_is_passed_over() {
        let items: Vec<_> = ["Tea", "Tea (2)", "Tea", "Tea (2)"].into_iter().zip(1..).collect();
        let items: Vec<_> = items.iter().map(|(name, n)| json!({"_id": format!("{n:024}"), "name": name})).collect();
        let one = form(json!({"items": items}));
        let ids: Vec<_> = one["items"].as_array().unwrap().iter().map(|item| item["_id"].clone()).collect();
        assert_eq!(ids, ["item Tea", "item Tea (3)", "item Tea (2)", "item Tea (2) (2)"]);
    }

    /// Some 200,000,000 look-ups if each began with the first name.
    #[test]
    fn twenty_thousand_of_one_name_are_named_in_a_moment() {
        let payments: Vec<_> = (0..20_000).map(|n| json!({"_id": format!("{n:024}"), "invoiceId": "f"})).collect();
        let one = form(json!({"payments": payments}));
        assert_eq!(one["payments"][19_999]["_id"], "payment 20000 of f");
    }

    #[test]
    fn more_than_nine_of_one_name_keep_their_order() {
        let items: Vec<_> = (10..22).map(|n| json!({"_id": format!("{n:024}"), "name": "Tea", "price": n})).collect();
        let one = form(json!({"items": items}));
        assert_eq!(one["items"][11], json!({"_id": "item Tea (12)", "name": "Tea", "price": 21}));
        assert_eq!(one, form(one.clone()));
    }
}
