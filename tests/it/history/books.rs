//! The model: what one client's books must be, by the words of the contract and as plainly as they can be said.
//!
//! It shares no code with the server. It reads batches as JSON, computes in whole ten-thousandths, applies one
//! operation after the other to a copy of itself and throws the copy away if anything is wrong with one of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::numbers::{json_number, rounded, ten_thousandths};
use super::shape;

/// One client's books.
#[derive(Clone, Debug)]
pub struct Books {
    client: String,
    /// How many batches were committed.
    pub revision: u64,
    next_number: u64,
    items: BTreeMap<String, Item>,
    invoices: BTreeMap<String, Invoice>,
    payments: BTreeMap<String, Payment>,
    purchases: BTreeMap<String, Purchase>,
    receipts: BTreeMap<String, (Value, Receipt)>,
    /// What the phones made, by the names that they gave it for ever.
    local: BTreeMap<String, Local>,
}

/// A record that was made with a `localId`.
#[derive(Clone, Debug)]
struct Local {
    kind: &'static str,
    id: String,
    /// What the create said, with ids for what it referred to.
    content: Value,
}

#[derive(Clone, Debug)]
struct Item {
    name: String,
    price: i128,
    stock: i128,
    low_stock: i128,
    unit: String,
    description: String,
    group: Value,
    dealers: Value,
    active: bool,
    touched: u64,
}

#[derive(Clone, Debug)]
struct Invoice {
    fields: Map<String, Value>,
    customer: Option<String>,
    phone: String,
    number: String,
    total: i128,
    paid: i128,
    finalized: bool,
    touched: u64,
}

#[derive(Clone, Debug)]
struct Payment {
    fields: Map<String, Value>,
    touched: u64,
}

#[derive(Clone, Debug)]
struct Purchase {
    fields: Map<String, Value>,
    touched: u64,
}

/// What the server says of a commit, now and to every retry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// The client's revision after the batch.
    pub revision: u64,
    /// How many operations were applied, by the five names of `synced`.
    pub applied: BTreeMap<&'static str, u64>,
    /// How many creates had been applied before.
    pub already_applied: u64,
    /// The ids in operation order, by the five names of `synced`.
    pub synced: BTreeMap<&'static str, Vec<String>>,
    /// From alias to id, by kind.
    pub id_map: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// The warnings, with `$any` for their texts.
    pub warnings: Vec<Value>,
}

/// What must come of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Applied now.
    Committed(Receipt),
    /// Applied before, under the same key.
    Replayed(Receipt),
    /// Nothing was asked for but the data.
    Pulled,
    /// Nothing was applied.
    Refused(Refusal),
}

/// Why nothing was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code.
    pub code: &'static str,
    /// Path and code of each problem, sorted.
    pub problems: Vec<(String, &'static str)>,
}

impl Refusal {
    /// A refusal for these problems.
    pub fn new(status: u16, code: &'static str, mut problems: Vec<(String, &'static str)>) -> Self {
        problems.sort();
        Self { status, code, problems }
    }
}

/// Where the ids of new records come from: the server makes them, and a record's mark tells which one is meant.
pub trait NewIds {
    /// The id of the record of this list of the dataset with this mark (for a purchase: its invoice).
    fn id(&mut self, list: &'static str, mark: &str) -> String;
}

impl Books {
    /// The books of a client of which nothing was ever written.
    pub fn new(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            revision: 0,
            next_number: 1,
            items: BTreeMap::new(),
            invoices: BTreeMap::new(),
            payments: BTreeMap::new(),
            purchases: BTreeMap::new(),
            receipts: BTreeMap::new(),
            local: BTreeMap::new(),
        }
    }

