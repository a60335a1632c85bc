//! Writes what a shop's phones do: batches with references that are filled in when the phone sends them.
//!
//! Every new record gets a mark that no other of the history has (in `description`, `notes` or `note`), so that its
//! id can be told from the dataset even when no answer came. A text that begins with `@` stands for something that
//! the phone knows by then; `device.rs` fills it in.

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

/// The source of all chance of one history.
pub struct Author {
    rng: TestRng,
    marks: u32,
    /// The highest alias of the batches so far: a phone never numbers two records of a table alike.
    aliases: usize,
    /// The local ids so far, each with its kind; whether they were ever applied is another matter.
    local_ids: Vec<(&'static str, String)>,
}

impl Author {
    /// The author of the history of this seed.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes), marks: 0, aliases: 0, local_ids: vec![] }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// What a phone has in its queue; a `fresh` shop has nothing to refer to but what the queue itself makes.
    pub fn batch(&mut self, fresh: bool) -> Value {
        let items: Vec<_> = (0..self.pick(&[0, 1, 1, 2])).map(|index| self.item(index + 1)).collect();
        let known = if fresh { 0 } else { 2 };
        let item = Sight { made: items.len(), known, kind: "item" };
        let updates: Vec<_> = (0..self.pick(&[0, 0, 0, 1, 2])).filter_map(|_| self.update(item)).collect();
        let deletes: Vec<_> = (0..self.pick(&[0, 0, 0, 0, 1])).filter_map(|_| self.reference(item)).collect();
        let invoices: Vec<_> = (0..self.pick(&[0, 1, 1, 2])).map(|index| self.invoice(index + 1, item)).collect();
        let invoice = Sight { made: invoices.len(), known, kind: "invoice" };
        let payments: Vec<_> =
            (0..self.pick(&[0, 0, 1, 2])).filter_map(|index| self.payment(index + 1, invoice, &invoices)).collect();
        let mut batch = json!({
            "item": {"create": items, "update": updates, "delete": deletes},
            "invoice": {"create": invoices},
            "payment": {"create": payments},
        });
        if self.one_in(16) {
            self.spoil(&mut batch);
        }
        if self.one_in(20) {
            self.say_twice(&mut batch);
        }
        self.aliases += 2;
        batch
    }

    /// A first batch, so that phones that go on at once have records to meet at.
    pub fn opening(&mut self) -> Value {
        let items: Vec<_> = (0..2).map(|number| self.item(number + 1)).collect();
        let invoice = |customer: Value, mark: Value| {
            json!({
                "clientCustomerId": customer, "notes": mark,
                "products": [{"itemName": "Rice", "costPerUnit": 2.5, "quantity": 4, "description": mark}],
            })
        };
        let invoices = [invoice(json!(ELSEWHERE), self.mark()), invoice(Value::Null, self.mark())];
        self.aliases += 2;
        json!({"item": {"create": items}, "invoice": {"create": invoices}})
    }

    fn item(&mut self, number: usize) -> Value {
        let mut item = json!({
            "name": self.pick(&["Tea", "Samosa", "Jalebi", "Rice"]),
            "price": self.pick(PRICES),
            "description": self.mark(),
        });
        if !self.one_in(4) {
            item["stock"] = json!(self.pick(STOCKS));
        }
        if !self.one_in(6) {
            item["_id"] = self.alias(number);
        }
        self.identify("item", &mut item);
        if self.one_in(6) {
            item["unit"] = json!("kg");
            item["lowStockQuantity"] = json!(2.5);
        }
        if self.one_in(10) {
            item["groupId"] = json!(ELSEWHERE);
            item["dealerIds"] = json!([ELSEWHERE]);
        }
        if self.one_in(10) {
            item["colour"] = json!("green");
        }
        item
    }

    fn update(&mut self, items: Sight) -> Option<Value> {
        let mut change = json!({"_id": self.reference(items)?});
        for (field, value) in [
            ("price", json!(self.pick(PRICES))),
            ("stock", json!(self.pick(STOCKS))),
            ("name", json!("Renamed")),
            ("isActive", json!(self.pick(&[true, false]))),
            ("groupId", self.pick(&[json!(ELSEWHERE), Value::Null])),
            ("unit", Value::Null),
        ] {
            if self.one_in(3) {
                change[field] = value;
            }
        }
        Some(change)
    }

