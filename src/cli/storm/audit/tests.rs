//! The audit against books that are right, and against the same books with one thing wrong.

use proptest::prelude::*;
use proptest::sample::Index as Pick;
use serde_json::{Value, json};

use super::*;
use crate::cli::storm::ledger::Fate;
use crate::cli::storm::script::{
    Bill, Kind, Luck, Mark, Opening, Order, Place, Product, Run, SHARED_ITEMS, Script, Units, customer,
};

const PHONES: u32 = 2;
const SYNCS: u32 = 4;

fn script(rebatch: f64) -> Script {
    let recipe = "24:item=4,update=4,delete=2,invoice=8,payment=6".parse().unwrap();
    Script { run: Run(0xabc), seed: 11, recipe, hangups: 40.0, rebatch, most_operations: 1_000 }
}

fn client() -> ObjectId {
    ObjectId::from_bytes([0xc1; 12])
}

/// Ledgers of phones that were told of everything, but for the last sync of each.
fn ledgers(script: &Script, last: Fate) -> Vec<Ledger> {
    let ledger = |phone| {
        let mut ledger = Ledger::default();
        for sync in 1..=SYNCS {
            ledger.begin();
            ledger.note(sync, if sync == SYNCS { last } else { Fate::Acknowledged });
            if script.luck(Place { shop: 0, phone, sync }) == Luck::LostAndRebatched {
                ledger.orphan(sync);
            }
        }
        ledger
    };
    (1..=PHONES).map(ledger).collect()
}

/// A shop's dataset as the API would show it, kept by the contract and in JSON.
struct Shop<'a> {
    script: &'a Script,
    revision: u64,
    data: Value,
}

impl<'a> Shop<'a> {
    /// The books after all syncs of all phones up to this one, phone by phone.
    fn after(script: &'a Script, syncs: u32) -> Self {
        let data = json!({"items": [], "invoices": [], "payments": [], "purchaseHistory": []});
        let mut shop = Self { script, revision: 0, data };
        (0..=PHONES).for_each(|phone| shop.open(phone));
        for phone in 1..=PHONES {
            (1..=syncs).for_each(|sync| shop.sync(Place { shop: 0, phone, sync }));
        }
        shop
    }

    fn books(&self) -> Books {
        let answer = json!({"success": true, "revision": self.revision, "data": self.data}).to_string();
        Books::read(answer.as_bytes()).unwrap()
    }

    fn audit(&self, last: Fate) -> Findings {
        let ledgers = ledgers(self.script, last);
        let subject =
            Subject { script: self.script, shop: 0, client: client(), ledgers: &ledgers, is_ours_alone: true };
        audit(&subject, &self.books())
    }

    fn open(&mut self, phone: u32) {
        self.revision += 1;
        let at = |kind, index| Mark { phone, sync: 0, kind, index };
        for (index, opening) in (0..).zip(self.script.opening(phone)) {
            match opening {
                Opening::Item { price, stock } => self.item(at(Kind::Item, index), price, stock),
                Opening::Tab { total } => {
                    let line = at(Kind::Line, Mark::line(0, 0));
                    self.item(line, total, Units::ZERO);
                    let lines = vec![(line, Units::whole(1), total)];
                    self.invoice(at(Kind::Invoice, 0), None, &lines, total, total, Units::ZERO);
                }
            }
        }
    }

