//! Goes through everything that was sent, and looks for it in the books.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::books::{Books, Invoice, SoldLine};
use super::index::Index;
use super::presence::{Presence, mark, records_of, records_of_opening};
use super::shelf::{Certainty, Priced, Shelf};
use super::{Findings, Subject};
use crate::cli::output::counted;
use crate::cli::storm::ledger::{Fate, Ledger};
use crate::cli::storm::script::{
    Bill, Kind, Label, Mark, NewInvoice, Opening, Order, Place, Product, SHARED_ITEMS, Text, Units, customer,
    shared_item,
};

/// Checks all of a client.
pub fn walk(subject: &Subject<'_>, books: &Books, findings: &mut Findings) {
    let index = Index::of(subject, books, findings);
    let mut walk =
        Walk { subject, index, findings, sold: vec![Units::ZERO; SHARED_ITEMS as usize + 1], tabs: HashMap::new() };
    let mut shelves = Vec::new();
    for (phone, ledger) in (1..).zip(subject.ledgers) {
        shelves.push(walk.phone(phone, ledger));
    }
    walk.shared();
    for (phone, shelf) in (1..).zip(shelves) {
        walk.own(phone, &shelf);
    }
    walk.leftovers();
    walk.revision(books.revision);
}

struct Walk<'a, 's, 'b> {
    subject: &'a Subject<'s>,
    index: Index<'b>,
    findings: &'a mut Findings,
    /// What was sold of each shared item.
    sold: Vec<Units>,
    /// What was paid on each phone's tab; phone 0 is the shop.
    tabs: HashMap<u32, Units>,
}

/// An item as it must be.
struct DueItem {
    price: Units,
    stock: Units,
}

/// A line of an invoice as it must be: the item, the quantity, and what a piece costs.
type SentLine = (Option<Mark>, Units, Units);

