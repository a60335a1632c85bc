//! Every bound that the document states of what phones send is the server's: what lies just inside is taken, what lies
//! just outside is refused, at that very place.
//!
//! The probes are made of the document's own schemas. Each starts from the smallest batch that is right, and changes
//! one field of it.

use serde_json::{Map, Value, json};

use super::conformance::document;
use crate::harness::{Phone, Request, Server, on_every_engine};

/// A shape of the document, and where a batch has it.
struct Shape {
    schema: &'static str,
    path: &'static str,
    /// A body with the least that is right, and what a probe of the shape needs around it.
    body: Value,
    at: &'static str,
}

fn shapes() -> Vec<Shape> {
    let line = json!({"itemName": "Tea", "costPerUnit": 1, "quantity": 1, "stock": 5});
    let invoice = json!({"products": [line]});
    let item = json!({"_id": "own", "name": "Tea", "price": 1});
    let body = |body: Value, schema, at| Shape { schema, path: "/api/sync", body, at };
    vec![
        body(json!({}), "Batch", ""),
        body(json!({"item": {"create": [{"name": "Tea", "price": 1}]}}), "NewItem", "/item/create/0"),
        body(json!({"item": {"create": [item], "update": [{"_id": "own"}]}}), "ItemUpdate", "/item/update/0"),
        body(json!({"invoice": {"create": [invoice]}}), "NewInvoice", "/invoice/create/0"),
        body(
            json!({"invoice": {"create": [{"totalAmount": 1, "products": [line]}]}}),
            "NewLine",
            "/invoice/create/0/products/0",
        ),
        body(
            json!({
                "invoice": {"create": [{"_id": "bill", "totalAmount": 99_999_999_999.999_9_f64, "products": [line]}]},
                "payment": {"create": [{"invoiceId": "bill", "amount": 1}]},
            }),
            "NewPayment",
            "/payment/create/0",
        ),
        Shape { path: "/api/sync/reconcile", ..body(json!({}), "Inquiry", "") },
        Shape { path: "/api/readytosync", ..body(json!({}), "StatedClient", "") },
    ]
}

/// A value of one field, whether it is right by the document, and which bound it is about.
struct Probe {
    bound: &'static str,
    value: Option<Value>,
    right: bool,
}

on_every_engine! {
    fn each_bound_is_the_servers(server: &Server) {
        let mut count = 0;
        let mut wrong = Vec::new();
        for shape in shapes() {
            let schema = &document().0["components"]["schemas"][shape.schema];
            for (field, values) in schema["properties"].as_object().unwrap() {
                let required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(field)));
                for probe in probes(field, values, required) {
                    count += 1;
                    wrong.extend(try_out(server, &shape, field, &probe));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count >= FEWEST_PROBES, "only {count} probes");
    }
}

fn probes(field: &str, values: &Value, required: bool) -> Vec<Probe> {
    let right = |bound, value| Probe { bound, value: Some(value), right: true };
    let wrong = |bound, value| Probe { bound, value: Some(value), right: false };
    let mut probes = vec![
        Probe { bound: "absent", value: None, right: !required },
        Probe { bound: "null", value: Some(Value::Null), right: !required },
    ];
    probes.extend(of_types(values));
    probes.extend(of_amounts(values));
    if let (Some(most), Some("string")) = (values["maxItems"].as_u64(), values["items"]["type"].as_str()) {
        let one = text_of(&values["items"], 24);
        probes.push(right("maxItems", json!(vec![one.clone(); most as usize])));
        probes.push(wrong("maxItems", json!(vec![one; most as usize + 1])));
        probes.push(wrong("items", json!([""])));
        probes.push(wrong("items", json!([7])));
    }
    if let Some(least) = values["minItems"].as_u64() {
        probes.push(wrong("minItems", json!(vec![json!({}); least as usize - 1])));
    }
    // A reference that is long names nothing, which is for the records to say.
    if let Some(most) = values["maxLength"].as_u64().filter(|_| field != "since") {
        probes.push(right("maxLength", json!(text_of(values, most as usize))));
        probes.push(wrong("maxLength", json!(text_of(values, most as usize + 1))));
        // Characters count, not bytes, and not the white space around them.
        if values["pattern"].as_str().is_none_or(|pattern| pattern == r"\S") && field != "_id" {
            probes.push(right("maxLength", json!("é".repeat(most as usize))));
            probes.push(right("maxLength", json!(format!("  {} ", "x".repeat(most as usize)))));
        }
    }
    if let Some(least) = values["minLength"].as_u64() {
        probes.push(right("minLength", json!(text_of(values, least as usize))));
        probes.push(wrong("minLength", json!("")));
    }
    if let Some(pattern) = values["pattern"].as_str() {
        probes.extend(off(pattern).iter().map(|text| wrong("pattern", json!(text))));
    }
    for text in values["enum"].as_array().into_iter().flatten() {
        probes.push(right("enum", text.clone()));
        probes.push(wrong("enum", json!(format!("{}x", text.as_str().unwrap_or_default()))));
    }
    probes
}