    fn sync(&mut self, place: Place) {
        self.revision += 1;
        let Place { phone, sync, .. } = place;
        let Order { items, updates, deletes, invoices, payments } = self.script.order(place);
        let at = |kind, index| Mark { phone, sync, kind, index };
        let on_shelf = |index| Mark { phone, sync: 0, kind: Kind::Item, index };
        for (index, item) in (0..).zip(&items) {
            self.item(at(Kind::Item, index), item.price, item.stock);
        }
        for (index, (item, price)) in (0..).zip(&updates) {
            let description = self.text(at(Kind::Update, index));
            let item = self.find("items", "name", on_shelf(*item));
            (item["price"], item["description"], item["isActive"]) = (number(*price), description, true.into());
        }
        for item in &deletes {
            self.find("items", "name", on_shelf(*item))["isActive"] = false.into();
        }
        for (index, invoice) in (0..).zip(&invoices) {
            let mut lines = Vec::new();
            for (nth, line) in (0..).zip(&invoice.lines) {
                let product = match line.product {
                    Product::Shared(index) => Mark { phone: 0, sync: 0, kind: Kind::Item, index },
                    Product::Created(index) => at(Kind::Item, index),
                    Product::New(stock) => {
                        let made = at(Kind::Line, Mark::line(index, nth));
                        self.item(made, line.cost, stock);
                        made
                    }
                };
                let item = self.find("items", "name", product);
                let stock: Units = serde_json::from_value(item["stock"].clone()).unwrap();
                if stock >= line.quantity {
                    item["stock"] = number(stock - line.quantity);
                }
                lines.push((product, line.quantity, line.cost));
            }
            let mark = at(Kind::Invoice, index);
            self.invoice(mark, invoice.customer, &lines, invoice.subtotal(), invoice.total(), invoice.paid);
        }
        for (index, payment) in (0..).zip(&payments) {
            let bill = match payment.bill {
                Bill::Created(index) => at(Kind::Invoice, index),
                Bill::Tab => Mark { phone, sync: 0, kind: Kind::Invoice, index: 0 },
                Bill::SharedTab => Mark { phone: 0, sync: 0, kind: Kind::Invoice, index: 0 },
            };
            let (mark, amount) = (at(Kind::Payment, index), number(payment.amount));
            let record = json!({"note": self.text(mark), "amount": amount, "invoiceId": id(bill)});
            self.keep("payments", mark, record);
            let invoice = self.find("invoices", "notes", bill);
            let paid: Units = serde_json::from_value(invoice["paidAmount"].clone()).unwrap();
            invoice["paidAmount"] = number(paid + payment.amount);
            self.finalise(bill);
        }
    }

    fn item(&mut self, mark: Mark, price: Units, stock: Units) {
        let (name, price, stock) = (self.text(mark), number(price), number(stock));
        let record = json!({"name": name, "description": "", "price": price, "stock": stock, "isActive": true});
        self.keep("items", mark, record);
    }

    fn invoice(
        &mut self,
        mark: Mark,
        of: Option<u32>,
        lines: &[(Mark, Units, Units)],
        subtotal: Units,
        total: Units,
        paid: Units,
    ) {
        let number_given = format!("INV-{:06}", self.data["invoices"].as_array().unwrap().len() + 1);
        let products = lines.iter().map(|(product, quantity, cost)| {
            json!({"productId": id(*product), "quantity": number(*quantity), "costPerUnit": number(*cost)})
        });
        let record = json!({
            "notes": self.text(mark), "clientCustomerId": of.map(|of| customer(of).to_string()),
            "invoiceNumber": number_given, "subtotal": number(subtotal), "totalAmount": number(total),
            "paidAmount": number(paid), "isFinalized": false, "products": products.collect::<Vec<_>>(),
        });
        self.keep("invoices", mark, record);
        self.finalise(mark);
    }

    fn finalise(&mut self, mark: Mark) {
        let invoice = self.find("invoices", "notes", mark);
        let amount = |field: &str| invoice[field].as_f64().unwrap();
        if invoice["isFinalized"] == true || amount("paidAmount") < amount("totalAmount") {
            return;
        }
        invoice["isFinalized"] = true.into();
        let (customer, total) = (invoice["clientCustomerId"].clone(), invoice["totalAmount"].clone());
        if !customer.is_null() {
            let record = json!({"clientCustomerId": customer, "invoiceId": id(mark), "totalAmount": total});
            self.list("purchaseHistory").push(with(record, "clientId", client().to_string().into()));
        }
    }

    fn keep(&mut self, list: &str, mark: Mark, record: Value) {
        let local_id = self.script.has_local_ids() && mark.kind != Kind::Line;
        let record = if local_id { with(record, "localId", self.text(mark)) } else { record };
        let record = with(with(record, "_id", id(mark)), "clientId", client().to_string().into());
        self.list(list).push(record);
    }

    fn list(&mut self, list: &str) -> &mut Vec<Value> {
        self.data[list].as_array_mut().unwrap()
    }

    fn find(&mut self, list: &str, field: &str, mark: Mark) -> &mut Value {
        let text = self.text(mark);
        self.list(list).iter_mut().find(|record| record[field] == text).unwrap()
    }

    fn text(&self, mark: Mark) -> Value {
        self.script.run.text(mark).to_string().into()
    }
}

fn with(mut record: Value, field: &str, value: Value) -> Value {
    record[field] = value;
    record
}

