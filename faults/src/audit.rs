//! The oracle: what the books must be after all that the phones have heard, and every way in which they are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::books::{Books, Inside, Invoice, Item, Payment};
use crate::device::{Acknowledgement, Fate, Sent};
use crate::operation::{Line, Marker, NewInvoice, Operation, Product, local_id};
use crate::units::Units;

/// What the phones of one shop know.
pub struct History<'a> {
    /// The client's id.
    pub client: &'a str,
    /// The item that runs out.
    pub scarce: &'a str,
    /// All batches that were sent.
    pub sent: Vec<&'a Sent>,
}

/// Every way in which a shop's books are not what they must be.
pub fn audit(history: &History<'_>, books: &Books) -> Vec<String> {
    let expected = Expected::of(history);
    let mut audit = Audit { history, expected: &expected, books, found: Vec::new() };
    audit.check_tenancy();
    audit.check_items();
    audit.check_invoices();
    audit.check_payments();
    audit.check_purchases();
    audit.check_numbers();
    audit.check_local_ids();
    audit.check_acknowledged_ids();
    if let Some(inside) = &books.inside {
        audit.check_commits(inside);
        audit.check_revisions(inside);
    }
    audit.found
}

/// What must be in the books, by marker.
#[derive(Default)]
struct Expected<'a> {
    items: BTreeMap<&'a str, ExpectedItem>,
    invoices: BTreeMap<&'a str, &'a NewInvoice>,
    /// By the payment's marker: the invoice's, and the amount.
    payments: BTreeMap<&'a str, (&'a str, Units)>,
    /// The acknowledged batches in the order of their revisions.
    commits: Vec<(&'a Sent, &'a Acknowledgement)>,
}

struct ExpectedItem {
    price: Units,
    stock: Units,
    is_active: bool,
}

impl<'a> Expected<'a> {
    fn of(history: &History<'a>) -> Self {
        let acknowledged = |sent: &&'a Sent| match &sent.fate {
            Fate::Acknowledged(acknowledgement) => Some((*sent, acknowledgement)),
            Fate::Open | Fate::Refused => None,
        };
        let mut expected = Self { commits: history.sent.iter().filter_map(acknowledged).collect(), ..Self::default() };
        expected.commits.sort_by_key(|(_, acknowledgement)| acknowledgement.revision);
        for at in 0..expected.commits.len() {
            let (sent, _) = expected.commits[at];
            sent.operations.iter().for_each(|operation| expected.apply(operation, history.scarce));
        }
        expected
    }

    /// Makes what an operation makes, unless an earlier batch has made it already.
    fn apply(&mut self, operation: &'a Operation, scarce: &str) {
        match operation {
            Operation::NewItem { name, price, stock } => {
                self.items.entry(name).or_insert(ExpectedItem { price: *price, stock: *stock, is_active: true });
            }
            Operation::SetPrice { item, price } => {
                self.items.entry(item).and_modify(|expected| expected.price = *price);
            }
            Operation::Delete { item } => {
                self.items.entry(item).and_modify(|expected| expected.is_active = false);
            }
            Operation::NewInvoice(invoice) => {
                if self.invoices.insert(&invoice.notes, invoice).is_none() {
                    invoice.lines.iter().for_each(|line| self.sell(line, scarce));
                }
            }
            Operation::Pay { note, invoice, amount } => {
                self.payments.insert(note, (invoice, *amount));
            }
        }
    }

    fn sell(&mut self, line: &'a Line, scarce: &str) {
        match &line.product {
            Product::New { name, stock } => {
                let stock = if *stock >= line.quantity { *stock - line.quantity } else { *stock };
                self.items.insert(name, ExpectedItem { price: line.cost, stock, is_active: true });
            }
            Product::Item(item) => {
                if let Some(expected) = self.items.get_mut(item.as_str())
                    && (item != scarce || expected.stock >= line.quantity)
                {
                    expected.stock -= line.quantity;
                }
            }
        }
    }
}

struct Audit<'a> {
    history: &'a History<'a>,
    expected: &'a Expected<'a>,
    books: &'a Books,
    found: Vec<String>,
}

