//! The rules of `payment.create`.

use super::ReadSet;
use super::draft::{Draft, FoundInvoice, InvoiceView};
use crate::batch::{Batch, NewPayment, ProblemCode, Target};
use crate::model::{Amount, Payment};

/// Invoices that are paid on.
pub(super) fn reads(batch: &Batch, reads: &mut ReadSet) {
    for payment in &batch.new_payments {
        if let Target::Stored(id) = payment.invoice {
            reads.invoices.insert(id);
        }
    }
}

pub(super) fn apply(batch: &Batch, draft: &mut Draft<'_>) {
    for (index, payment) in batch.new_payments.iter().enumerate() {
        create(payment, &format!("/payment/create/{index}"), draft);
    }
}

fn create(new: &NewPayment, path: &str, draft: &mut Draft<'_>) {
    let invoice = match draft.invoice(&new.invoice) {
        FoundInvoice::Invoice(invoice) => invoice,
        FoundInvoice::Refused => return,
        FoundInvoice::Nothing => {
            let message = format!("Invoice not found for payment: {}", new.invoice);
            return draft.problem(format!("{path}/invoiceId"), ProblemCode::NotFound, message);
        }
    };
    let (Some(total), Some(paid)) = (invoice.total_amount, invoice.paid_amount) else {
        let message = format!("Invoice has no readable amounts: {}", invoice.id);
        return draft.problem(format!("{path}/invoiceId"), ProblemCode::UnreadableRecord, message);
    };
    match paid.plus(new.amount) {
        Ok(paid) if paid <= total => pay(new, invoice, paid, paid == total, draft),
        _ => {
            let message = "Payment exceeds outstanding balance".to_owned();
            draft.problem(format!("{path}/amount"), ProblemCode::ExceedsBalance, message);
        }
    }
}

fn pay(new: &NewPayment, invoice: InvoiceView, paid_amount: Amount, is_finalized: bool, draft: &mut Draft<'_>) {
    let payment = Payment {
        id: draft.new_id(),
        invoice_id: invoice.id,
        amount: new.amount,
        method: new.method.clone(),
        note: new.note.clone(),
        paid_at: new.paid_at.unwrap_or(draft.now),
        created_at: draft.now,
        updated_at: draft.now,
    };
    draft.synced.payments_created.push(payment.id);
    draft.id_map.payments.extend(new.alias.clone().map(|alias| (alias, payment.id)));
    draft.payments.push(payment);
    draft.settle_invoice(invoice.id, paid_amount, is_finalized);
    if is_finalized {
        draft.insert_purchase(invoice);
    }
}