fn number(units: Units) -> Value {
    serde_json::from_str(&units.to_string()).unwrap()
}

/// An id that a mark alone decides.
fn id(mark: Mark) -> Value {
    let Mark { phone, sync, kind, index } = mark;
    let mut bytes = [0; 12];
    (bytes[0], bytes[1], bytes[2]) = (phone as u8, sync as u8, kind as u8);
    bytes[8..].copy_from_slice(&index.to_be_bytes());
    ObjectId::from_bytes(bytes).to_string().into()
}

/// One way in which books go wrong, and a word of what is said of it.
type Damage = (&'static str, fn(&mut Value, Pick), &'static str);

fn any<'v>(data: &'v mut Value, list: &str, pick: Pick) -> &'v mut Value {
    let all = data[list].as_array_mut().unwrap();
    let at = pick.index(all.len());
    &mut all[at]
}

fn one_more(data: &mut Value, list: &str, pick: Pick) {
    let twice = any(data, list, pick).clone();
    data[list].as_array_mut().unwrap().push(twice);
}

fn one_less(data: &mut Value, list: &str, pick: Pick) {
    let all = data[list].as_array_mut().unwrap();
    all.remove(pick.index(all.len()));
}

fn more(data: &mut Value, list: &str, field: &str, pick: Pick) {
    let record = any(data, list, pick);
    record[field] = (record[field].as_f64().unwrap() + 0.25).into();
}

fn not(data: &mut Value, list: &str, field: &str, pick: Pick) {
    let record = any(data, list, pick);
    record[field] = (!record[field].as_bool().unwrap()).into();
}

const DAMAGES: &[Damage] = &[
    ("an item doubled", |data, pick| one_more(data, "items", pick), "more than once"),
    ("an invoice doubled", |data, pick| one_more(data, "invoices", pick), "more than once"),
    ("a payment doubled", |data, pick| one_more(data, "payments", pick), "more than once"),
    (
        "a purchase history doubled",
        |data, pick| one_more(data, "purchaseHistory", pick),
        "purchase histories is 2, not 1",
    ),
    ("an item lost", |data, pick| one_less(data, "items", pick), "missing"),
    ("an invoice lost", |data, pick| one_less(data, "invoices", pick), "missing"),
    ("a payment lost", |data, pick| one_less(data, "payments", pick), "missing"),
    ("a purchase history lost", |data, pick| one_less(data, "purchaseHistory", pick), "purchase histories is 0, not 1"),
    ("a wrong price", |data, pick| more(data, "items", "price", pick), "price"),
    ("a wrong stock", |data, pick| more(data, "items", "stock", pick), "stock is"),
    ("a wrong subtotal", |data, pick| more(data, "invoices", "subtotal", pick), "subtotal is"),
    ("a wrong total", |data, pick| more(data, "invoices", "totalAmount", pick), "totalAmount is"),
    ("a wrong paidAmount", |data, pick| more(data, "invoices", "paidAmount", pick), "its payments bring it to"),
    ("a wrong amount", |data, pick| more(data, "payments", "amount", pick), "amount is"),
    (
        "a wrong total in the history",
        |data, pick| more(data, "purchaseHistory", "totalAmount", pick),
        "another customer or total",
    ),
    ("finalised or not", |data, pick| not(data, "invoices", "isFinalized", pick), "isFinalized is"),
    ("deleted or not", |data, pick| not(data, "items", "isActive", pick), "isActive"),
    (
        "another's item",
        |data, pick| any(data, "items", pick)["clientId"] = "64b0000000000000000000ff".into(),
        "another client's",
    ),
    (
        "another's payment",
        |data, pick| any(data, "payments", pick)["clientId"] = "64b0000000000000000000ff".into(),
        "another client's",
    ),
    ("an item of nobody", |data, pick| any(data, "items", pick)["name"] = "tea".into(), "nobody sent it"),
    ("a payment of nobody", |data, pick| any(data, "payments", pick)["note"] = "".into(), "nobody sent it"),
    ("a payment elsewhere", |data, pick| any(data, "payments", pick)["invoiceId"] = Value::Null, "on another invoice"),
    (
        "a line less",
        |data, pick| drop(any(data, "invoices", pick)["products"].as_array_mut().unwrap().pop()),
        "does not sell",
    ),
    (
        "a number twice",
        |data, _| {
            let number = data["invoices"][0]["invoiceNumber"].clone();
            data["invoices"][1]["invoiceNumber"] = number;
        },
        "given to two invoices",
    ),
    (
        "another customer",
        |data, pick| any(data, "invoices", pick)["clientCustomerId"] = "64b0000000000000000000ff".into(),
        "another customer",
    ),
    ("a local id of nobody", |data, pick| any(data, "payments", pick)["localId"] = "mine".into(), "not the localId"),
];