impl Audit<'_> {
    fn violation(&mut self, what: String) {
        self.found.push(format!("client {}: {what}", self.history.client));
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(what());
        }
    }

    /// Every record is this client's, by its field and by its marker.
    fn check_tenancy(&mut self) {
        let books = self.books;
        let items = books.items.iter().map(|item| &item.client_id);
        let invoices = books.invoices.iter().map(|invoice| &invoice.client_id);
        let payments = books.payments.iter().map(|payment| &payment.client_id);
        let purchases = books.purchases.iter().map(|purchase| &purchase.client_id);
        let foreign: BTreeSet<_> = items
            .chain(invoices)
            .chain(payments)
            .chain(purchases)
            .filter(|client| *client != self.history.client)
            .collect();
        self.check(foreign.is_empty(), || format!("sees records of {foreign:?}"));
    }

    /// Each marker that was acknowledged is there once, and no other is there.
    fn check_markers<'b>(&mut self, kind: &str, expected: BTreeSet<&'b str>, found: impl Iterator<Item = &'b str>) {
        let mut counts: BTreeMap<&str, usize> = expected.into_iter().map(|marker| (marker, 0)).collect();
        for marker in found {
            match counts.get_mut(marker) {
                Some(count) => *count += 1,
                None => self.violation(format!("{kind} {marker} is there and was never acknowledged")),
            }
        }
        for (marker, count) in counts {
            self.check(count == 1, || format!("{kind} {marker} was acknowledged and is there {count} times"));
        }
    }

    fn check_items(&mut self) {
        let (expected, books) = (self.expected, self.books);
        let names = books.items.iter().map(|item| item.name.as_str());
        self.check_markers("item", expected.items.keys().copied().collect(), names);
        for item in &books.items {
            let Some(expected) = expected.items.get(item.name.as_str()) else { continue };
            let Item { name, price, stock, is_active, .. } = item;
            self.check(*price == expected.price, || format!("item {name} costs {price:?}, not {:?}", expected.price));
            self.check(*stock == expected.stock, || format!("item {name} has {stock:?}, not {:?}", expected.stock));
            self.check(*is_active == expected.is_active, || format!("item {name} has isActive {is_active}"));
        }
    }

    fn check_invoices(&mut self) {
        let (expected, books) = (self.expected, self.books);
        let notes = books.invoices.iter().map(|invoice| invoice.notes.as_str());
        self.check_markers("invoice", expected.invoices.keys().copied().collect(), notes);
        let names: HashMap<&str, &str> =
            books.items.iter().map(|item| (item.id.as_str(), item.name.as_str())).collect();
        for invoice in &books.invoices {
            let Some(expected) = expected.invoices.get(invoice.notes.as_str()) else { continue };
            self.check_invoice(invoice, expected);
            let sold: Vec<_> = invoice
                .products
                .iter()
                .map(|line| (names.get(line.product_id.as_str()).copied(), line.quantity, line.cost_per_unit))
                .collect();
            let ordered: Vec<_> =
                expected.lines.iter().map(|line| (Some(product_name(line)), line.quantity, line.cost)).collect();
            self.check(sold == ordered, || format!("invoice {} sells {sold:?}, not {ordered:?}", invoice.notes));
        }
    }

    fn check_invoice(&mut self, invoice: &Invoice, expected: &NewInvoice) {
        let of_this = |payment: &&Payment| payment.invoice_id == invoice.id;
        let paid = expected.paid + self.books.payments.iter().filter(of_this).map(|payment| payment.amount).sum();
        let Invoice { notes, total_amount, paid_amount, is_finalized, .. } = invoice;
        self.check(*total_amount == expected.total(), || format!("invoice {notes} has the total {total_amount:?}"));
        self.check(*paid_amount == paid, || format!("invoice {notes} has {paid_amount:?} paid, not {paid:?}"));
        self.check(paid <= *total_amount, || format!("invoice {notes} is paid with more than its total"));
        self.check(*is_finalized == (paid >= *total_amount), || format!("invoice {notes}: isFinalized {is_finalized}"));
        self.check(invoice.client_customer_id == expected.customer, || format!("invoice {notes}: another customer"));
        let number = expected.number.as_ref().is_none_or(|number| *number == invoice.invoice_number);
        self.check(number, || format!("invoice {notes} has the number {}", invoice.invoice_number));
    }

    fn check_payments(&mut self) {
        let (expected, books) = (self.expected, self.books);
        let notes = books.payments.iter().map(|payment| payment.note.as_str());
        self.check_markers("payment", expected.payments.keys().copied().collect(), notes);
        let invoices: HashMap<&str, &str> =
            books.invoices.iter().map(|invoice| (invoice.id.as_str(), invoice.notes.as_str())).collect();
        for payment in &books.payments {
            let Some((invoice, amount)) = expected.payments.get(payment.note.as_str()) else { continue };
            let on = invoices.get(payment.invoice_id.as_str());
            let right = on == Some(invoice) && payment.amount == *amount;
            self.check(right, || format!("payment {} is {:?} on {on:?}", payment.note, payment.amount));
        }
    }

    /// One for each finalised invoice with a customer, and no other.
    fn check_purchases(&mut self) {
        let books = self.books;
        let due = books.invoices.iter().filter(|invoice| invoice.is_finalized);
        let mut due: BTreeSet<_> = due
            .filter_map(|invoice| {
                Some((invoice.id.as_str(), invoice.client_customer_id.as_deref()?, invoice.total_amount))
            })
            .collect();
        for purchase in &books.purchases {
            let made = (purchase.invoice_id.as_str(), purchase.client_customer_id.as_str(), purchase.total_amount);
            self.check(due.remove(&made), || format!("a purchase history too many: {made:?}"));
        }
        for missing in due {
            self.violation(format!("no purchase history for {missing:?}"));
        }
    }

    /// The server's own invoice numbers are 1, 2, 3 .. without a gap, each once.
    fn check_numbers(&mut self) {
        let numbers = self.books.invoices.iter().filter_map(|invoice| invoice.invoice_number.strip_prefix("INV-"));
        let mut numbers: Vec<i64> = numbers.filter_map(|number| number.parse().ok()).collect();
        numbers.sort_unstable();
        self.check(numbers.iter().copied().eq(1..=numbers.len() as i64), || format!("invoice numbers {numbers:?}"));
    }

    /// Every record that a create made has its `localId`, and no other has one.
    fn check_local_ids(&mut self) {
        let books = self.books;
        let items = books.items.iter().map(|item| (&item.name, &item.local_id));
        let invoices = books.invoices.iter().map(|invoice| (&invoice.notes, &invoice.local_id));
        let payments = books.payments.iter().map(|payment| (&payment.note, &payment.local_id));
        let creates = self.expected.commits.iter().flat_map(|(sent, _)| &sent.operations);
        let created: BTreeSet<&Marker> = creates.filter_map(Operation::creates).collect();
        for (marker, found) in items.chain(invoices).chain(payments) {
            let due = created.contains(marker).then(|| local_id(marker));
            self.check(*found == due, || format!("{marker} has the localId {found:?}, not {due:?}"));
        }
    }

    /// The ids that phones were told are those of the records.
    fn check_acknowledged_ids(&mut self) {
        let books = self.books;
        let items = books.items.iter().map(|item| (item.name.as_str(), item.id.as_str()));
        let invoices = books.invoices.iter().map(|invoice| (invoice.notes.as_str(), invoice.id.as_str()));
        let payments = books.payments.iter().map(|payment| (payment.note.as_str(), payment.id.as_str()));
        let ids: HashMap<_, _> = items.chain(invoices).chain(payments).collect();
        for (sent, acknowledgement) in &self.expected.commits {
            for (marker, told) in &acknowledgement.ids {
                let is = ids.get(marker.as_str());
                self.check(is == Some(&told.as_str()), || format!("{}: {marker} is {is:?}, not {told}", sent.key));
            }
        }
    }

    /// One receipt for each acknowledged batch, with its revision, and none for another; revisions 1, 2, 3 ..
    /// without a gap, one for each batch that wrote; nothing that is decided and not applied.
    fn check_commits(&mut self, inside: &Inside) {
        let commits = &self.expected.commits;
        let told: BTreeMap<&str, i64> =
            commits.iter().map(|(sent, acknowledgement)| (sent.key.as_str(), acknowledgement.revision)).collect();
        for (key, revision) in &inside.receipts {
            let acknowledged = told.get(key.as_str());
            self.check(acknowledged == Some(revision), || {
                format!("the receipt of {key} says revision {revision}, its phone heard {acknowledged:?}")
            });
        }
        for key in told.keys().filter(|key| !inside.receipts.contains_key(**key)) {
            self.violation(format!("{key} was acknowledged and has no receipt"));
        }
        // A batch of which all had been applied before writes its receipt only, and takes no revision.
        let wrote = commits.iter().filter(|(_, acknowledgement)| acknowledgement.wrote);
        let revisions: Vec<i64> = wrote.map(|(_, acknowledgement)| acknowledgement.revision).collect();
        self.check(revisions.iter().copied().eq(1..=self.books.revision), || {
            format!("the client is at revision {}, its batches at {revisions:?}", self.books.revision)
        });
        self.check(inside.intents == 0, || format!("{} intents are left", inside.intents));
    }

    /// Every record was written by a batch: at the earliest by the first that asks for it, and a payment, which
    /// never changes, by that one. So nothing of a batch was written without the rest.
    fn check_revisions(&mut self, inside: &Inside) {
        let books = self.books;
        let mut first: HashMap<&Marker, i64> = HashMap::new();
        for (sent, acknowledgement) in &self.expected.commits {
            for marker in sent.operations.iter().filter_map(Operation::creates) {
                first.entry(marker).or_insert(acknowledgement.revision);
            }
        }
        let changing = books.items.iter().map(|item| (&item.name, &item.id));
        let changing = changing.chain(books.invoices.iter().map(|invoice| (&invoice.notes, &invoice.id)));
        for (marker, id) in changing {
            let (made, carries) = (first.get(marker).copied().unwrap_or(1), inside.revisions.get(id).copied());
            let fits = carries.is_some_and(|carries| (made..=books.revision).contains(&carries));
            self.check(fits, || format!("{marker} was made by revision {made} and carries {carries:?}"));
        }
        for payment in &books.payments {
            let (made, carries) = (first.get(&payment.note), inside.revisions.get(&payment.id));
            let note = &payment.note;
            self.check(made == carries, || format!("{note} was made by revision {made:?} and carries {carries:?}"));
        }
    }
}

