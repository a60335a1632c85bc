//! Merges captures into one batch that means what they mean.
//!
//! Aliases hold within a batch, and phones number their tables from 1 in each: so they are given names that are new in the
//! merged batch. Operations of a batch are applied by kind: so captures that would mean something else then are refused.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::canonical::plain_numbers;
use super::capture::{Capture, Place};
use super::payload::{Payload, Source};
use crate::phone::Route;

/// The lists of a batch, in the order in which they are applied (API.md, order).
const LISTS: [List; 5] = [
    List { section: "item", name: "create" },
    List { section: "item", name: "update" },
    List { section: "item", name: "delete" },
    List { section: "invoice", name: "create" },
    List { section: "payment", name: "create" },
];
const ITEM_CREATE: usize = 0;
const ITEM_UPDATE: usize = 1;
const ITEM_DELETE: usize = 2;
const INVOICE_CREATE: usize = 3;
const PAYMENT_CREATE: usize = 4;

#[derive(Debug, Clone, Copy)]
struct List {
    section: &'static str,
    name: &'static str,
}

/// Why captures cannot be one batch, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {text}; send the captures one by one, without --batch")]
pub struct MergeError {
    place: Place,
    text: String,
}

/// Where the operations of a merged batch come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    lists: [Vec<(Place, usize)>; 5],
    captures: usize,
    keys: Vec<String>,
}

/// One payload of all batches, behind those of all other requests.
///
/// # Errors
/// [`MergeError`], if one batch cannot mean what the captures mean one by one.
pub(super) fn merge(captures: Vec<Capture>) -> Result<Vec<Payload>, MergeError> {
    let (batches, others): (Vec<_>, Vec<_>) = captures.into_iter().partition(|capture| capture.route == Route::Sync);
    let mut payloads: Vec<_> = others.into_iter().map(Payload::from).collect();
    let Some(first) = batches.first() else { return Ok(payloads) };
    let at = first.at;
    let mut merged = Merged::default();
    for capture in &batches {
        merged.add(capture).map_err(|text| MergeError { place: capture.place.clone(), text })?;
    }
    let (body, origins) = merged.finish();
    let key = key(&origins);
    payloads.push(Payload {
        source: Source::Merged(origins),
        route: Route::Sync,
        at,
        key,
        body: body.to_string().into(),
    });
    Ok(payloads)
}

/// The key of the merged batch: the same for the same captures, whenever they are merged.
fn key(origins: &Origins) -> String {
    let mut digest = Sha256::new();
    for key in origins.keys() {
        // A key holds no line break.
        digest.update(format!("{key}\n"));
    }
    let digits: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("replay-batch-{digits}")
}

#[derive(Default)]
struct Merged {
    lists: [Vec<Value>; 5],
    client: Option<Value>,
    origins: Origins,
    /// The batches that are in it by their keys, with plain numbers.
    bodies: HashMap<String, (Place, Value)>,
    /// Items that earlier captures have sold or deleted, by what they are called.
    settled: HashMap<String, Place>,
    /// The local ids of items by their new aliases.
    local_ids: HashMap<String, String>,
}

impl Merged {
    fn add(&mut self, capture: &Capture) -> Result<(), String> {
        let body = read(capture)?;
        self.origins.captures += 1;
        if self.holds(capture, &body)? {
            return Ok(());
        }
        let mut lists = self.lists_of(body)?;
        // Counted without retries, so that the same batches get the same names, however often they stand there.
        rename(self.origins.keys.len(), &mut lists);
        self.check_order(&capture.place, &lists)?;
        for (list, operations) in lists.into_iter().enumerate() {
            let places = (0..operations.len()).map(|index| (capture.place.clone(), index));
            self.origins.lists[list].extend(places);
            self.lists[list].extend(operations);
        }
        Ok(())
    }

