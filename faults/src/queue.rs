//! What people do in a shop, at random: the operations that fill a phone's queue.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::operation::{Line, Marker, NewInvoice, Operation, Product};
use crate::units::Units;

/// What all phones of a shop sell and bill together.
#[derive(Debug)]
pub struct Shelf {
    /// Items that never run out.
    ample: [(Marker, Units); 3],
    /// An item that does. It is sold one by one, so that the order of the sales does not matter.
    pub scarce: Marker,
    /// An invoice that all phones take payments on, more than it is worth.
    open_bill: Marker,
    customer: String,
}

impl Shelf {
    /// How many there are of the scarce item.
    pub const SCARCE_STOCK: Units = Units::whole(5);
    const AMPLE_STOCK: Units = Units::whole(100_000);
    const SCARCE_PRICE: Units = Units::cents(2000);

    /// The shelf of the shop with this tag.
    pub fn new(tag: &str) -> Self {
        let item = |name: &str, cents| (format!("{tag}.{name}"), Units::cents(cents));
        Self {
            ample: [item("tea", 1252), item("salt", 4000), item("oil", 9996)],
            scarce: format!("{tag}.saffron"),
            open_bill: format!("{tag}.tab"),
            customer: format!("{:0<24}", tag.replace(|c: char| !c.is_ascii_hexdigit(), "")),
        }
    }

    /// What fills it.
    pub fn opening(&self) -> Vec<Operation> {
        let item = |name: &Marker, price, stock| Operation::NewItem { name: name.clone(), price, stock };
        let mut operations: Vec<_> =
            self.ample.iter().map(|(name, price)| item(name, *price, Self::AMPLE_STOCK)).collect();
        operations.push(item(&self.scarce, Self::SCARCE_PRICE, Self::SCARCE_STOCK));
        let (salt, cost) = self.ample[1].clone();
        operations.push(Operation::NewInvoice(NewInvoice {
            notes: self.open_bill.clone(),
            number: None,
            customer: Some(self.customer.clone()),
            lines: vec![Line { product: Product::Item(salt), quantity: Units::whole(5), cost }],
            tax: Units::ZERO,
            discount: Units::ZERO,
            paid: Units::ZERO,
        }));
        operations
    }
}

/// What one phone has made so far, as far as it can use it again.
#[derive(Debug)]
pub struct Queue {
    tag: String,
    made: usize,
    keys: usize,
    items: Vec<(Marker, Units)>,
    bills: Vec<(Marker, Units)>,
}

impl Queue {
    /// Of the phone with this tag.
    pub fn new(tag: String) -> Self {
        Self { tag, made: 0, keys: 0, items: Vec::new(), bills: Vec::new() }
    }

    /// A key that no other batch has.
    pub fn next_key(&mut self) -> String {
        self.keys += 1;
        format!("{}/batch-{}", self.tag, self.keys)
    }

    /// The operations of the next batch, and whether the records may say no to them.
    pub fn fill(&mut self, shelf: &Shelf, rng: &mut ChaCha8Rng) -> (Vec<Operation>, bool) {
        if rng.random_ratio(1, 8) {
            let note = self.marker("pay");
            let amount = Units::cents(rng.random_range(500..6000));
            return (vec![Operation::Pay { note, invoice: shelf.open_bill.clone(), amount }], true);
        }
        (self.fill_more(shelf, rng), false)
    }

    /// Operations that no record says no to.
    pub fn fill_more(&mut self, shelf: &Shelf, rng: &mut ChaCha8Rng) -> Vec<Operation> {
        // The first of a batch makes a record, so that every batch can be counted.
        let mut operations = vec![self.new_invoice(shelf, rng)];
        for _ in 0..rng.random_range(0..6) {
            let more = match rng.random_range(0..10) {
                0..=2 => Some(self.new_item(rng)),
                3..=4 => Some(self.new_invoice(shelf, rng)),
                5..=7 => self.payment(rng),
                8 => self.new_price(rng),
                _ => self.deletion(rng),
            };
            operations.extend(more);
        }
        operations
    }

