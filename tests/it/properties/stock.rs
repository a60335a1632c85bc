//! Stock.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use viveka_sync::batch::WarningKind;
use viveka_sync::model::{Invoice, ItemId};
use viveka_sync::plan::Plan;

use super::body::{amount, list, units_of};
use super::book::Book;
use super::plans::makes_an_item;
use super::story::{Step, config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn stock_is_what_was_set_last_less_what_lines_sold_that_had_enough(story in stories()) {
        story.check_commits(|step, plan| {
            let mut shelf = Shelf { stock: stock(&step.before), warned: warned(plan) };
            shelf.set(step, plan);
            for (index, id) in plan.receipt.synced.invoices_created.iter().enumerate() {
                let sent = &list(&step.body, "invoice", "create")[index];
                shelf.sell(index, sent, &step.after.invoices[id])?;
            }
            prop_assert_eq!(&stock(&step.after), &shelf.stock);
            prop_assert_eq!(shelf.warned, BTreeSet::new(), "warnings of lines that are not there");
            Ok(())
        })?;
    }

    #[test]
    fn stock_is_never_negative(story in stories()) {
        story.check(|step| {
            let negative = stock(&step.after).into_iter().find(|(_, stock)| *stock < 0);
            prop_assert_eq!(negative, None);
            Ok(())
        })?;
    }
}

/// A second account of all stock, in ten-thousandths, and the lines that were warned of.
struct Shelf {
    stock: BTreeMap<ItemId, i128>,
    warned: BTreeSet<String>,
}

impl Shelf {
    /// Takes in what item creates and updates say.
    fn set(&mut self, step: &Step, plan: &Plan) {
        let synced = &plan.receipt.synced;
        for (sent, id) in list(&step.body, "item", "create").iter().zip(&synced.items_created) {
            self.stock.insert(*id, amount(sent, "stock").unwrap_or_default());
        }
        for (sent, id) in list(&step.body, "item", "update").iter().zip(&synced.items_updated) {
            self.stock.extend(amount(sent, "stock").map(|stock| (*id, stock)));
        }
    }

    /// Sells the lines of one invoice.
    fn sell(&mut self, index: usize, sent: &Value, invoice: &Invoice) -> TestCaseResult {
        let lines = sent["products"].as_array().unwrap();
        prop_assert_eq!(lines.len(), invoice.products.len());
        for (place, (line, sold)) in lines.iter().zip(&invoice.products).enumerate() {
            if makes_an_item(line) {
                self.stock.insert(sold.product_id, amount(line, "stock").unwrap_or_default());
            }
            let quantity = amount(line, "quantity").unwrap();
            let stock = self.stock.get_mut(&sold.product_id).unwrap();
            let warned = self.warned.remove(&format!("/invoice/create/{index}/products/{place}"));
            prop_assert_eq!(units_of(sold.quantity), quantity);
            prop_assert_eq!(warned, *stock < quantity, "{} on the shelf, {} sold", stock, quantity);
            *stock -= if warned { 0 } else { quantity };
        }
        Ok(())
    }
}

fn stock(book: &Book) -> BTreeMap<ItemId, i128> {
    book.items.iter().map(|(id, item)| (*id, units_of(item.stock))).collect()
}

/// The paths of all warnings of too little stock.
fn warned(plan: &Plan) -> BTreeSet<String> {
    let short = plan.receipt.warnings.iter().filter(|w| matches!(w.kind, WarningKind::InsufficientStock { .. }));
    short.map(|warning| warning.path.clone()).collect()
}