    /// Whether the batch is there already: phones keep what they send again. A key stands for one batch only, however
    /// its numbers are spelled.
    fn holds(&mut self, capture: &Capture, body: &Value) -> Result<bool, String> {
        let mut body = body.clone();
        plain_numbers(&mut body);
        match self.bodies.get(&capture.key) {
            None => {
                self.origins.keys.push(capture.key.clone());
                self.bodies.insert(capture.key.clone(), (capture.place.clone(), body));
                Ok(false)
            }
            Some((_, known)) if *known == body => Ok(true),
            Some((place, _)) => Err(format!("its requestId {} stands for another body at {place}", capture.key)),
        }
    }

    fn lists_of(&mut self, body: Value) -> Result<[Vec<Value>; 5], String> {
        let mut lists = <[Vec<Value>; 5]>::default();
        let Value::Object(body) = body else { return Err("its body is not an object".into()) };
        for (name, value) in body {
            match (name.as_str(), value) {
                (_, Value::Null) | ("since" | "data", _) => {}
                ("clientId", client) => self.speak_for(client)?,
                ("item" | "invoice" | "payment", Value::Object(section)) => sort_in(&name, section, &mut lists)?,
                _ => return Err(format!("its member {name} cannot be merged")),
            }
        }
        Ok(lists)
    }

    fn speak_for(&mut self, client: Value) -> Result<(), String> {
        match &self.client {
            Some(known) if *known != client => Err(format!("it is of client {client}, and one before it of {known}")),
            _ => {
                self.client = Some(client);
                Ok(())
            }
        }
    }

    /// Refuses a change of an item that an earlier capture has sold or deleted: in one batch the change would come first.
    fn check_order(&mut self, place: &Place, lists: &[Vec<Value>; 5]) -> Result<(), String> {
        for create in &lists[ITEM_CREATE] {
            if let (Some(alias), Some(local_id)) = (name_in(create, "_id"), name_in(create, "localId")) {
                self.local_ids.insert(alias, local_id);
            }
        }
        for update in &lists[ITEM_UPDATE] {
            let Some(item) = name_in(update, "_id").map(|name| self.one_name(name)) else { continue };
            if let Some(earlier) = self.settled.get(&item) {
                return Err(format!(
                    "in one batch its change of item {item} would come before what {earlier} does with it"
                ));
            }
        }
        let sold = lists[INVOICE_CREATE].iter().flat_map(lines).filter_map(|line| name_in(line, "productId"));
        let deleted = lists[ITEM_DELETE].iter().filter_map(reference_text);
        for item in sold.chain(deleted).collect::<Vec<_>>() {
            let item = self.one_name(item);
            self.settled.entry(item).or_insert_with(|| place.clone());
        }
        Ok(())
    }

    /// An item's local id, if it is called by its alias.
    fn one_name(&self, name: String) -> String {
        self.local_ids.get(&name).cloned().unwrap_or(name)
    }

    fn finish(self) -> (Value, Origins) {
        let mut body = Map::new();
        body.extend(self.client.map(|client| ("clientId".to_owned(), client)));
        for (list, operations) in LISTS.iter().zip(self.lists) {
            if !operations.is_empty() {
                let section = body.entry(list.section).or_insert_with(|| Value::Object(Map::new()));
                section[list.name] = Value::Array(operations);
            }
        }
        (Value::Object(body), self.origins)
    }
}

impl Origins {
    /// How many captures were merged.
    pub(super) fn captures(&self) -> usize {
        self.captures
    }

    /// The requestIds of the captures, each once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// The capture of an operation, and the JSON pointer in its own body, for one into the merged batch.
    pub(super) fn of(&self, pointer: &str) -> Option<(&Place, String)> {
        let mut parts = pointer.strip_prefix('/')?.splitn(4, '/');
        let (section, name, index) = (parts.next()?, parts.next()?, parts.next()?.parse::<usize>().ok()?);
        let list = LISTS.iter().position(|list| (list.section, list.name) == (section, name))?;
        let (place, index) = self.lists[list].get(index)?;
        let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
        Some((place, format!("/{section}/{name}/{index}{rest}")))
    }
}

fn read(capture: &Capture) -> Result<Value, String> {
    if capture.body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(&capture.body).map_err(|error| format!("its body is not JSON: {error}"))
}