#[test]
fn books_that_are_right_pass_with_local_ids_and_without() {
    for rebatch in [0.0, 50.0] {
        let script = script(rebatch);
        let findings = Shop::after(&script, SYNCS).audit(Fate::Acknowledged);
        assert_eq!(findings.problems.told(), [""; 0]);
        let looked_at = findings.looked_at;
        assert_eq!((looked_at.acknowledged, looked_at.refused), (u64::from(PHONES * SYNCS), 0));
        assert_eq!(looked_at.payments, u64::from(PHONES * SYNCS * 6));
        assert_eq!(looked_at.invoices, u64::from(PHONES * SYNCS * 8 + PHONES + 1));
        assert!(looked_at.purchases > 0);
    }
}

#[test]
fn a_sync_of_which_nothing_was_heard_may_be_there_or_not() {
    let script = script(50.0);
    for (syncs, applied) in [(SYNCS, u64::from(PHONES)), (SYNCS - 1, 0)] {
        let findings = Shop::after(&script, syncs).audit(Fate::Open);
        assert_eq!(findings.problems.told(), [""; 0]);
        assert_eq!(findings.looked_at.open_and_applied, applied);
        assert_eq!(findings.looked_at.open_and_absent, u64::from(PHONES) - applied);
    }
}

#[test]
fn a_sync_of_which_nothing_was_heard_is_not_there_in_part() {
    let script = script(0.0);
    let of_last = |record: &Value, field: &str| record[field].as_str().unwrap().contains("-1-4-");
    for (list, field) in [("items", "name"), ("invoices", "notes"), ("payments", "note")] {
        let mut shop = Shop::after(&script, SYNCS);
        let at = shop.data[list].as_array().unwrap().iter().position(|record| of_last(record, field)).unwrap();
        shop.list(list).remove(at);
        let told = shop.audit(Fate::Open).problems;
        assert!(told.told().iter().any(|problem| problem.contains("missing")), "{told:?}");
    }
}

/// However many records it has: and what it did not do to the shelf, the stock and the tab is no problem of its own.
#[test]
fn a_lost_sync_is_one_line_and_counted() {
    let script = script(0.0);
    let lost = Shop::after(&script, SYNCS - 1).audit(Fate::Acknowledged);
    let problems = lost.problems.told();
    let altogether = problems.iter().filter(|problem| problem.contains("missing altogether"));
    // The other one is that of the revision.
    assert_eq!((altogether.count(), problems.len()), (PHONES as usize, PHONES as usize + 1), "{problems:?}");
    let (all, missing) = (u64::from(PHONES * SYNCS), u64::from(PHONES));
    let LookedAt { acknowledged, acknowledged_whole, acknowledged_in_part, acknowledged_missing, .. } = lost.looked_at;
    assert_eq!(
        (acknowledged, acknowledged_whole, acknowledged_in_part, acknowledged_missing),
        (all, all - missing, 0, missing)
    );
    assert_eq!(lost.losses, [Loss { client: client().to_string(), acknowledged: all, in_part: 0, missing }]);
}

#[test]
fn a_sync_that_lost_some_records_is_one_line_and_there_in_part() {
    let script = script(0.0);
    let mut shop = Shop::after(&script, SYNCS);
    let of_first = |record: &Value| record["note"].as_str().unwrap().contains("-1-1-p");
    let before = shop.list("payments").len();
    shop.list("payments").retain(|payment| !of_first(payment));
    assert_eq!(before - shop.list("payments").len(), 6);
    let findings = shop.audit(Fate::Acknowledged);
    let told: Vec<_> = findings.problems.told().iter().filter(|problem| problem.contains("missing")).collect();
    assert!(told.len() == 1 && told[0].contains("6 missing, storm-00000abc-1-1-p0, "), "{told:?}");
    assert!(told[0].ends_with(" and 3 more"), "{told:?}");
    assert_eq!((findings.looked_at.acknowledged_in_part, findings.losses[0].in_part), (1, 1));
}

