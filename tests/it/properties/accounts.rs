//! Money: what is owed, what is paid, and what is in the purchase history.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use viveka_sync::model::{Invoice, InvoiceId};

use super::body::{amount, divide, list, units_of};
use super::book::Book;
use super::story::{config, stories};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn paid_amount_is_what_was_paid_at_first_and_by_payments_and_never_more_than_the_total(story in stories()) {
        story.check_commits(|step, plan| {
            let mut paid = paid(&step.before);
            let created = &plan.receipt.synced.invoices_created;
            for (sent, id) in list(&step.body, "invoice", "create").iter().zip(created) {
                paid.insert(*id, amount(sent, "paidAmount").unwrap_or_default());
            }
            for (sent, id) in list(&step.body, "payment", "create").iter().zip(&plan.receipt.synced.payments_created) {
                let payment = &step.after.payments[id];
                prop_assert_eq!(Some(units_of(payment.amount)), amount(sent, "amount"));
                *paid.entry(payment.invoice_id).or_default() += units_of(payment.amount);
            }
            prop_assert_eq!(self::paid(&step.after), paid);
            for invoice in step.after.readable_invoices() {
                prop_assert!(invoice.paid_amount <= invoice.totals.total_amount, "{:?}", invoice);
            }
            Ok(())
        })?;
    }

    #[test]
    fn an_invoice_is_finalized_just_when_its_total_is_paid(story in stories()) {
        story.check(|step| {
            for invoice in step.after.readable_invoices() {
                let is_paid = invoice.paid_amount >= invoice.totals.total_amount;
                prop_assert_eq!(invoice.is_finalized, is_paid, "{:?}", invoice);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_finalized_invoice_with_a_customer_has_one_purchase_history_and_others_have_none(story in stories()) {
        story.check(|step| {
            let mut belonging = 0;
            for invoice in step.after.invoices.values() {
                let before = step.before.purchases_of(invoice.id).len();
                has_its_purchases(invoice, before, &step.after)?;
                belonging += step.after.purchases_of(invoice.id).len();
            }
            prop_assert_eq!(belonging, step.after.purchases.len(), "a purchase history belongs to no invoice");
            Ok(())
        })?;
    }

    #[test]
    fn sums_that_are_not_stated_follow_from_the_lines_and_are_rounded_once(story in stories()) {
        story.check_commits(|step, plan| {
            let created = &plan.receipt.synced.invoices_created;
            for (sent, id) in list(&step.body, "invoice", "create").iter().zip(created) {
                has_its_sums(&step.after.invoices[id], sent)?;
            }
            Ok(())
        })?;
    }
}

fn paid(book: &Book) -> BTreeMap<InvoiceId, i128> {
    book.invoices.iter().map(|(id, invoice)| (*id, units_of(invoice.paid_amount))).collect()
}

/// An old record may have been there before its invoice was finalised; nothing is added to it.
fn has_its_purchases(invoice: &Invoice, before: usize, book: &Book) -> TestCaseResult {
    let purchases = book.purchases_of(invoice.id);
    let expected = if invoice.is_finalized { usize::from(invoice.client_customer_id.is_some()) } else { before };
    prop_assert_eq!(purchases.len(), expected, "{:?} has {:?}", invoice, purchases);
    for purchase in purchases {
        prop_assert_eq!(Some(purchase.client_customer_id), invoice.client_customer_id);
        prop_assert_eq!(&purchase.client_customer_phone, &invoice.client_customer_phone);
        prop_assert_eq!(purchase.total_amount, invoice.totals.total_amount);
    }
    Ok(())
}

fn has_its_sums(invoice: &Invoice, sent: &Value) -> TestCaseResult {
    let products = invoice.products.iter().map(|line| units_of(line.cost_per_unit) * units_of(line.quantity));
    let subtotal = amount(sent, "subtotal").unwrap_or_else(|| divide(products.sum(), 10_000));
    let tax = amount(sent, "totalTax").unwrap_or_default();
    let discount = amount(sent, "totalDiscount").unwrap_or_default();
    let total = amount(sent, "totalAmount").unwrap_or(subtotal + tax - discount);
    let totals = &invoice.totals;
    let has = [totals.subtotal, totals.total_tax, totals.total_discount, totals.total_amount].map(units_of);
    prop_assert_eq!(has, [subtotal, tax, discount, total], "{:?}", invoice);
    prop_assert!(total >= 0);
    Ok(())
}