    /// Takes a request and says what must come of it.
    pub fn submit(&mut self, key: Option<&str>, body: &Value, ids: &mut dyn NewIds) -> Outcome {
        if body["clientId"].as_str().is_some_and(|client| !client.eq_ignore_ascii_case(&self.client)) {
            return Outcome::Refused(Refusal::new(403, "client_mismatch", vec![]));
        }
        let problems = shape::problems(body);
        if !problems.is_empty() {
            return Outcome::Refused(Refusal::new(400, "invalid_batch", problems));
        }
        if LISTS.iter().all(|path| operations(body, path).is_empty()) {
            return Outcome::Pulled;
        }
        let payload = canonical(body);
        match key.and_then(|key| self.receipts.get(key)) {
            Some((known, receipt)) if *known == payload => return Outcome::Replayed(receipt.clone()),
            Some(_) => return Outcome::Refused(Refusal::new(422, "idempotency_key_reused", vec![])),
            None => {}
        }
        let mut after = self.clone();
        after.revision += 1;
        let mut work = Work {
            books: &mut after,
            ids,
            aliases: BTreeMap::new(),
            stated_numbers: stated_numbers(body),
            problems: vec![],
            receipt: empty(),
        };
        work.apply(body);
        let (problems, mut receipt) = (work.problems, work.receipt);
        if !problems.is_empty() {
            return Outcome::Refused(Refusal::new(422, "batch_rejected", problems));
        }
        if receipt.applied.values().all(|count| *count == 0) {
            after.revision = self.revision; // a batch that was known altogether writes nothing
        }
        receipt.revision = after.revision;
        if let Some(key) = key {
            after.receipts.insert(key.to_owned(), (payload, receipt.clone()));
        }
        *self = after;
        Outcome::Committed(receipt)
    }

    /// The dataset as the answer must show it, with placeholders for what the server's clock says.
    pub fn dataset(&self) -> Value {
        json!({
            "itemGroups": [],
            "items": self.items.iter().map(|(id, item)| self.item_record(id, item)).collect::<Vec<_>>(),
            "clientCustomers": [],
            "invoices": self.invoices.iter().map(|(id, invoice)| self.invoice_record(id, invoice)).collect::<Vec<_>>(),
            "payments": self.payments.iter().map(|(id, kept)| self.record(id, &kept.fields)).collect::<Vec<_>>(),
            "purchaseHistory":
                self.purchases.iter().map(|(id, kept)| self.record(id, &kept.fields)).collect::<Vec<_>>(),
        })
    }

    /// The revision that last wrote each record, by the list it is in and its id.
    pub fn touched(&self) -> BTreeMap<(&'static str, &str), u64> {
        let items = self.items.iter().map(|(id, item)| (("items", id.as_str()), item.touched));
        let invoices = self.invoices.iter().map(|(id, invoice)| (("invoices", id.as_str()), invoice.touched));
        let payments = self.payments.iter().map(|(id, payment)| (("payments", id.as_str()), payment.touched));
        let purchases = self.purchases.iter().map(|(id, kept)| (("purchaseHistory", id.as_str()), kept.touched));
        items.chain(invoices).chain(payments).chain(purchases).collect()
    }

    /// Whether a record of this list with this id is known.
    pub fn knows(&self, list: &str, id: &str) -> bool {
        match list {
            "items" => self.items.contains_key(id),
            "invoices" => self.invoices.contains_key(id),
            "payments" => self.payments.contains_key(id),
            _ => self.purchases.contains_key(id),
        }
    }

    fn item_record(&self, id: &str, item: &Item) -> Value {
        let fields = json!({
            "productId": id, "groupId": item.group, "name": item.name, "price": json_number(item.price),
            "stock": json_number(item.stock), "lowStockQuantity": json_number(item.low_stock), "unit": item.unit,
            "description": item.description, "dealerIds": item.dealers, "isActive": item.active,
        });
        self.record(id, fields.as_object().expect("an object"))
    }

    fn invoice_record(&self, id: &str, invoice: &Invoice) -> Value {
        let mut record = self.record(id, &invoice.fields);
        record["clientCustomerId"] = json!(invoice.customer);
        record["clientCustomerPhone"] = json!(invoice.phone);
        record["invoiceNumber"] = json!(invoice.number);
        record["totalAmount"] = json_number(invoice.total);
        record["paidAmount"] = json_number(invoice.paid);
        record["isFinalized"] = json!(invoice.finalized);
        record
    }

    /// What every record has, and these fields.
    fn record(&self, id: &str, fields: &Map<String, Value>) -> Value {
        let mut record = json!({"_id": id, "clientId": self.client, "createdAt": "$time", "updatedAt": "$time"});
        record.as_object_mut().expect("an object").extend(fields.clone());
        if let Some((local_id, _)) = self.local.iter().find(|(_, local)| local.id == id) {
            record["localId"] = json!(local_id);
        }
        record
    }
}

