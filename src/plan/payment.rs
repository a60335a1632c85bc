//! The rules of `payment.create`.

use serde_json::{Value, json};

use super::ReadSet;
use super::draft::{Claim, Draft, Found, InvoiceView};
use crate::batch::{Batch, NewPayment, ProblemCode};
use crate::model::{Amount, Collection, Payment, PaymentId};

/// Invoices that are paid on.
pub(super) fn reads(batch: &Batch, reads: &mut ReadSet) {
    for payment in &batch.new_payments {
        reads.local_ids.extend(payment.identity.local_id.clone());
        reads.invoice(&payment.invoice);
    }
}

pub(super) fn apply(batch: &Batch, draft: &mut Draft<'_>) {
    for payment in &batch.new_payments {
        create(payment, draft);
    }
}

fn create(new: &NewPayment, draft: &mut Draft<'_>) {
    let path = format!("/payment/create/{}", new.identity.index);
    match draft.claim::<PaymentId>(&new.identity, Collection::Payments, &path, |draft| content(new, draft)) {
        Claim::New(id) => pay(id, new, &path, draft),
        Claim::Applied(id) => note(id, new, draft),
        Claim::Refused => {}
    }
}

/// Tells the phone which payment it is.
fn note(id: PaymentId, new: &NewPayment, draft: &mut Draft<'_>) {
    draft.synced.payments_created.push(id);
    draft.id_map.payments.extend(new.identity.names.iter().map(|name| (name.clone(), id)));
}

/// All that the create says.
fn content(new: &NewPayment, draft: &Draft<'_>) -> Value {
    json!({
        "invoiceId": draft.invoice_name(&new.invoice),
        "amount": new.amount.to_json(),
        "method": new.method,
        "note": new.note,
        "paidAt": new.paid_at.map(|at| at.to_string()),
    })
}

/// Pays, if the invoice and its balance are there.
fn pay(id: PaymentId, new: &NewPayment, path: &str, draft: &mut Draft<'_>) {
    let invoice = match draft.invoice(&new.invoice) {
        Found::Record(invoice) => invoice,
        Found::Refused => return,
        Found::Nothing => {
            let message = format!("Invoice not found for payment: {}", new.invoice);
            return draft.problem(format!("{path}/invoiceId"), ProblemCode::NotFound, message);
        }
    };
    let (Some(total), Some(paid)) = (invoice.total_amount, invoice.paid_amount) else {
        let message = format!("Invoice has no readable amounts: {}", invoice.id);
        return draft.problem(format!("{path}/invoiceId"), ProblemCode::UnreadableRecord, message);
    };
    match paid.plus(new.amount) {
        Ok(paid) if paid <= total => {
            note(id, new, draft);
            insert(id, new, invoice, paid, paid == total, draft);
        }
        _ => {
            let message = "Payment exceeds outstanding balance".to_owned();
            draft.problem(format!("{path}/amount"), ProblemCode::ExceedsBalance, message);
        }
    }
}

fn insert(
    id: PaymentId,
    new: &NewPayment,
    invoice: InvoiceView,
    paid_amount: Amount,
    is_finalized: bool,
    draft: &mut Draft<'_>,
) {
    let payment = Payment {
        id,
        local_id: new.identity.local_id.clone(),
        invoice_id: invoice.id,
        amount: new.amount,
        method: new.method.clone(),
        note: new.note.clone(),
        paid_at: new.paid_at.unwrap_or(draft.now),
        created_at: draft.now,
        updated_at: draft.now,
    };
    draft.payments.push(payment);
    draft.settle_invoice(invoice.id, paid_amount, is_finalized);
    if is_finalized {
        draft.insert_purchase(invoice);
    }
}