/// Another type is refused, if the document names types at all.
fn of_types(values: &Value) -> Vec<Probe> {
    let types = match &values["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let others = [
        ("string", json!("x")),
        ("number", json!(1.5)),
        ("boolean", json!(true)),
        ("array", json!([1])),
        ("object", json!({"a": 1})),
    ];
    let others = others.into_iter().filter(|(name, _)| !types.contains(name));
    others.map(|(_, value)| Probe { bound: "type", value: Some(value), right: false }).collect()
}

/// Amounts have 4 decimal places, and bounds hold after rounding to these.
fn of_amounts(values: &Value) -> Vec<Probe> {
    const STEP: f64 = 0.0001;
    let bounds = [("minimum", -STEP), ("maximum", STEP)];
    let stated = bounds.into_iter().filter_map(|(bound, outwards)| Some((bound, values[bound].as_f64()?, outwards)));
    let probe = |bound, value: f64, right| Probe { bound, value: Some(json!(value)), right };
    stated.flat_map(|(bound, limit, out)| [probe(bound, limit, true), probe(bound, limit + out, false)]).collect()
}

/// A text of so many characters that is otherwise right.
fn text_of(values: &Value, characters: usize) -> String {
    let digit = if values["pattern"].as_str().is_some_and(|pattern| pattern.contains("A-Fa-f")) { "a" } else { "7" };
    digit.repeat(characters)
}

/// Texts that a pattern of the document refuses.
fn off(pattern: &str) -> Vec<&'static str> {
    match pattern {
        r"\S" => vec!["", "   "],
        "^[!-~]+$" => vec!["", "two words", "é", "a\tb"],
        _ if pattern.contains("A-Fa-f") => {
            vec!["", "64b00000000000000000000", "64b0000000000000000000000", "64b00000000000000000000g"]
        }
        _ if pattern.contains("T(") => {
            vec![
                "",
                "2025-13-01",
                "2025-01-32",
                "2025-1-2",
                "12-01-2025",
                "2025-01-12T10:00:00",
                "2025-01-12T25:00:00Z",
            ]
        }
        other => panic!("what does {other} refuse?"),
    }
}

/// Sends one probe as a client of its own; a sentence, if the server says otherwise than the document.
fn try_out(server: &Server, shape: &Shape, field: &str, probe: &Probe) -> Option<String> {
    let phone = Phone::new(server);
    let mut body = shape.body.clone();
    let owner: &mut Map<String, Value> = body.pointer_mut(shape.at).unwrap().as_object_mut().unwrap();
    surround(owner, shape, field, probe);
    match &probe.value {
        Some(value) => drop(owner.insert(field.to_owned(), value.clone())),
        None => drop(owner.remove(field)),
    }
    let answer = phone.send(Request::new("POST", shape.path).json(&body));
    let said = answer.json();
    let about = |path: &str| {
        said["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|error| error["path"].as_str().is_some_and(|told| told.starts_with(path)))
    };
    let place = format!("{}/{field}", shape.at);
    let fine = match (probe.right, answer.status) {
        // The records may say no to what is well-formed.
        (true, 200) => true,
        (true, 422) => !about(&place) || said["errors"][0]["code"] == "not_found" || field == "paidAmount",
        (false, 400) => about(&place) || said["errors"][0]["path"] == "",
        (false, 403) => field == "clientId",
        _ => false,
    };
    let told: String = probe.value.as_ref().map_or("nothing".to_owned(), Value::to_string).chars().take(60).collect();
    let expected = if probe.right { "taken" } else { "refused" };
    let said: String = said.to_string().chars().take(300).collect();
    (!fine).then(|| {
        format!("{} {place} {}: {told} should be {expected}: {} {said}", shape.schema, probe.bound, answer.status)
    })
}

/// Makes room for a value that is right by itself, where a rule about several fields would be in its way.
fn surround(owner: &mut Map<String, Value>, shape: &Shape, field: &str, probe: &Probe) {
    match (shape.schema, field) {
        ("NewInvoice", "paidAmount") => drop(owner.insert("totalAmount".to_owned(), json!(99_999_999_999.999_9_f64))),
        ("NewInvoice", "totalTax" | "totalDiscount" | "subtotal") => {
            drop(owner.insert("totalAmount".to_owned(), json!(1)))
        }
        ("NewLine", "costPerUnit") if probe.value.as_ref().is_some_and(|value| value.as_f64().is_some()) => {
            // The price of a new item is not below 0, that of one there is may be. Which one it is, the records say.
            owner.insert("productId".to_owned(), json!("some-item"));
        }
        ("NewLine", "itemName" | "costPerUnit") if probe.right => {
            owner.insert("productId".to_owned(), json!("some-item"));
        }
        _ => {}
    }
}

const FEWEST_PROBES: usize = 300;
