//! The operations of one sync.

use super::{CUSTOMERS, Draw, Place, SHARED_ITEMS, Script, Units, shared_item};

/// The operations of a sync, in the order in which the server applies them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// `item.create`.
    pub items: Vec<NewItem>,
    /// `item.update`: an item of the phone's shelf, and its new price. It is made active again.
    pub updates: Vec<(u32, Units)>,
    /// `item.delete`: items of the phone's shelf.
    pub deletes: Vec<u32>,
    /// `invoice.create`.
    pub invoices: Vec<NewInvoice>,
    /// `payment.create`.
    pub payments: Vec<NewPayment>,
}

/// An item as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewItem {
    /// `price`.
    pub price: Units,
    /// `stock`.
    pub stock: Units,
}

/// An invoice as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvoice {
    /// `clientCustomerId`.
    pub customer: Option<u32>,
    /// `products`.
    pub lines: Vec<Line>,
    /// `totalTax`.
    pub tax: Units,
    /// `totalDiscount`.
    pub discount: Units,
    /// `paidAmount`.
    pub paid: Units,
}

/// A line of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What is sold.
    pub product: Product,
    /// `quantity`.
    pub quantity: Units,
    /// What a piece costs, stated or not.
    pub cost: Units,
    /// Whether `costPerUnit` is stated; else the server takes the item's price.
    pub states_cost: bool,
}

/// What a line sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A shared item of the shop; the last one is the scarce one.
    Shared(u32),
    /// An item that this batch creates.
    Created(u32),
    /// A new item that the line makes, with this stock.
    New(Units),
}

/// A payment as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPayment {
    /// `invoiceId`.
    pub bill: Bill,
    /// `amount`.
    pub amount: Units,
}

/// What is paid on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bill {
    /// An invoice that this batch creates.
    Created(u32),
    /// The tab of the phone.
    Tab,
    /// The tab that all phones of the shop share.
    SharedTab,
}

impl Script {
    /// The operations of a sync; there are as many of each kind as the recipe says.
    pub fn order(&self, place: Place) -> Order {
        let mut draw = self.draw(place, 0);
        let recipe = &self.recipe;
        let shelf = self.shelf();
        let items: Vec<_> = (0..recipe.items).map(|_| new_item(&mut draw)).collect();
        let first = draw.below(shelf);
        let updates = (0..recipe.updates).map(|nth| ((first + nth) % shelf, price(&mut draw))).collect();
        let first = draw.below(shelf);
        let deletes = (0..recipe.deletes).map(|nth| (first + nth) % shelf).collect();
        let invoices: Vec<_> = (0..recipe.invoices).map(|_| new_invoice(&mut draw, &items)).collect();
        let payments = (0..recipe.payments).map(|nth| new_payment(&mut draw, nth, &invoices)).collect();
        Order { items, updates, deletes, invoices, payments }
    }
}

impl Order {
    /// How many records its creates make, those of invoice lines aside: as many as the server tells as applied before.
    pub fn creates(&self) -> usize {
        self.items.len() + self.invoices.len() + self.payments.len()
    }

    /// The lines that make an item: invoice, line, price, stock before the sale, quantity.
    pub fn new_lines(&self) -> impl Iterator<Item = (u32, u32, Units, Units, Units)> {
        let numbered = (0..).zip(&self.invoices).flat_map(|(invoice, of)| {
            let lines = (0..).zip(&of.lines);
            lines.map(move |(at, line)| (invoice, at, line))
        });
        numbered.filter_map(|(invoice, at, line)| match line.product {
            Product::New(stock) => Some((invoice, at, line.cost, stock, line.quantity)),
            Product::Shared(_) | Product::Created(_) => None,
        })
    }

    /// The quantities in which an item that the batch creates is sold, in order.
    pub fn sales_of(&self, created: u32) -> impl Iterator<Item = Units> {
        let lines = self.invoices.iter().flat_map(|invoice| &invoice.lines);
        lines.filter(move |line| line.product == Product::Created(created)).map(|line| line.quantity)
    }
}

impl NewInvoice {
    /// The total that the server computes.
    pub fn total(&self) -> Units {
        self.subtotal() + self.tax - self.discount
    }

    /// The subtotal that the server computes.
    pub fn subtotal(&self) -> Units {
        self.lines.iter().map(|line| line.cost.times(line.quantity)).sum()
    }
}

fn new_item(draw: &mut Draw) -> NewItem {
    NewItem { price: price(draw), stock: Units::whole(1_000) + Units::cents(i64::from(draw.below(4) * 25)) }
}

/// 1.00 to 499.99: with quantities in quarters, a line comes to 4 decimal places at most, and nothing is rounded.
fn price(draw: &mut Draw) -> Units {
    Units::cents(i64::from(draw.within(100..50_000)))
}