/// One batch while it is applied, to books that are kept only if nothing is wrong.
struct Work<'a> {
    books: &'a mut Books,
    ids: &'a mut dyn NewIds,
    /// From kind and alias to what the alias stands for: `None` is a record that was refused.
    aliases: BTreeMap<(&'static str, String), Option<String>>,
    stated_numbers: Vec<String>,
    problems: Vec<(String, &'static str)>,
    receipt: Receipt,
}

impl Work<'_> {
    fn apply(&mut self, body: &Value) {
        self.warn_of_unknown_fields(body);
        for (path, new) in operations(body, "/item/create") {
            self.create_item(&path, new);
        }
        for (path, change) in operations(body, "/item/update") {
            self.update_item(&path, change);
        }
        for (path, reference) in operations(body, "/item/delete") {
            match self.item(reference) {
                Some(id) => {
                    self.change(&id).active = false;
                    self.sync("itemsDeleted", &id);
                }
                None => self.problem(path, "not_found"),
            }
        }
        for (path, new) in operations(body, "/invoice/create") {
            self.create_invoice(&path, new);
        }
        for (path, new) in operations(body, "/payment/create") {
            self.create_payment(&path, new);
        }
        self.forget_shared_aliases(body);
    }

    fn create_item(&mut self, path: &str, new: &Value) {
        if self.is_known("items", "itemsCreated", path, new) {
            return;
        }
        let id = self.ids.id("items", text(&new["description"]));
        let item = Item {
            name: text(&new["name"]).to_owned(),
            price: amount(&new["price"], 0),
            stock: amount(&new["stock"], 0),
            low_stock: amount(&new["lowStockQuantity"], 50_000),
            unit: new["unit"].as_str().unwrap_or("nos").to_owned(),
            description: text(&new["description"]).to_owned(),
            group: new["groupId"].clone(),
            dealers: new.get("dealerIds").cloned().unwrap_or(json!([])),
            active: true,
            touched: self.books.revision,
        };
        self.warn_of_unknown_references(path, new);
        self.books.items.insert(id.clone(), item);
        self.name("items", new, &id);
        self.sync("itemsCreated", &id);
    }

    /// Whether a create was applied before, by its `localId`; then its record is told and nothing else is done.
    fn is_known(&mut self, kind: &'static str, list: &'static str, path: &str, new: &Value) -> bool {
        let Some(local_id) = new["localId"].as_str() else { return false };
        let Some(known) = self.books.local.get(local_id).cloned() else {
            // The name is taken from now on, even if the record itself is refused.
            let local = Local { kind, id: String::new(), content: self.content(new) };
            self.books.local.insert(local_id.to_owned(), local);
            return false;
        };
        if known.kind != kind {
            self.problem(format!("{path}/localId"), "local_id_taken");
            self.name_refused(kind, new);
            return true;
        }
        let differs = known.content != self.content(new);
        self.warn(json!({
            "code": "already_applied", "path": path, "message": "$any", "localId": new["localId"], "id": known.id,
            "differs": differs,
        }));
        self.receipt.already_applied += 1;
        self.receipt.synced.get_mut(list).expect("a list").push(known.id.clone());
        self.note_names(kind, new, &known.id);
        true
    }

    /// What a create says: all but its names, and ids for what it refers to.
    fn content(&self, new: &Value) -> Value {
        let mut content = canonical(new);
        let members = content.as_object_mut().expect("a checked shape");
        members.retain(|name, _| !["_id", "localId", "colour"].contains(&name.as_str()));
        if let Some(id) = self.invoice(&new["invoiceId"]) {
            members["invoiceId"] = json!(id);
        }
        for line in members.get_mut("products").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(id) = self.item(&line["productId"]) {
                line["productId"] = json!(id);
            }
        }
        content
    }

    fn update_item(&mut self, path: &str, change: &Value) {
        let Some(id) = self.item(&change["_id"]) else {
            return self.problem(format!("{path}/_id"), "not_found");
        };
        self.warn_of_unknown_references(path, change);
        let item = self.change(&id);
        for (field, value) in change.as_object().expect("a checked shape") {
            match (field.as_str(), value) {
                ("groupId", value) => item.group = value.clone(),
                (_, Value::Null) => {}
                ("name", value) => item.name = text(value).to_owned(),
                ("price", value) => item.price = amount(value, 0),
                ("stock", value) => item.stock = amount(value, 0),
                ("lowStockQuantity", value) => item.low_stock = amount(value, 0),
                ("unit", value) => item.unit = text(value).to_owned(),
                ("dealerIds", value) => item.dealers = value.clone(),
                ("isActive", value) => item.active = value == &json!(true),
                _ => {}
            }
        }
        self.sync("itemsUpdated", &id);
    }

    fn create_invoice(&mut self, path: &str, new: &Value) {
        if self.is_known("invoices", "invoicesCreated", path, new) {
            return;
        }
        let mut lines = vec![];
        let mut sum = 0; // in hundred-millionths
        let found_before = self.problems.len();
        for (index, line) in list(&new["products"]).iter().enumerate() {
            let at = format!("{path}/products/{index}");
            let Some(id) = self.sold_item(&at, line) else { continue };
            let item = &self.books.items[&id];
            let cost = amount(&line["costPerUnit"], item.price);
            let quantity = amount(&line["quantity"], 0);
            sum += cost * quantity;
            lines.push(json!({
                "productId": id, "itemName": line["itemName"].as_str().unwrap_or(&item.name),
                "costPerUnit": json_number(cost), "quantity": json_number(quantity),
                "itemGroup": text(&line["itemGroup"]),
            }));
            self.sell(&at, &id, quantity);
        }
        let (tax, discount) = (amount(&new["totalTax"], 0), amount(&new["totalDiscount"], 0));
        let subtotal = amount(&new["subtotal"], rounded(sum));
        let total = amount(&new["totalAmount"], subtotal + tax - discount);
        let paid = amount(&new["paidAmount"], 0);
        if self.problems.len() == found_before && total < 0 {
            self.problem(format!("{path}/totalAmount"), "negative_total");
        } else if self.problems.len() == found_before && paid > total {
            self.problem(format!("{path}/paidAmount"), "paid_exceeds_total");
        }
        if self.problems.len() > found_before {
            return self.name_refused("invoices", new);
        }

        let id = self.ids.id("invoices", text(&new["notes"]));
        let fields = json!({
            "clientCustomerName": text(&new["clientCustomerName"]), "invoiceDate": date(&new["invoiceDate"]),
            "dueDate": null, "subtotal": json_number(subtotal), "totalTax": json_number(tax),
            "totalDiscount": json_number(discount), "notes": text(&new["notes"]), "products": lines,
        });
        let invoice = Invoice {
            fields: fields.as_object().expect("an object").clone(),
            customer: new["clientCustomerId"].as_str().map(str::to_owned),
            phone: text(&new["clientCustomerPhone"]).to_owned(),
            number: "".to_owned(),
            total,
            paid,
            finalized: paid >= total,
            touched: self.books.revision,
        };
        if let Some(customer) = &invoice.customer {
            let path = format!("{path}/clientCustomerId");
            self.warn(json!({"code": "unknown_reference", "path": path, "message": "$any", "id": customer}));
        }
        self.books.invoices.insert(id.clone(), invoice);
        self.number(&id, new);
        self.name("invoices", new, &id);
        self.sync("invoicesCreated", &id);
        self.enter_in_history(&id);
    }

    /// The item that a line sells: one that it names, or else a new one.
    fn sold_item(&mut self, path: &str, line: &Value) -> Option<String> {
        if !line["productId"].is_null() {
            let id = self.item(&line["productId"]);
            if id.is_none() {
                self.problem(format!("{path}/productId"), "not_found");
            }
            return id;
        }
        let id = self.ids.id("items", text(&line["description"]));
        let item = Item {
            name: text(&line["itemName"]).to_owned(),
            price: amount(&line["costPerUnit"], 0),
            stock: amount(&line["stock"], 0),
            low_stock: 50_000,
            unit: line["unit"].as_str().unwrap_or("nos").to_owned(),
            description: text(&line["description"]).to_owned(),
            group: Value::Null,
            dealers: json!([]),
            active: true,
            touched: self.books.revision,
        };
        self.books.items.insert(id.clone(), item);
        self.sync("itemsCreated", &id);
        Some(id)
    }

    /// Stock falls if there is enough of it.
    fn sell(&mut self, path: &str, id: &str, quantity: i128) {
        let available = self.books.items[id].stock;
        if available >= quantity {
            self.change(id).stock -= quantity;
        } else {
            self.warn(json!({
                "code": "insufficient_stock", "path": path, "message": "$any", "itemId": id,
                "available": json_number(available), "requested": json_number(quantity),
            }));
        }
    }

    /// The number that the phone gives, or the next one that no invoice has, stored or of this whole batch.
    fn number(&mut self, id: &str, new: &Value) {
        let stated = new["invoiceNumber"].as_str().map(str::to_owned);
        let number = stated.unwrap_or_else(|| {
            loop {
                let number = format!("INV-{:06}", self.books.next_number);
                self.books.next_number += 1;
                let stored = self.books.invoices.values().any(|invoice| invoice.number == number);
                if !stored && !self.stated_numbers.contains(&number) {
                    break number;
                }
            }
        });
        self.books.invoices.get_mut(id).expect("it was just made").number = number;
    }

    fn create_payment(&mut self, path: &str, new: &Value) {
        if self.is_known("payments", "paymentsCreated", path, new) {
            return;
        }
        let Some(id) = self.invoice(&new["invoiceId"]) else {
            // An invoice of this batch that was refused itself is problem enough.
            if self.named("invoices", &new["invoiceId"]).is_none() {
                self.problem(format!("{path}/invoiceId"), "not_found");
            }
            return;
        };
        let paid = amount(&new["amount"], 0);
        let invoice = self.books.invoices.get_mut(&id).expect("it was found");
        if paid > invoice.total - invoice.paid {
            return self.problem(format!("{path}/amount"), "exceeds_balance");
        }
        invoice.paid += paid;
        invoice.finalized = invoice.paid >= invoice.total;
        invoice.touched = self.books.revision;
        let payment = self.ids.id("payments", text(&new["note"]));
        let fields = json!({
            "invoiceId": id, "amount": json_number(paid), "method": new["method"].as_str().unwrap_or("cash"),
            "note": text(&new["note"]), "paidAt": date(&new["paidAt"]),
        });
        let fields = fields.as_object().expect("an object").clone();
        self.books.payments.insert(payment.clone(), Payment { fields, touched: self.books.revision });
        self.name("payments", new, &payment);
        self.sync("paymentsCreated", &payment);
        self.enter_in_history(&id);
    }

    /// A finalised invoice with a customer is in the purchase history, once.
    fn enter_in_history(&mut self, invoice_id: &str) {
        let invoice = &self.books.invoices[invoice_id];
        let Some(customer) = invoice.customer.as_ref().filter(|_| invoice.finalized) else { return };
        let fields = json!({
            "clientCustomerId": customer, "clientCustomerPhone": invoice.phone, "invoiceId": invoice_id,
            "totalAmount": json_number(invoice.total),
        });
        if self.books.purchases.values().all(|purchase| purchase.fields["invoiceId"] != invoice_id) {
            let id = self.ids.id("purchaseHistory", invoice_id);
            let fields = fields.as_object().expect("an object").clone();
            self.books.purchases.insert(id, Purchase { fields, touched: self.books.revision });
        }
    }

    /// The item that a reference names.
    fn item(&self, reference: &Value) -> Option<String> {
        match self.named("items", reference) {
            Some(named) => named,
            None => self.local("items", reference).or_else(|| stored(&self.books.items, reference)),
        }
    }

    /// The invoice that a reference names.
    fn invoice(&self, reference: &Value) -> Option<String> {
        match self.named("invoices", reference) {
            Some(named) => named,
            None => self.local("invoices", reference).or_else(|| stored(&self.books.invoices, reference)),
        }
    }

    /// What a create of this batch is called like that, if one is; it may have been refused.
    fn named(&self, kind: &'static str, reference: &Value) -> Option<Option<String>> {
        self.aliases.get(&(kind, alias(reference)?)).cloned()
    }

    /// The record of this kind that once got this `localId`.
    fn local(&self, kind: &str, reference: &Value) -> Option<String> {
        let local = self.books.local.get(&alias(reference)?).filter(|local| local.kind == kind);
        local.map(|local| local.id.clone())
    }

    /// An item about to be written.
    fn change(&mut self, id: &str) -> &mut Item {
        let item = self.books.items.get_mut(id).expect("it was found");
        item.touched = self.books.revision;
        item
    }

    /// Notes what a new record is called, in this batch and for ever.
    fn name(&mut self, kind: &'static str, new: &Value, id: &str) {
        if let Some(local_id) = new["localId"].as_str() {
            self.books.local.get_mut(local_id).expect("it was claimed").id = id.to_owned();
        }
        self.note_names(kind, new, id);
    }

    /// Notes what a create is called in this batch.
    fn note_names(&mut self, kind: &'static str, new: &Value, id: &str) {
        for name in [&new["_id"], &new["localId"]].into_iter().filter_map(alias) {
            self.receipt.id_map.get_mut(kind).expect("a kind").insert(name.clone(), id.to_owned());
            self.aliases.insert((kind, name), Some(id.to_owned()));
        }
    }

    fn name_refused(&mut self, kind: &'static str, new: &Value) {
        for name in [&new["_id"], &new["localId"]].into_iter().filter_map(alias) {
            self.aliases.insert((kind, name), None);
        }
    }

    /// An alias that several creates carry stands for none of them.
    fn forget_shared_aliases(&mut self, body: &Value) {
        for (kind, path) in
            [("items", "/item/create"), ("invoices", "/invoice/create"), ("payments", "/payment/create")]
        {
            for alias in shape::shared_aliases(body, path) {
                self.receipt.id_map.get_mut(kind).expect("a kind").remove(&alias);
            }
        }
    }

    fn sync(&mut self, list: &'static str, id: &str) {
        self.receipt.synced.get_mut(list).expect("a list").push(id.to_owned());
        *self.receipt.applied.get_mut(list).expect("a list") += 1;
    }

    fn problem(&mut self, path: String, code: &'static str) {
        self.problems.push((path, code));
    }

    fn warn(&mut self, warning: Value) {
        self.receipt.warnings.push(warning);
    }

    /// The generator knows one field that the contract does not.
    fn warn_of_unknown_fields(&mut self, body: &Value) {
        for list in LISTS {
            for (path, operation) in operations(body, list) {
                if operation.get("colour").is_some() {
                    let path = format!("{path}/colour");
                    self.warn(json!({"code": "unknown_field", "path": path, "message": "$any"}));
                }
            }
        }
    }

    /// Groups and dealers are made elsewhere, and nothing is made elsewhere for the clients of these tests.
    fn warn_of_unknown_references(&mut self, path: &str, operation: &Value) {
        let group = operation["groupId"].as_str().map(|id| (format!("{path}/groupId"), id.to_owned()));
        let dealers = list(&operation["dealerIds"]).iter().enumerate();
        let dealers = dealers.map(|(index, id)| (format!("{path}/dealerIds/{index}"), text(id).to_owned()));
        for (path, id) in group.into_iter().chain(dealers) {
            self.warn(json!({"code": "unknown_reference", "path": path, "message": "$any", "id": id}));
        }
    }
}

