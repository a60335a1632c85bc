//! Invoice numbers.

use std::collections::HashSet;

use proptest::prelude::*;
use viveka_sync::model::invoice_number;

use super::body::{list, text};
use super::story::{Outcome, config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn default_numbers_are_the_next_that_neither_the_book_nor_the_batch_has(story in stories()) {
        story.check_commits(|step, plan| {
            let sent = list(&step.body, "invoice", "create");
            let stated: HashSet<String> = sent.iter().filter_map(|invoice| text(invoice, "invoiceNumber")).collect();
            let taken = step.before.numbers();
            let is_free = |number: &String| !taken.contains(number) && !stated.contains(number);
            let mut free = (step.before.next_invoice..).map(invoice_number).filter(is_free);
            for (sent, id) in sent.iter().zip(&plan.receipt.synced.invoices_created) {
                let expected = text(sent, "invoiceNumber").or_else(|| free.next());
                prop_assert_eq!(Some(&step.after.invoices[id].invoice_number), expected.as_ref());
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_number_is_never_given_twice(story in stories()) {
        let mut given = HashSet::new();
        for step in story.steps() {
            let sent = list(&step.body, "invoice", "create");
            let Outcome::Committed(plan) = &step.outcome else { continue };
            let stated: Vec<_> = sent.iter().filter_map(|invoice| text(invoice, "invoiceNumber")).collect();
            let created = sent.iter().zip(&plan.receipt.synced.invoices_created);
            for (_, id) in created.filter(|(invoice, _)| text(invoice, "invoiceNumber").is_none()) {
                let number = &step.after.invoices[id].invoice_number;
                prop_assert!(given.insert(number.clone()), "{} was given twice\n{}", number, step.body);
                prop_assert!(!step.before.numbers().contains(number), "{} was taken\n{}", number, step.body);
                prop_assert!(!stated.contains(number), "{} was stated\n{}", number, step.body);
            }
            prop_assert!(step.after.next_invoice >= step.before.next_invoice);
        }
    }
}