/// Takes the lists of a section apart.
fn sort_in(section: &str, lists: Map<String, Value>, sorted: &mut [Vec<Value>; 5]) -> Result<(), String> {
    for (name, value) in lists {
        let known = LISTS.iter().position(|list| (list.section, list.name) == (section, name.as_str()));
        match (known, value) {
            (_, Value::Null) => {}
            (Some(list), Value::Array(operations)) => sorted[list] = operations,
            _ => return Err(format!("its list {section}.{name} cannot be merged")),
        }
    }
    Ok(())
}

/// Gives the aliases of a capture names of its own, where they are made and where they are referred to.
fn rename(capture: usize, lists: &mut [Vec<Value>; 5]) {
    let items = new_names("item", capture, &mut lists[ITEM_CREATE]);
    let invoices = new_names("invoice", capture, &mut lists[INVOICE_CREATE]);
    new_names("payment", capture, &mut lists[PAYMENT_CREATE]);
    let item = |reference: Option<&mut Value>| replace(reference, &items);
    lists[ITEM_UPDATE].iter_mut().for_each(|update| item(update.get_mut("_id")));
    lists[ITEM_DELETE].iter_mut().for_each(|reference| item(Some(reference)));
    let lines = lists[INVOICE_CREATE].iter_mut().filter_map(|invoice| invoice.get_mut("products")?.as_array_mut());
    lines.flatten().for_each(|line| item(line.get_mut("productId")));
    lists[PAYMENT_CREATE].iter_mut().for_each(|payment| replace(payment.get_mut("invoiceId"), &invoices));
}

/// Renames the creates of a list. Two that share an alias still do: a reference to it is ambiguous as it was.
fn new_names(kind: &str, capture: usize, creates: &mut [Value]) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for create in creates {
        if let Some(alias) = create.get("_id").and_then(reference_text) {
            let number = names.len() + 1;
            let name = names.entry(alias).or_insert_with(|| format!("{kind} {number} of capture {capture}"));
            create["_id"] = Value::String(name.clone());
        }
    }
    names
}

fn replace(reference: Option<&mut Value>, names: &HashMap<String, String>) {
    let Some(reference) = reference else { return };
    if let Some(name) = reference_text(reference).and_then(|text| names.get(&text)) {
        *reference = Value::String(name.clone());
    }
}

fn lines(invoice: &Value) -> impl Iterator<Item = &Value> {
    invoice.get("products").and_then(Value::as_array).into_iter().flatten()
}

fn name_in(record: &Value, member: &str) -> Option<String> {
    record.get(member).and_then(reference_text)
}