    fn invoice(&mut self, number: usize, items: Sight) -> Value {
        let lines: Vec<_> = (0..self.pick(&[1, 1, 2, 3])).map(|_| self.line(items)).collect();
        let mut invoice = json!({"products": lines, "notes": self.mark()});
        if !self.one_in(6) {
            invoice["_id"] = self.alias(number);
        }
        self.identify("invoice", &mut invoice);
        if self.one_in(2) {
            invoice["clientCustomerId"] = json!(ELSEWHERE);
            invoice["clientCustomerPhone"] = json!("9800000001");
            invoice["clientCustomerName"] = json!("Asha");
        }
        match self.below(8) {
            0..3 => invoice["totalAmount"] = json!(self.pick(&[0.0, 0.3, 10.0, 99.99])),
            3 => invoice["totalDiscount"] = json!(self.pick(&[0.1, 0.5, 5.0])),
            4 => invoice["totalTax"] = json!(3.65),
            5 => invoice["subtotal"] = json!(self.pick(&[0.3, 25.0])),
            _ => {}
        }
        let total = invoice["totalAmount"].clone();
        if !total.is_null() && self.one_in(3) {
            invoice["paidAmount"] = total;
        } else if self.one_in(12) {
            invoice["paidAmount"] = json!(self.pick(&[0.1, 1.0, 10.0]));
        }
        if self.one_in(6) {
            invoice["invoiceNumber"] = json!(self.pick(&["INV-000002", "INV-000004", "A-1"]));
        }
        if self.one_in(3) {
            invoice["invoiceDate"] = json!("2025-01-12");
        }
        invoice
    }

    fn line(&mut self, items: Sight) -> Value {
        let mut line = json!({"quantity": self.pick(QUANTITIES)});
        match self.reference(items).filter(|_| !self.one_in(4)) {
            Some(item) => {
                line["productId"] = item;
                if self.one_in(5) {
                    line["costPerUnit"] = json!(self.pick(&[7.0, 0.1, -1.0]));
                }
                if self.one_in(5) {
                    line["itemName"] = json!("Printed otherwise");
                }
            }
            None => {
                line["itemName"] = json!("Made by a line");
                line["costPerUnit"] = json!(self.pick(PRICES));
                line["description"] = self.mark();
                if self.one_in(2) {
                    line["stock"] = json!(self.pick(STOCKS));
                }
            }
        }
        if self.one_in(6) {
            line["itemGroup"] = json!("Snacks");
        }
        line
    }

    /// Mostly what is owed on an invoice or a part of it, at times too much.
    fn payment(&mut self, number: usize, invoices: Sight, made: &[Value]) -> Option<Value> {
        let invoice = self.reference(invoices)?;
        let amount = match invoice.as_str().and_then(|known| known.strip_prefix("@invoice/")) {
            Some(known) if self.one_in(8) => json!(format!("@over/{known}")),
            Some(known) if self.one_in(2) => json!(format!("@due/{known}")),
            Some(_) => json!(self.pick(&[0.1, 0.2, 1.0, 3.0])),
            None => {
                let new = made.iter().find(|new| new["_id"] == invoice && new["paidAmount"].is_null());
                let total = new.map(|new| new["totalAmount"].clone()).filter(|total| total.as_f64() > Some(0.0));
                total.unwrap_or(json!(self.pick(&[0.1, 0.1, 0.2, 1.0])))
            }
        };
        let mut payment = json!({"invoiceId": invoice, "amount": amount, "note": self.mark()});
        if self.one_in(2) {
            payment["_id"] = self.alias(number);
        }
        self.identify("payment", &mut payment);
        if self.one_in(3) {
            payment["method"] = json!("upi");
            payment["paidAt"] = json!("2025-01-13");
        }
        Some(payment)
    }