fn new_invoice(draw: &mut Draw, items: &[NewItem]) -> NewInvoice {
    let lines = (0..draw.within(1..4)).map(|_| new_line(draw, items)).collect();
    let mut invoice = NewInvoice {
        customer: draw.percent(50.0).then(|| draw.below(CUSTOMERS)),
        lines,
        tax: Units::cents(i64::from(draw.below(1_000))),
        // A line comes to 0.25 at least, so that the total stays above 0.
        discount: Units::cents(i64::from(draw.below(25))),
        paid: Units::ZERO,
    };
    invoice.paid = match draw.below(10) {
        0 => invoice.total(),
        1 | 2 => invoice.total().half(),
        _ => Units::ZERO,
    };
    invoice
}

fn new_line(draw: &mut Draw, items: &[NewItem]) -> Line {
    let quantity = Units::cents(i64::from(draw.within(1..21) * 25));
    let states_cost = draw.percent(50.0);
    let stated = price(draw);
    let line =
        |product, listed| Line { product, quantity, cost: if states_cost { stated } else { listed }, states_cost };
    match draw.below(10) {
        // The scarce one goes piece by piece, so that what is left does not depend on the order of the sales.
        0 => Line { quantity: Units::whole(1), ..line(Product::Shared(SHARED_ITEMS), shared_item(SHARED_ITEMS).0) },
        1 => Line { cost: stated, states_cost: true, ..line(Product::New(Units::whole(draw.below(8).into())), stated) },
        2..=5 if !items.is_empty() => {
            let index = draw.below(items.len() as u32);
            line(Product::Created(index), items[index as usize].price)
        }
        _ => {
            let index = draw.below(SHARED_ITEMS);
            line(Product::Shared(index), shared_item(index).0)
        }
    }
}

/// The first payments are for the invoices of the batch, in full or in part; what is left goes on the tabs.
fn new_payment(draw: &mut Draw, nth: u32, invoices: &[NewInvoice]) -> NewPayment {
    let rest = invoices.get(nth as usize).map_or(Units::ZERO, |invoice| invoice.total() - invoice.paid);
    let in_full = draw.percent(60.0);
    let some = Units::cents(i64::from(draw.within(1..10_000)));
    let shared = draw.percent(50.0);
    if rest.half() > Units::ZERO {
        NewPayment { bill: Bill::Created(nth), amount: if in_full { rest } else { rest.half() } }
    } else {
        NewPayment { bill: if shared { Bill::SharedTab } else { Bill::Tab }, amount: some }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Run;
    use super::*;

    fn script(recipe: &str) -> Script {
        Script {
            run: Run(1),
            seed: 3,
            recipe: recipe.parse().unwrap(),
            hangups: 0.0,
            rebatch: 0.0,
            most_operations: 1_000,
        }
    }

    #[test]
    fn an_order_is_the_same_when_it_is_made_again_and_another_phone_makes_another() {
        let script = script("day");
        let place = Place { shop: 2, phone: 1, sync: 9 };
        assert_eq!(script.order(place), script.order(place));
        assert_ne!(script.order(place), script.order(Place { phone: 2, ..place }));
        assert_ne!(script.order(place), script.order(Place { shop: 1, ..place }));
    }

    #[test]
    fn orders_keep_the_recipe_and_the_rules() {
        for recipe in ["day", "till", "market", "catalogue", "7:invoice=1", "5:payment=1", "3:delete=1"] {
            let script = script(recipe);
            for sync in 1..50 {
                let order = script.order(Place { shop: 0, phone: 1, sync });
                let counts = [order.items.len(), order.updates.len(), order.deletes.len(), order.invoices.len()];
                let recipe = script.recipe;
                let wanted =
                    [recipe.items, recipe.updates, recipe.deletes, recipe.invoices].map(|count| count as usize);
                assert_eq!((counts, order.payments.len()), (wanted, recipe.payments as usize));
                let on_shelf = |index: u32| index < script.shelf();
                assert!(order.deletes.iter().all(|index| on_shelf(*index)));
                assert!(order.updates.iter().all(|(index, price)| on_shelf(*index) && *price > Units::ZERO));
                for (at, invoice) in order.invoices.iter().enumerate() {
                    let paid = order.payments.iter().filter(|payment| payment.bill == Bill::Created(at as u32));
                    let paid = invoice.paid + paid.map(|payment| payment.amount).sum();
                    assert!(invoice.total() > Units::ZERO && paid <= invoice.total(), "{invoice:?} {paid}");
                }
                assert!(order.payments.iter().all(|payment| payment.amount > Units::ZERO));
            }
        }
    }
}