/// A reference as text: `1`, `1.0` and `"1"` are the same (API.md, references in a batch).
fn reference_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
            format!("{number:.0}")
        }
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn capture(entry: usize, body: Value) -> Capture {
        let place = Place { file: Path::new("q.json").into(), line: entry, entry };
        let (key, body) = (format!("key-{entry}"), body.to_string().into());
        Capture { place, route: Route::Sync, at: chrono::DateTime::UNIX_EPOCH, key, body }
    }

    fn merge_all(bodies: &[Value]) -> Result<Payload, String> {
        let captures = bodies.iter().enumerate().map(|(index, body)| capture(index + 1, body.clone())).collect();
        merge(captures).map(|mut payloads| payloads.remove(0)).map_err(|error| error.to_string())
    }

    fn merged(bodies: &[Value]) -> Value {
        serde_json::from_slice(&merge_all(bodies).unwrap().body).unwrap()
    }

    #[test]
    fn aliases_that_captures_share_stay_apart() {
        let sale = |name: &str| {
            json!({
                "item": {"create": [{"_id": 1, "name": name}], "update": [{"_id": "1", "price": 2}], "delete": [1.0]},
                "invoice": {"create": [{"_id": 1, "products": [{"productId": 1}, {"productId": "stored"}]}]},
                "payment": {"create": [{"_id": 1, "invoiceId": 1}, {"invoiceId": 2}]},
            })
        };
        let batch = merged(&[sale("Tea"), sale("Bun")]);
        let name = |pointer: &str| batch.pointer(pointer).unwrap().clone();
        for (capture, other) in [(0, 1), (1, 0)] {
            let made = name(&format!("/item/create/{capture}/_id"));
            assert_ne!(made, name(&format!("/item/create/{other}/_id")));
            assert_eq!(made, name(&format!("/item/update/{capture}/_id")));
            assert_eq!(made, name(&format!("/item/delete/{capture}")));
            assert_eq!(made, name(&format!("/invoice/create/{capture}/products/0/productId")));
            let bill = name(&format!("/invoice/create/{capture}/_id"));
            assert_eq!(bill, name(&format!("/payment/create/{}/invoiceId", 2 * capture)));
        }
        assert_eq!(name("/invoice/create/0/products/1/productId"), "stored");
        assert_eq!(name("/payment/create/1/invoiceId"), 2);
    }

    #[test]
    fn an_alias_that_two_creates_share_stays_ambiguous() {
        let batch = merged(&[json!({"item": {"create": [{"_id": 7}, {"_id": "7"}], "delete": [7]}})]);
        assert_eq!(batch["item"]["create"][0]["_id"], batch["item"]["create"][1]["_id"]);
        assert_eq!(batch["item"]["create"][0]["_id"], batch["item"]["delete"][0]);
    }

    #[test]
    fn problems_lead_back_to_their_captures() {
        let batch = json!({"payment": {"create": [{"amount": 1}, {"amount": 2}]}});
        let payload = merge_all(&[json!({}), batch.clone(), batch]).unwrap();
        let (place, path) = payload.origin("/payment/create/3/amount");
        assert_eq!((place.unwrap().entry, path.as_str()), (3, "/payment/create/1/amount"));
        assert_eq!(payload.origin("/payment/create").0, None);
        assert_eq!(payload.captures(), 3);
    }

    #[test]
    fn a_change_of_what_an_earlier_capture_has_sold_or_deleted_is_refused() {
        let made = json!({"item": {"create": [{"_id": 1, "localId": "tea"}]}, "invoice": {"create": [{"products": [{"productId": 1}]}]}});
        let changed = json!({"item": {"update": [{"_id": "tea", "price": 2}]}});
        let told = merge_all(&[made, changed.clone()]).unwrap_err();
        assert!(
            told.starts_with("q.json:2 (entry 2): in one batch its change of item tea would come before"),
            "{told}"
        );
        let deleted = json!({"item": {"delete": ["tea"]}});
        assert!(merge_all(&[deleted.clone(), changed.clone()]).is_err());
        assert!(merge_all(&[changed, deleted]).is_ok());
    }

    #[test]
    fn a_retry_is_merged_once_and_another_body_under_its_key_is_refused() {
        let body = json!({"item": {"create": [{"_id": 1, "name": "Tea", "price": 2}]}});
        let again = json!({"item": {"create": [{"price": 2.0, "name": "Tea", "_id": 1}]}});
        let other = || capture(2, body.clone());
        let once = merge(vec![capture(1, body.clone()), other()]).unwrap().remove(0);
        let twice = merge(vec![capture(1, body.clone()), capture(1, again), other()]).unwrap().remove(0);
        assert_eq!((once.body, once.key), (twice.body, twice.key));
        let told = merge(vec![capture(1, body.clone()), capture(1, json!({}))]).unwrap_err().to_string();
        assert!(told.contains("its requestId key-1 stands for another body at q.json:1 (entry 1)"), "{told}");
    }

    #[test]
    fn what_cannot_be_merged_is_refused_and_named() {
        let client = |digit: &str| json!({"clientId": digit.repeat(24)});
        for (bodies, named) in [
            (vec![json!({"invoice": {"update": [{}]}})], "its list invoice.update cannot be merged"),
            (vec![json!({"item": []})], "its member item cannot be merged"),
            (vec![json!({"order": {}})], "its member order cannot be merged"),
            (vec![json!([])], "its body is not an object"),
            (vec![client("a"), client("b")], "it is of client"),
        ] {
            let told = merge_all(&bodies).unwrap_err();
            assert!(told.contains(named) && told.ends_with("without --batch"), "{told}");
        }
        let empty = merged(&[json!({"since": "x", "data": "none", "item": null}), client("a"), client("a")]);
        assert_eq!(empty, client("a"));
    }
}