fn product_name(line: &Line) -> &str {
    match &line.product {
        Product::Item(name) | Product::New { name, .. } => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::{Payment, Purchase, SoldLine};

    const CLIENT: &str = "64b0000000000000000000c1";
    const CUSTOMER: &str = "64b0000000000000000000aa";

    /// Two acknowledged batches: an item, an invoice for it and a payment on that; then another payment.
    fn sent() -> Vec<Sent> {
        let item = Operation::NewItem { name: "tea".into(), price: Units::whole(10), stock: Units::whole(8) };
        let invoice = Operation::NewInvoice(NewInvoice {
            notes: "bill".into(),
            number: None,
            customer: Some(CUSTOMER.into()),
            lines: vec![Line {
                product: Product::Item("tea".into()),
                quantity: Units::whole(3),
                cost: Units::whole(10),
            }],
            tax: Units::ZERO,
            discount: Units::ZERO,
            paid: Units::whole(5),
        });
        let pay = |note: &str, amount| Operation::Pay {
            note: note.into(),
            invoice: "bill".into(),
            amount: Units::whole(amount),
        };
        vec![
            acknowledged("one", 1, vec![item, invoice, pay("part", 15)]),
            acknowledged("two", 2, vec![pay("rest", 10)]),
        ]
    }

    fn acknowledged(key: &str, revision: i64, operations: Vec<Operation>) -> Sent {
        let ids = operations.iter().filter_map(Operation::creates).map(|marker| (marker.clone(), id(marker))).collect();
        let fate = Fate::Acknowledged(Acknowledgement { revision, wrote: true, ids, replayed: false });
        Sent::with_fate(key, operations, fate)
    }

    fn id(marker: &str) -> String {
        format!("id of {marker}")
    }

    fn payment(note: &str, amount: i64) -> Payment {
        Payment {
            id: id(note),
            client_id: CLIENT.into(),
            local_id: Some(local_id(note)),
            invoice_id: id("bill"),
            amount: Units::whole(amount),
            note: note.into(),
        }
    }

    /// The books after these two batches.
    fn books() -> Books {
        let item = Item {
            id: id("tea"),
            client_id: CLIENT.into(),
            local_id: Some(local_id("tea")),
            name: "tea".into(),
            price: Units::whole(10),
            stock: Units::whole(5),
            is_active: true,
        };
        let line = SoldLine { product_id: id("tea"), cost_per_unit: Units::whole(10), quantity: Units::whole(3) };
        let invoice = Invoice {
            id: id("bill"),
            client_id: CLIENT.into(),
            local_id: Some(local_id("bill")),
            invoice_number: "INV-000001".into(),
            notes: "bill".into(),
            client_customer_id: Some(CUSTOMER.into()),
            total_amount: Units::whole(30),
            paid_amount: Units::whole(30),
            is_finalized: true,
            products: vec![line],
        };
        let purchase = Purchase {
            id: id("purchase"),
            client_id: CLIENT.into(),
            client_customer_id: CUSTOMER.into(),
            invoice_id: id("bill"),
            total_amount: Units::whole(30),
        };
        let revisions = [("tea", 1), ("bill", 2), ("part", 1), ("rest", 2)];
        let inside = Inside {
            receipts: [("one".to_owned(), 1), ("two".to_owned(), 2)].into(),
            intents: 0,
            revisions: revisions.map(|(marker, revision)| (id(marker), revision)).into(),
        };
        Books {
            revision: 2,
            items: vec![item],
            invoices: vec![invoice],
            payments: vec![payment("part", 15), payment("rest", 10)],
            purchases: vec![purchase],
            inside: Some(inside),
        }
    }

    fn found(sent: &[Sent], books: &Books) -> Vec<String> {
        audit(&History { client: CLIENT, scarce: "none", sent: sent.iter().collect() }, books)
    }

    #[test]
    fn right_books_pass() {
        assert_eq!(found(&sent(), &books()), Vec::<String>::new());
        assert_eq!(found(&sent(), &books().as_pulled()), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_wrong_books_is_told() {
        type Break = fn(&mut Books);
        fn inside(books: &mut Books) -> &mut Inside {
            books.inside.as_mut().unwrap()
        }
        let breaks: [(&str, Break); 20] = [
            ("is there 2 times", |books| books.payments.push(payment("part", 15))),
            ("is there 0 times", |books| drop(books.payments.pop())),
            ("is there 0 times", |books| books.items.clear()),
            ("was never acknowledged", |books| books.payments.push(payment("ghost", 1))),
            ("paid, not", |books| books.invoices[0].paid_amount = Units::whole(20)),
            ("isFinalized", |books| books.invoices[0].is_finalized = false),
            ("has the total", |books| books.invoices[0].total_amount = Units::whole(31)),
            ("tea has 8, not 5", |books| books.items[0].stock = Units::whole(8)),
            ("costs", |books| books.items[0].price = Units::whole(11)),
            ("isActive", |books| books.items[0].is_active = false),
            ("no purchase history", |books| books.purchases.clear()),
            ("a purchase history too many", |books| books.purchases.push(books.purchases[0].clone())),
            ("invoice numbers", |books| books.invoices[0].invoice_number = "INV-000002".into()),
            ("sees records of", |books| books.items[0].client_id = CUSTOMER.into()),
            ("localId", |books| books.items[0].local_id = None),
            ("has no receipt", |books| inside(books).receipts.retain(|key, _| key != "two")),
            ("the receipt of three", |books| inside(books).receipts.extend([("three".to_owned(), 3)])),
            ("the client is at revision 3", |books| books.revision = 3),
            ("intents are left", |books| inside(books).intents = 1),
            ("rest was made by revision", |books| inside(books).revisions.extend([(id("rest"), 1)])),
        ];
        for (told, break_them) in breaks {
            let mut books = books();
            break_them(&mut books);
            let found = found(&sent(), &books);
            assert!(found.iter().any(|violation| violation.contains(told)), "{told}: {found:?}");
        }
    }

    #[test]
    fn an_id_that_a_phone_was_told_is_that_of_the_record() {
        let mut books = books();
        books.items[0].id = id("another");
        assert!(found(&sent(), &books).iter().any(|violation| violation.contains("one: tea is")));
    }

    #[test]
    fn a_create_that_came_in_two_batches_counts_once() {
        let mut sent = sent();
        let operations = sent[0].operations.clone();
        let mut again = acknowledged("again", 2, operations);
        if let Fate::Acknowledged(acknowledgement) = &mut again.fate {
            acknowledgement.wrote = false;
        }
        sent.push(again);
        let mut books = books();
        books.inside.as_mut().unwrap().receipts.insert("again".into(), 2);
        assert_eq!(found(&sent, &books), Vec::<String>::new());
    }
}