    fn marker(&mut self, kind: &str) -> Marker {
        self.made += 1;
        format!("{}.{kind}{}", self.tag, self.made)
    }

    fn new_item(&mut self, rng: &mut ChaCha8Rng) -> Operation {
        let (name, price) = (self.marker("item"), price(rng));
        self.items.push((name.clone(), price));
        Operation::NewItem { name, price, stock: Units::whole(1000) }
    }

    fn new_price(&mut self, rng: &mut ChaCha8Rng) -> Option<Operation> {
        let (item, _) = self.items.choose(rng)?.clone();
        Some(Operation::SetPrice { item, price: price(rng) })
    }

    fn deletion(&mut self, rng: &mut ChaCha8Rng) -> Option<Operation> {
        if self.items.is_empty() {
            return None;
        }
        let (item, _) = self.items.swap_remove(rng.random_range(0..self.items.len()));
        Some(Operation::Delete { item })
    }

    fn new_invoice(&mut self, shelf: &Shelf, rng: &mut ChaCha8Rng) -> Operation {
        let notes = self.marker("bill");
        let lines = (0..rng.random_range(1..4)).map(|_| self.line(shelf, rng)).collect();
        let tax = rng.random_range(0..100);
        let mut invoice = NewInvoice {
            number: rng.random_ratio(1, 6).then(|| format!("OWN-{notes}")),
            customer: rng.random_bool(0.5).then(|| shelf.customer.clone()),
            notes,
            lines,
            tax: Units::cents(tax),
            discount: Units::cents(rng.random_range(0..=tax)),
            paid: Units::ZERO,
        };
        let total = invoice.total();
        invoice.paid = match rng.random_range(0..3) {
            0 => Units::ZERO,
            1 => Units(rng.random_range(0..total.0)),
            _ => total,
        };
        self.bills.push((invoice.notes.clone(), total - invoice.paid));
        Operation::NewInvoice(invoice)
    }

    fn line(&mut self, shelf: &Shelf, rng: &mut ChaCha8Rng) -> Line {
        let quantity = *[Units::whole(1), Units::whole(3), Units(5000), Units(2500)].choose(rng).expect("a list");
        let sold = |item: &(Marker, Units)| Line { product: Product::Item(item.0.clone()), quantity, cost: item.1 };
        match rng.random_range(0..10) {
            0..=1 => {
                let product = Product::Item(shelf.scarce.clone());
                Line { product, quantity: Units::whole(1), cost: Shelf::SCARCE_PRICE }
            }
            2..=3 => {
                // Of half of them there is not enough.
                let stock = if rng.random_bool(0.5) { Units::whole(10) } else { Units::ZERO };
                Line { product: Product::New { name: self.marker("line"), stock }, quantity, cost: price(rng) }
            }
            4..=6 => self.items.choose(rng).map_or_else(|| sold(&shelf.ample[0]), sold),
            _ => sold(shelf.ample.choose(rng).expect("a list")),
        }
    }

    fn payment(&mut self, rng: &mut ChaCha8Rng) -> Option<Operation> {
        let open: Vec<usize> = (0..self.bills.len()).filter(|at| self.bills[*at].1 > Units::ZERO).collect();
        let at = *open.choose(rng)?;
        let left = self.bills[at].1;
        let amount = if rng.random_bool(0.5) { left } else { Units(rng.random_range(1..=left.0)) };
        self.bills[at].1 -= amount;
        Some(Operation::Pay { note: self.marker("pay"), invoice: self.bills[at].0.clone(), amount })
    }
}

/// A price of which a quarter is still exact.
fn price(rng: &mut ChaCha8Rng) -> Units {
    Units::cents(rng.random_range(1..5000) * 4)
}
