//! Writes batches as JSON: straight into one text, as what is written is known to need no escapes.

use std::fmt::{self, Write};
use std::ops::Range;

use clap::ValueEnum;

use super::mark::Text as MarkText;
use super::order::Line;
use super::{Bill, Kind, Mark, NewInvoice, Opening, Order, Place, Product, Script, ShopIds, customer};

/// How much of the dataset a phone asks for with each sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// The receipt alone: the load is the writing
    None,
    /// What has changed since the phone's last answer, as phones of today ask
    Delta,
    /// Everything of the shop, as phones of old ask: grows with every sync
    Full,
}

/// What a phone knows when it writes a batch.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What all phones of the shop share.
    pub shop: &'a ShopIds,
    /// What the phone has for itself.
    pub shelf: &'a ShopIds,
}

impl Script {
    /// A batch that opens a shop or fills a phone's shelf: this part of the opening. It has an alias for each record,
    /// and asks for no dataset.
    pub fn opening_body(&self, place: Place, part: Range<usize>) -> String {
        let mut body = Body::new(self, place, View::None, None);
        let first = part.start as u32;
        let all = &self.opening(place.phone)[part];
        let items = all.iter().filter_map(|opening| match opening {
            Opening::Item { price, stock } => Some((*price, *stock)),
            Opening::Tab { .. } => None,
        });
        body.list(r#","item":{"create":"#, items, |body, nth, (price, stock)| {
            let mark = body.mark(Kind::Item, first + nth);
            body.open_create(&mark);
            body.put(format_args!(r#","name":"{mark}","price":{price},"stock":{stock}}}"#));
        });
        let tabs = all.iter().filter_map(|opening| match opening {
            Opening::Tab { total } => Some(*total),
            Opening::Item { .. } => None,
        });
        body.list(r#"},"invoice":{"create":"#, tabs, |body, index, total| {
            let (mark, line) = (body.mark(Kind::Invoice, index), body.mark(Kind::Line, Mark::line(index, 0)));
            body.open_create(&mark);
            body.put(format_args!(r#","notes":"{mark}","products":[{{"itemName":"{line}","stock":1,"quantity":1"#));
            body.put(format_args!(r#","costPerUnit":{total}}}]}}"#));
        });
        body.put(format_args!("}}}}"));
        body.text
    }

    /// The batch of a sync.
    pub fn body(&self, place: Place, order: &Order, known: Known<'_>, view: View, since: Option<&str>) -> String {
        let Order { items, updates, deletes, invoices, payments } = order;
        let mut body = Body::new(self, place, view, since);
        body.list(r#","item":{"create":"#, items, |body, index, item| {
            let mark = body.mark(Kind::Item, index);
            body.open_create(&mark);
            body.put(format_args!(r#","name":"{mark}","price":{},"stock":{}}}"#, item.price, item.stock));
        });
        body.list(r#","update":"#, updates, |body, index, (item, price)| {
            let (id, mark) = (known.shelf.items[*item as usize], body.mark(Kind::Update, index));
            body.put(format_args!(r#"{{"_id":"{id}","price":{price},"description":"{mark}","isActive":true}}"#));
        });
        body.list(r#","delete":"#, deletes, |body, _, item| {
            body.put(format_args!(r#""{}""#, known.shelf.items[*item as usize]));
        });
        body.list(r#"},"invoice":{"create":"#, invoices, |body, index, invoice| {
            body.invoice(index, invoice, known.shop)
        });
        body.list(r#"},"payment":{"create":"#, payments, |body, index, payment| {
            let mark = body.mark(Kind::Payment, index);
            body.open_create(&mark);
            body.put(format_args!(r#","amount":{},"note":"{mark}","method":"upi","invoiceId":"#, payment.amount));
            match payment.bill {
                Bill::Created(invoice) => body.alias(Kind::Invoice, invoice),
                Bill::Tab => body.put(format_args!(r#""{}""#, known.shelf.tab)),
                Bill::SharedTab => body.put(format_args!(r#""{}""#, known.shop.tab)),
            }
            body.put(format_args!("}}"));
        });
        body.put(format_args!("}}}}"));
        body.text
    }
}

/// A batch that is being written.
struct Body<'a> {
    script: &'a Script,
    place: Place,
    text: String,
}

impl<'a> Body<'a> {
    fn new(script: &'a Script, place: Place, view: View, since: Option<&str>) -> Self {
        let mut body = Self { script, place, text: String::with_capacity(256 + 160 * script.recipe.size() as usize) };
        match (view, since) {
            (View::None, _) => body.put(format_args!(r#"{{"data":"none""#)),
            // A cursor is visible ASCII, but nobody says that it has no quotes.
            (View::Delta, Some(since)) => body.put(format_args!(r#"{{"since":{}"#, serde_json::Value::from(since))),
            (View::Delta | View::Full, _) => body.put(format_args!(r#"{{"since":null"#)),
        }
        body
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = self.text.write_fmt(text);
    }

    /// Writes a list after what leads to it.
    fn list<T>(&mut self, lead: &str, all: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, u32, T)) {
        self.text.push_str(lead);
        self.text.push('[');
        for (index, one) in (0..).zip(all) {
            if index > 0 {
                self.text.push(',');
            }
            each(self, index, one);
        }
        self.text.push(']');
    }

    fn mark(&self, kind: Kind, index: u32) -> MarkText {
        let Place { phone, sync, .. } = self.place;
        self.script.run.text(Mark { phone, sync, kind, index })
    }

    fn alias(&mut self, kind: Kind, index: u32) {
        let mark = self.mark(kind, index);
        self.put(format_args!(r#""{mark}""#));
    }

    /// Begins a create, whose mark is its alias, and its local id where there are some.
    fn open_create(&mut self, mark: &MarkText) {
        self.put(format_args!(r#"{{"_id":"{mark}""#));
        if self.script.has_local_ids() {
            self.put(format_args!(r#","localId":"{mark}""#));
        }
    }

    fn invoice(&mut self, index: u32, invoice: &NewInvoice, shop: &ShopIds) {
        let mark = self.mark(Kind::Invoice, index);
        self.open_create(&mark);
        let NewInvoice { tax, discount, paid, .. } = invoice;
        self.put(format_args!(r#","notes":"{mark}","totalTax":{tax},"totalDiscount":{discount},"paidAmount":{paid}"#));
        if let Some(of) = invoice.customer {
            self.put(format_args!(r#","clientCustomerId":"{}","clientCustomerPhone":"98{of:08}""#, customer(of)));
        }
        self.list(r#","products":"#, invoice.lines.iter().copied(), |body, at, line| body.line(index, at, line, shop));
        self.put(format_args!("}}"));
    }

    fn line(&mut self, invoice: u32, at: u32, line: Line, shop: &ShopIds) {
        match line.product {
            Product::Shared(index) => self.put(format_args!(r#"{{"productId":"{}""#, shop.items[index as usize])),
            Product::Created(index) => {
                self.put(format_args!(r#"{{"productId":"#));
                self.alias(Kind::Item, index);
            }
            Product::New(stock) => {
                let mark = self.mark(Kind::Line, Mark::line(invoice, at));
                self.put(format_args!(r#"{{"itemName":"{mark}","stock":{stock}"#));
            }
        }
        self.put(format_args!(r#","quantity":{}"#, line.quantity));
        if line.states_cost {
            self.put(format_args!(r#","costPerUnit":{}"#, line.cost));
        }
        self.put(format_args!("}}"));
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use serde_json::Value;

    use super::super::{Run, SHARED_ITEMS};
    use super::*;

    fn script(rebatch: f64) -> Script {
        Script {
            run: Run(1),
            seed: 3,
            recipe: "40:day".parse().unwrap(),
            hangups: 0.0,
            rebatch,
            most_operations: 1_000,
        }
    }

    fn ids(count: u32) -> ShopIds {
        let id = ObjectId::from_bytes([7; 12]);
        ShopIds { items: vec![id; count as usize], tab: id }
    }

    fn body(rebatch: f64, view: View, since: Option<&str>) -> Value {
        let script = script(rebatch);
        let (shop, shelf) = (ids(SHARED_ITEMS + 1), ids(script.shelf()));
        let known = Known { shop: &shop, shelf: &shelf };
        let place = Place { shop: 0, phone: 1, sync: 5 };
        let text = script.body(place, &script.order(place), known, view, since);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_body_is_json_with_all_operations_and_asks_for_its_view() {
        let full = body(0.0, View::Full, None);
        let count = |path: &str| full.pointer(path).and_then(Value::as_array).map(Vec::len);
        let paths = ["/item/create", "/item/update", "/item/delete", "/invoice/create", "/payment/create"];
        assert_eq!(paths.map(count), [10, 10, 4, 10, 6].map(Some));
        assert_eq!((&full["data"], &full["since"]), (&Value::Null, &Value::Null));
        assert_eq!(body(0.0, View::None, None)["data"], "none");
        assert_eq!(body(0.0, View::Delta, Some("a\"b"))["since"], "a\"b");
    }

    #[test]
    fn creates_have_local_ids_only_where_batches_are_made_anew() {
        let create = |rebatch| body(rebatch, View::None, None)["payment"]["create"][0].clone();
        assert_eq!(create(0.0)["localId"], Value::Null);
        assert_eq!(create(50.0)["localId"], create(0.0)["note"]);
    }

    #[test]
    fn an_opening_is_json_with_all_that_is_in_the_shop() {
        for (phone, items) in [(0, SHARED_ITEMS + 1), (1, script(0.0).shelf())] {
            let script = script(0.0);
            let whole = 0..script.opening(phone).len();
            let text = script.opening_body(Place { shop: 0, phone, sync: 0 }, whole);
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(body["item"]["create"].as_array().map(Vec::len), Some(items as usize));
            assert_eq!(body["invoice"]["create"].as_array().map(Vec::len), Some(1));
        }
    }

    #[test]
    fn an_opening_in_parts_holds_the_same_records_and_none_is_larger_than_allowed() {
        let place = Place { shop: 0, phone: 0, sync: 0 };
        let aliases = |most_operations: usize| {
            let script = Script { most_operations, ..script(0.0) };
            let mut aliases = Vec::new();
            for part in script.opening_parts(0) {
                let body: Value = serde_json::from_str(&script.opening_body(place, part)).unwrap();
                let created = ["item", "invoice"].map(|kind| body[kind]["create"].as_array().unwrap().clone()).concat();
                assert!((1..=most_operations).contains(&created.len()), "{most_operations}: {created:?}");
                aliases.extend(created.iter().map(|record| record["_id"].to_string()));
            }
            aliases
        };
        let whole = aliases(1_000);
        assert_eq!(whole.len(), SHARED_ITEMS as usize + 2);
        for most_operations in [1, 5, 17, 18] {
            assert_eq!(aliases(most_operations), whole);
        }
    }
}