impl Walk<'_, '_, '_> {
    /// Checks all syncs of a phone; gives what they made of its shelf.
    fn phone(&mut self, phone: u32, ledger: &Ledger) -> Shelf {
        let script = self.subject.script;
        let prices = script.opening(phone).into_iter().filter_map(|opening| match opening {
            Opening::Item { price, .. } => Some(price),
            Opening::Tab { .. } => None,
        });
        let mut shelf = Shelf::new(prices);
        for sync in 1..=ledger.begun {
            let place = Place { shop: self.subject.shop, phone, sync };
            let order = script.order(place);
            let fate = ledger.fate(sync);
            let records = records_of(place, &order);
            let presence = self.index.presence(&records);
            self.count(fate, &presence);
            self.tell(place, fate, &presence, records.len());
            match (fate, presence) {
                (Fate::Refused, Presence::Absent | Presence::Untold) => {}
                // One that was acknowledged and is lost has been told. Nobody knows what it did to the shelf.
                (_, Presence::Absent) | (Fate::Open, Presence::Untold) => {
                    shelf.take(place, &order, Certainty::MayBe);
                }
                _ => {
                    self.sync(place, &order);
                    shelf.take(place, &order, Certainty::Applied);
                    if ledger.is_orphan(sync) {
                        shelf.take(place, &order, Certainty::MayBe);
                    }
                }
            }
        }
        shelf
    }

    fn count(&mut self, fate: Fate, presence: &Presence) {
        let looked_at = &mut self.findings.looked_at;
        looked_at.acknowledged += u64::from(fate == Fate::Acknowledged);
        let of = match (fate, presence) {
            (Fate::Acknowledged, Presence::Whole) => &mut looked_at.acknowledged_whole,
            (Fate::Acknowledged, Presence::InPart(_)) => &mut looked_at.acknowledged_in_part,
            (Fate::Acknowledged, Presence::Absent) => &mut looked_at.acknowledged_missing,
            (Fate::Acknowledged, Presence::Untold) => &mut looked_at.acknowledged_untold,
            (Fate::Open, Presence::Whole) => &mut looked_at.open_and_applied,
            (Fate::Open, Presence::InPart(_)) => &mut looked_at.open_in_part,
            (Fate::Open, Presence::Absent) => &mut looked_at.open_and_absent,
            (Fate::Open, Presence::Untold) => &mut looked_at.open_and_untold,
            (Fate::Refused, _) => &mut looked_at.refused,
        };
        *of += 1;
    }

    /// Tells what is missing of a batch, or too much, in one line however many records it has.
    fn tell(&mut self, place: Place, fate: Fate, presence: &Presence, records: usize) {
        let of = match (place.phone, place.sync) {
            (0, _) => "the opening of the shop".to_owned(),
            (phone, 0) => format!("the opening of phone {phone}"),
            (phone, sync) => format!("sync {sync} of phone {phone}"),
        };
        let all = counted(records as u64, "record");
        let heard = if fate == Fate::Open { "was never answered" } else { "was acknowledged" };
        match (fate, presence) {
            (Fate::Acknowledged, Presence::Absent) => {
                let first = format!("storm-{}-{}-{}", self.subject.script.run, place.phone, place.sync);
                self.problem(format_args!("{of} {heard}, and is missing altogether: {all}, {first}-*"));
            }
            (Fate::Acknowledged | Fate::Open, Presence::InPart(missing)) => {
                let (count, which) = (missing.len(), self.some(missing));
                self.problem(format_args!("{of} {heard}, and is there in part: of {all} {count} missing, {which}"));
            }
            (Fate::Refused, Presence::Whole) => {
                self.problem(format_args!("{of} was refused, and is in the books altogether: {all}"));
            }
            (Fate::Refused, Presence::InPart(missing)) => {
                let there = records - missing.len();
                self.problem(format_args!("{of} was refused, and is in the books in part: {there} of {all}"));
            }
            (_, Presence::Whole | Presence::Untold) | (Fate::Open | Fate::Refused, Presence::Absent) => {}
        }
    }

    /// The first of some records by their marks, and how many more there are.
    fn some(&self, marks: &[Mark]) -> String {
        const SHOWN: usize = 3;
        let shown: Vec<_> = marks.iter().take(SHOWN).map(|mark| self.text(*mark).to_string()).collect();
        let more = match marks.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        shown.join(", ") + &more
    }

    /// Everything of a sync is there, once, as it was sent.
    fn sync(&mut self, place: Place, order: &Order) {
        for (index, item) in (0..).zip(&order.items) {
            let stock = order.sales_of(index).fold(item.stock, less_if_there);
            self.item(mark(place, Kind::Item, index), &DueItem { price: item.price, stock });
        }
        for (invoice, line, cost, stock, quantity) in order.new_lines() {
            let due = DueItem { price: cost, stock: less_if_there(stock, quantity) };
            self.item(mark(place, Kind::Line, Mark::line(invoice, line)), &due);
        }
        for (index, invoice) in (0..).zip(&order.invoices) {
            self.invoice(place, index, invoice, order);
        }
        for (index, payment) in (0..).zip(&order.payments) {
            self.payment(mark(place, Kind::Payment, index), payment.bill, payment.amount);
        }
    }

    fn item(&mut self, mark: Mark, due: &DueItem) {
        let Some(item) = self.index.items.remove(&mark) else { return };
        let text = self.text(mark);
        self.equal(format_args!("item {text}"), "price", item.price, due.price);
        self.equal(format_args!("item {text}"), "stock", item.stock, due.stock);
        self.equal(format_args!("item {text}"), "isActive", item.is_active, true);
        self.local_id(mark, item.local_id.as_ref());
    }

    fn invoice(&mut self, place: Place, index: u32, due: &NewInvoice, order: &Order) {
        let mark = mark(place, Kind::Invoice, index);
        let Some(invoice) = self.index.invoices.remove(&mark) else { return };
        let text = self.text(mark);
        let paid = order.payments.iter().filter(|payment| payment.bill == Bill::Created(index));
        let paid = due.paid + paid.map(|payment| payment.amount).sum();
        self.equal(format_args!("invoice {text}"), "subtotal", invoice.subtotal, due.subtotal());
        self.equal(format_args!("invoice {text}"), "totalAmount", invoice.total_amount, due.total());
        self.equal(format_args!("invoice {text}"), "paidAmount", invoice.paid_amount, paid);
        self.local_id(mark, invoice.local_id.as_ref());
        self.lines(place, index, invoice, due);
        self.balance(&text, invoice, due.customer, due.paid);
    }

    fn lines(&mut self, place: Place, index: u32, invoice: &Invoice, due: &NewInvoice) {
        let shop = Place { phone: 0, sync: 0, ..place };
        let due = (0..).zip(&due.lines).map(|(at, line)| {
            let product = match line.product {
                Product::Shared(item) => mark(shop, Kind::Item, item),
                Product::Created(item) => mark(place, Kind::Item, item),
                Product::New(_) => mark(place, Kind::Line, Mark::line(index, at)),
            };
            (Some(product), line.quantity, line.cost)
        });
        let due: Vec<_> = due.collect();
        for (product, quantity, _) in &due {
            if let Some(Mark { phone: 0, index, .. }) = product {
                self.sold[*index as usize] += *quantity;
            }
        }
        let text = self.text(mark(place, Kind::Invoice, index));
        self.sells(&text, invoice, &due);
    }

    fn sells(&mut self, text: &Text, invoice: &Invoice, due: &[SentLine]) {
        let sold = |line: &SoldLine| {
            let product = line.product_id.and_then(|id| self.index.item_marks.get(&id));
            (product.copied(), line.quantity, line.cost_per_unit)
        };
        if !invoice.products.iter().map(sold).eq(due.iter().copied()) {
            self.problem(format_args!("invoice {text} does not sell what it was sent with"));
        }
    }

    /// What holds of every invoice: its customer, what is paid on it, and what follows from that.
    fn balance(&mut self, text: &Text, invoice: &Invoice, of: Option<u32>, created_with: Units) {
        if invoice.client_customer_id != of.map(customer) {
            self.problem(format_args!("invoice {text} has another customer than it was sent with"));
        }
        let paid = created_with + self.index.paid.get(&Some(invoice.id)).copied().unwrap_or_default();
        if invoice.paid_amount != paid {
            let Invoice { paid_amount, .. } = invoice;
            self.problem(format_args!(
                "invoice {text} has a paidAmount of {paid_amount}, but it was created with {created_with} and its payments bring it to {paid}"
            ));
        }
        let is_paid = invoice.paid_amount >= invoice.total_amount;
        self.equal(format_args!("invoice {text}"), "isFinalized", invoice.is_finalized, is_paid);
        let purchases = self.index.purchases.remove(&Some(invoice.id)).unwrap_or_default();
        self.findings.looked_at.purchases += purchases.len() as u64;
        let due = usize::from(invoice.is_finalized && invoice.client_customer_id.is_some());
        self.equal(format_args!("invoice {text}"), "number of purchase histories", purchases.len(), due);
        let fits = |(customer, total)| customer == invoice.client_customer_id && total == invoice.total_amount;
        if !purchases.iter().all(|purchase| fits((purchase.client_customer_id, purchase.total_amount))) {
            self.problem(format_args!("invoice {text} has a purchase history of another customer or total"));
        }
    }

    fn payment(&mut self, mark: Mark, bill: Bill, amount: Units) {
        let on = match bill {
            Bill::Created(index) => Mark { kind: Kind::Invoice, index, ..mark },
            Bill::Tab => Mark { phone: mark.phone, sync: 0, kind: Kind::Invoice, index: 0 },
            Bill::SharedTab => Mark { phone: 0, sync: 0, kind: Kind::Invoice, index: 0 },
        };
        let Some(payment) = self.index.payments.remove(&mark) else { return };
        if on.sync == 0 {
            *self.tabs.entry(on.phone).or_default() += amount;
        }
        let text = self.text(mark);
        self.equal(format_args!("payment {text}"), "amount", payment.amount, amount);
        let is_on = payment.invoice_id.and_then(|id| self.index.invoice_marks.get(&id));
        if is_on != Some(&on) {
            self.problem(format_args!("payment {text} is on another invoice than {}", self.text(on)));
        }
        self.local_id(mark, payment.local_id.as_ref());
    }

    /// Tells what is missing of an opening, which was acknowledged, as else there were no load.
    fn opening(&mut self, place: Place) {
        let records = records_of_opening(place, &self.subject.script.opening(place.phone));
        let presence = self.index.presence(&records);
        self.tell(place, Fate::Acknowledged, &presence, records.len());
    }

    /// What all phones share: the stock that is left, and the tab.
    fn shared(&mut self) {
        let shop = Place { shop: self.subject.shop, phone: 0, sync: 0 };
        self.opening(shop);
        for item in 0..=SHARED_ITEMS {
            let (price, stock) = shared_item(item);
            // The scarce one is sold piece by piece until none is left; of the others there is always enough.
            let left = (stock - self.sold[item as usize]).max(Units::ZERO);
            self.item(mark(shop, Kind::Item, item), &DueItem { price, stock: left });
        }
        self.tab(shop);
    }

    /// What a phone has for itself: its shelf, and its tab.
    fn own(&mut self, phone: u32, shelf: &Shelf) {
        let place = Place { shop: self.subject.shop, phone, sync: 0 };
        self.opening(place);
        for (index, opening) in (0..).zip(self.subject.script.opening(phone)) {
            let Opening::Item { stock, .. } = opening else { continue };
            let mark = mark(place, Kind::Item, index);
            let Some(item) = self.index.items.remove(&mark) else { continue };
            let text = self.text(mark);
            self.equal(format_args!("item {text}"), "stock", item.stock, stock);
            let by = item.description.mark(self.subject.script.run);
            if !shelf.may_cost(index, Priced { price: item.price, by }) {
                let due = shelf.price(index).price;
                self.problem(format_args!(
                    "item {text} has the price {} and the description {}, but the last update set the price {due}",
                    item.price, item.description
                ));
            }
            if !shelf.may_be_active(index, item.is_active) {
                self.problem(format_args!("item {text} has isActive {}, not what was sent last", item.is_active));
            }
            self.local_id(mark, item.local_id.as_ref());
        }
        self.tab(place);
    }

    fn tab(&mut self, place: Place) {
        let tab = mark(place, Kind::Invoice, 0);
        let Some(Opening::Tab { total }) = self.subject.script.opening(place.phone).pop() else { return };
        self.item(mark(place, Kind::Line, Mark::line(0, 0)), &DueItem { price: total, stock: Units::ZERO });
        let Some(invoice) = self.index.invoices.remove(&tab) else { return };
        let text = self.text(tab);
        let paid = self.tabs.get(&place.phone).copied().unwrap_or_default();
        self.equal(format_args!("invoice {text}"), "subtotal", invoice.subtotal, total);
        self.equal(format_args!("invoice {text}"), "totalAmount", invoice.total_amount, total);
        self.equal(format_args!("invoice {text}"), "paidAmount", invoice.paid_amount, paid);
        let line = mark(place, Kind::Line, Mark::line(0, 0));
        self.sells(&text, invoice, &[(Some(line), Units::whole(1), total)]);
        self.balance(&text, invoice, None, Units::ZERO);
        self.local_id(tab, invoice.local_id.as_ref());
    }

    /// Nothing of this run is left.
    fn leftovers(&mut self) {
        let items = std::mem::take(&mut self.index.items).into_keys();
        let invoices = std::mem::take(&mut self.index.invoices).into_keys();
        let payments = std::mem::take(&mut self.index.payments).into_keys();
        let mut syncs = BTreeMap::<_, Vec<_>>::new();
        for mark in items.chain(invoices).chain(payments) {
            syncs.entry((mark.phone, mark.sync)).or_default().push(mark);
        }
        for ((phone, sync), marks) in syncs {
            let (records, which) = (counted(marks.len() as u64, "record"), self.some(&marks));
            self.problem(format_args!(
                "{records} in the books that sync {sync} of phone {phone} was not sent with: {which}"
            ));
        }
        if self.subject.is_ours_alone && !self.index.purchases.is_empty() {
            let invoices = counted(self.index.purchases.len() as u64, "invoice");
            self.problem(format_args!("purchase histories of {invoices} beside those that were sent"));
        }
    }

    /// Every batch that wrote took one revision, and nothing else took any.
    fn revision(&mut self, revision: u64) {
        if !self.subject.is_ours_alone {
            return;
        }
        let looked_at = &self.findings.looked_at;
        let phones = 0..=self.subject.ledgers.len() as u32;
        let openings: u64 = phones.map(|phone| self.subject.script.opening_parts(phone).len() as u64).sum();
        let least = openings + looked_at.acknowledged + looked_at.open_and_applied + looked_at.open_in_part;
        let twice: u64 = self.subject.ledgers.iter().map(|ledger| u64::from(ledger.orphans())).sum();
        let most = least + twice + looked_at.open_and_untold;
        if !(least..=most).contains(&revision) {
            let due = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            self.problem(format_args!("it is at revision {revision}, and {due} batches have written"));
        }
    }

    fn local_id(&mut self, mark: Mark, local_id: Option<&Label>) {
        let script = self.subject.script;
        let has = script.has_local_ids() && mark.kind != Kind::Line;
        let due = has.then_some(Label::Marked(script.run, mark));
        if local_id != due.as_ref() {
            let text = self.text(mark);
            self.problem(format_args!("{text} has not the localId that it was sent with"));
        }
    }

    fn equal<T: PartialEq + fmt::Display>(&mut self, record: fmt::Arguments<'_>, field: &str, is: T, due: T) {
        if is != due {
            self.problem(format_args!("{record}: {field} is {is}, not {due}"));
        }
    }

    fn problem(&mut self, what: fmt::Arguments<'_>) {
        self.findings.problems.push(format!("client {}: {what}", self.subject.client));
    }

    fn text(&self, mark: Mark) -> Text {
        self.subject.script.run.text(mark)
    }
}

/// The stock after a sale: it falls only if enough is there.
fn less_if_there(stock: Units, quantity: Units) -> Units {
    if stock >= quantity { stock - quantity } else { stock }
}