#[test]
fn what_was_found_of_several_clients_adds_up() {
    let looked_at = LookedAt {
        clients: 1,
        acknowledged: 2,
        acknowledged_whole: 3,
        acknowledged_in_part: 4,
        acknowledged_missing: 5,
        acknowledged_untold: 6,
        open_and_applied: 7,
        open_in_part: 8,
        open_and_absent: 9,
        open_and_untold: 10,
        refused: 11,
        items: 12,
        invoices: 13,
        payments: 14,
        purchases: 15,
        of_others: 16,
    };
    let mut one = Findings { looked_at, ..Findings::default() };
    one.problems.push("lost".into());
    one.losses.push(Loss { client: client().to_string(), acknowledged: 2, in_part: 4, missing: 5 });
    let mut all = one.clone();
    all.add(one.clone());
    let counts = |findings: &Findings| serde_json::to_value(findings.looked_at).unwrap();
    for (name, count) in counts(&one).as_object().unwrap() {
        assert_eq!(counts(&all)[name], count.as_u64().unwrap() * 2, "{name}");
    }
    assert_eq!((all.problems.told(), all.losses.len()), (&["lost".to_owned(), "lost".to_owned()][..], 2));
}

#[test]
fn what_was_refused_must_not_be_there() {
    let script = script(0.0);
    let kept = Shop::after(&script, SYNCS).audit(Fate::Refused).problems;
    let told = kept.told().iter().filter(|problem| problem.contains("was refused, and is in the books altogether"));
    assert_eq!(told.count(), PHONES as usize, "{kept:?}");
    assert!(Shop::after(&script, SYNCS - 1).audit(Fate::Refused).problems.is_empty());
}

#[test]
fn what_went_on_under_another_key_may_set_the_shelf_again_later() {
    let script = Script { hangups: 100.0, ..script(100.0) };
    let place = |sync| Place { shop: 0, phone: 1, sync };
    let orphan = (1..SYNCS).find(|sync| script.luck(place(*sync)) == Luck::LostAndRebatched).unwrap();
    let mut shop = Shop::after(&script, SYNCS);
    shop.revision += 1;
    let (item, price) = script.order(place(orphan)).updates[0];
    let (mark, by) = (Mark { phone: 1, sync: 0, kind: Kind::Item, index: item }, Kind::Update);
    let description = shop.text(Mark { phone: 1, sync: orphan, kind: by, index: 0 });
    let record = shop.find("items", "name", mark);
    (record["price"], record["description"]) = (number(price), description);
    assert_eq!(shop.audit(Fate::Acknowledged).problems.told(), [""; 0]);
    shop.find("items", "name", mark)["price"] = number(price + Units::cents(1));
    assert_ne!(shop.audit(Fate::Acknowledged).problems.told(), [""; 0]);
}

#[test]
fn the_revision_counts_the_batches() {
    let script = script(0.0);
    for wrong in [-1_i64, 1] {
        let mut shop = Shop::after(&script, SYNCS);
        shop.revision = shop.revision.checked_add_signed(wrong).unwrap();
        let findings = shop.audit(Fate::Acknowledged);
        assert!(findings.problems.told()[0].contains("batches have written"), "{:?}", findings.problems);
    }
}

#[test]
fn the_scarce_item_runs_out_in_these_books() {
    let script = script(0.0);
    let mut shop = Shop::after(&script, 0);
    let mark = Mark { phone: 0, sync: 0, kind: Kind::Item, index: SHARED_ITEMS };
    let left = shop.find("items", "name", mark)["stock"].clone();
    (1..100).for_each(|sync| shop.sync(Place { shop: 0, phone: 1, sync }));
    assert_eq!((left, shop.find("items", "name", mark)["stock"].clone()), (100.into(), 0.into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whichever record it is, each damage is found and named.
    #[test]
    fn every_damage_is_found(pick: Pick) {
        let script = script(0.0);
        let right = Shop::after(&script, SYNCS);
        for (what, damage, told) in DAMAGES {
            let mut wrong = Shop { script: &script, revision: right.revision, data: right.data.clone() };
            damage(&mut wrong.data, pick);
            let findings = wrong.audit(Fate::Acknowledged);
            let problems = findings.problems.told();
            prop_assert!(problems.iter().any(|problem| problem.contains(told)), "{what}: {problems:?}");
        }
    }
}