/// The lists of a batch, in the order in which they are applied.
pub const LISTS: [&str; 5] = ["/item/create", "/item/update", "/item/delete", "/invoice/create", "/payment/create"];

/// The operations of a list, each with its path.
pub fn operations<'a>(body: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let operations = body.pointer(path).map(list).unwrap_or_default();
    operations.iter().enumerate().map(|(index, operation)| (format!("{path}/{index}"), operation)).collect()
}

/// A list that may be missing.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An alias or a reference as text; whole numbers and strings are the same.
pub fn alias(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        number => format!("{}", number.as_f64()?),
    };
    (!text.is_empty()).then_some(text)
}

/// The payload that a key stands for: the spelling of numbers and the client's id make no difference.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "clientId");
            members.map(|(name, value)| (name.clone(), canonical(value))).collect()
        }
        Value::Array(values) => values.iter().map(canonical).collect(),
        Value::Number(number) => number.as_f64().into(),
        other => other.clone(),
    }
}

/// The numbers that the phone gives to invoices of this batch.
fn stated_numbers(body: &Value) -> Vec<String> {
    let invoices = operations(body, "/invoice/create");
    invoices.iter().filter_map(|(_, invoice)| invoice["invoiceNumber"].as_str().map(str::to_owned)).collect()
}

/// The stored record that a reference names.
fn stored<T>(records: &BTreeMap<String, T>, reference: &Value) -> Option<String> {
    let id = reference.as_str()?.to_ascii_lowercase();
    records.contains_key(&id).then_some(id)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn amount(value: &Value, default: i128) -> i128 {
    ten_thousandths(value).unwrap_or(default)
}

/// A date, which the generator writes as `YYYY-MM-DD`, as the answer shows it; without one it is now.
fn date(value: &Value) -> String {
    value.as_str().map_or("$time".to_owned(), |day| format!("{day}T00:00:00.000Z"))
}

/// A receipt of nothing.
fn empty() -> Receipt {
    let synced = ["itemsCreated", "itemsUpdated", "itemsDeleted", "invoicesCreated", "paymentsCreated"];
    Receipt {
        revision: 0,
        applied: synced.into_iter().map(|list| (list, 0)).collect(),
        already_applied: 0,
        synced: synced.into_iter().map(|list| (list, vec![])).collect(),
        id_map: ["items", "invoices", "payments"].into_iter().map(|kind| (kind, BTreeMap::new())).collect(),
        warnings: vec![],
    }
}