    /// A record of this batch, one that the phone knows, rarely one of another client or none at all.
    fn reference(&mut self, sight: Sight) -> Option<Value> {
        if sight.made + sight.known == 0 {
            return None;
        }
        Some(match self.below(120) {
            0 => json!(format!("@foreign/{}", sight.kind)),
            1 => json!(NOTHING),
            2..8 if self.local_ids.iter().any(|(kind, _)| *kind == sight.kind) => {
                let of_kind: Vec<_> = self.local_ids.iter().filter(|(kind, _)| *kind == sight.kind).cloned().collect();
                json!(self.pick(&of_kind).1)
            }
            _ if self.below(sight.made + sight.known) < sight.made => {
                let number = self.below(sight.made) + 1;
                self.alias(number)
            }
            _ => json!(format!("@{}/{}", sight.kind, self.below(6))),
        })
    }

    /// What the record of this number in this batch is called, which phones spell in more than one way.
    fn alias(&mut self, number: usize) -> Value {
        let number = self.aliases + number;
        if self.one_in(4) { json!(number.to_string()) } else { json!(number) }
    }

    /// Half of the records get a name for ever.
    fn identify(&mut self, kind: &'static str, new: &mut Value) {
        if self.one_in(2) {
            let local_id = format!("{kind}-local-{}", self.local_ids.len());
            new["localId"] = json!(local_id);
            self.local_ids.push((kind, local_id));
        }
    }

    /// Names a record of any kind like an earlier one, or creates one twice.
    fn say_twice(&mut self, batch: &mut Value) {
        if self.local_ids.is_empty() || self.one_in(2) {
            let items = batch["item"]["create"].as_array_mut().expect("a list");
            let again = items.iter().find(|item| item["localId"].is_string()).cloned();
            items.extend(again);
        } else {
            let (_, local_id) = self.pick(&self.local_ids.clone());
            let mut payment = json!({"invoiceId": NOTHING, "amount": 1, "note": self.mark()});
            payment["localId"] = json!(local_id);
            batch["payment"]["create"].as_array_mut().expect("a list").push(payment);
        }
    }

    /// Adds something that is wrong whatever the books say.
    fn spoil(&mut self, batch: &mut Value) {
        let mark = self.mark();
        let mut add = |path: &str, operation: Value| {
            batch.pointer_mut(path).and_then(Value::as_array_mut).expect("a list").push(operation);
        };
        match self.below(10) {
            0 => add("/item/create", json!({"price": 1, "description": mark})),
            1 => add("/item/create", json!({"name": "Tea", "price": "1", "description": mark})),
            2 => add("/item/update", json!({"price": 1})),
            3 => add("/invoice/create", json!({"products": [], "notes": mark})),
            4 => add(
                "/invoice/create",
                json!({"products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 0}], "notes": mark}),
            ),
            5 => add("/payment/create", json!({"invoiceId": NOTHING, "amount": 0.00004, "note": mark})),
            6 => add("/payment/create", json!({"invoiceId": NOTHING, "note": mark})),
            7 => add("/payment/create", json!({"invoiceId": NOTHING, "amount": 1, "note": mark})),
            shared => {
                add("/item/create", json!({"_id": "twin", "name": "Tea", "price": 1, "description": mark}));
                add("/item/create", json!({"_id": "twin", "name": "Tea", "price": 1, "description": self.mark()}));
                if shared == 8 {
                    add("/item/delete", json!("twin"));
                }
            }
        }
    }

    /// A text that stands in one record of the history only.
    fn mark(&mut self) -> Value {
        self.marks += 1;
        json!(format!("mark {}", self.marks))
    }
}

/// What a reference of one kind may name: so many records that this batch makes, and whether any are known.
#[derive(Clone, Copy)]
struct Sight {
    made: usize,
    known: usize,
    kind: &'static str,
}

/// The id of nothing.
const NOTHING: &str = "00000000000000000000dead";

/// The id of a group, dealer or customer, who are made by other services.
const ELSEWHERE: &str = "690000000000000000000001";

const PRICES: &[f64] = &[0.0, 1.0, 2.5, 12.5, 0.1, 0.2, 19.99, 1.000_05, 0.300_000_000_000_000_04, 33.3333, 1000.0];
const STOCKS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 0.3, 10.0, 100.0];
const QUANTITIES: &[f64] = &[1.0, 1.0, 2.0, 3.0, 0.5, 0.1, 0.3333, 7.0];
