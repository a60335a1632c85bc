//! The rules of `invoice.create`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::ReadSet;
use super::draft::{Claim, Draft, Found, InvoiceView, ItemView};
use super::item::unknown;
use crate::batch::{Batch, LineProduct, NewInvoice, NewLine, ProblemCode, ReferenceKind, WarningKind, complete_totals};
use crate::model::{Amount, Collection, Invoice, InvoiceId, InvoiceLine, Item, ItemChanges, Totals};

/// Items that are sold, customers, and the numbers that invoices without one may get.
pub(super) fn reads(batch: &Batch, reads: &mut ReadSet) {
    for invoice in &batch.new_invoices {
        reads.local_ids.extend(invoice.identity.local_id.clone());
        reads.customers.extend(invoice.customer_id);
        for line in &invoice.lines {
            if let LineProduct::Existing { item, .. } = &line.product {
                reads.item(item);
            }
        }
    }
    if batch.new_invoices.iter().any(|invoice| invoice.number.is_none()) {
        // Numbers that the batch itself states are not free, so there must be as many more.
        reads.free_numbers = batch.new_invoices.len();
    }
}

/// The numbers that the batch's invoices bring. No invoice of the batch is given one of them.
pub(super) fn stated_numbers(batch: &Batch) -> HashSet<String> {
    batch.new_invoices.iter().filter_map(|invoice| invoice.number.clone()).collect()
}

pub(super) fn apply(batch: &Batch, draft: &mut Draft<'_>) {
    for invoice in &batch.new_invoices {
        create(invoice, draft);
    }
}

fn create(new: &NewInvoice, draft: &mut Draft<'_>) {
    let path = format!("/invoice/create/{}", new.identity.index);
    let id = match draft.claim::<InvoiceId>(&new.identity, Collection::Invoices, &path, |draft| content(new, draft)) {
        Claim::New(id) => insert(id, new, &path, draft).map(|()| id),
        Claim::Applied(id) => {
            draft.synced.invoices_created.push(id);
            Some(id)
        }
        Claim::Refused => None,
    };
    if let Some(id) = id {
        draft.id_map.invoices.extend(new.identity.names.iter().map(|name| (name.clone(), id)));
        draft.name_invoice(new.identity.index, id);
    }
}

/// Adds one invoice; `None` if it has problems.
fn insert(id: InvoiceId, new: &NewInvoice, path: &str, draft: &mut Draft<'_>) -> Option<()> {
    let lines: Vec<_> = new.lines.iter().enumerate().map(|(index, line)| sell(index, line, path, draft)).collect();
    let products: Vec<InvoiceLine> = lines.into_iter().collect::<Option<_>>()?;
    let costs = products.iter().map(|line| (line.cost_per_unit, line.quantity));
    let totals = complete_totals(new.totals, new.paid_amount, costs, path)
        .map_err(|problem| draft.problems.push(problem))
        .ok()?;
    if let Some(id) = new.customer_id.filter(|id| !draft.before.customers.contains(id)) {
        draft.warn(format!("{path}/clientCustomerId"), unknown(ReferenceKind::Customer, id.to_string()));
    }
    let invoice = invoice(id, new, totals, products, draft);
    let finalized = invoice.is_finalized.then(|| InvoiceView::from(&invoice));
    draft.insert_invoice(invoice);
    if let Some(invoice) = finalized {
        draft.insert_purchase(invoice);
    }
    Some(())
}

fn invoice(
    id: InvoiceId,
    new: &NewInvoice,
    totals: Totals,
    products: Vec<InvoiceLine>,
    draft: &mut Draft<'_>,
) -> Invoice {
    Invoice {
        id,
        local_id: new.identity.local_id.clone(),
        client_customer_id: new.customer_id,
        client_customer_name: new.customer_name.clone(),
        client_customer_phone: new.customer_phone.clone(),
        invoice_number: new.number.clone().unwrap_or_else(|| draft.next_number()),
        invoice_date: new.date.unwrap_or(draft.now),
        due_date: new.due_date,
        totals,
        paid_amount: new.paid_amount,
        notes: new.notes.clone(),
        is_finalized: new.paid_amount >= totals.total_amount,
        products,
        created_at: draft.now,
        updated_at: draft.now,
    }
}

/// All that the create says.
fn content(new: &NewInvoice, draft: &Draft<'_>) -> Value {
    json!({
        "products": new.lines.iter().map(|line| line_content(line, draft)).collect::<Vec<_>>(),
        "clientCustomerId": new.customer_id.map(|id| id.to_string()),
        "clientCustomerName": new.customer_name,
        "clientCustomerPhone": new.customer_phone,
        "invoiceNumber": new.number,
        "invoiceDate": new.date.map(|at| at.to_string()),
        "dueDate": new.due_date.map(|at| at.to_string()),
        "subtotal": new.totals.subtotal.map(Amount::to_json),
        "totalTax": new.totals.total_tax.to_json(),
        "totalDiscount": new.totals.total_discount.to_json(),
        "totalAmount": new.totals.total_amount.map(Amount::to_json),
        "paidAmount": new.paid_amount.to_json(),
        "notes": new.notes,
    })
}

fn line_content(line: &NewLine, draft: &Draft<'_>) -> Value {
    let product = match &line.product {
        LineProduct::Existing { item, item_name, cost_per_unit } => json!({
            "productId": draft.item_name(item),
            "itemName": item_name,
            "costPerUnit": cost_per_unit.map(Amount::to_json),
        }),
        LineProduct::New { item_name, cost_per_unit, stock, unit, description } => json!({
            "itemName": item_name,
            "costPerUnit": cost_per_unit.to_json(),
            "stock": stock.to_json(),
            "unit": unit,
            "description": description,
        }),
    };
    json!([product, line.quantity.to_json(), line.item_group])
}

/// Sells one line: finds or makes its item, lowers the stock if it can. `None` if it has problems.
fn sell(index: usize, line: &NewLine, invoice: &str, draft: &mut Draft<'_>) -> Option<InvoiceLine> {
    let path = format!("{invoice}/products/{index}");
    let item = find_or_create_item(&line.product, &path, draft)?;
    let (stated_name, stated_cost) = match &line.product {
        LineProduct::Existing { item_name, cost_per_unit, .. } => (item_name.clone(), *cost_per_unit),
        LineProduct::New { .. } => (None, None),
    };
    let missing = |field: &str| format!("Invoice product at index {index} missing {field}");
    let item_name = stated_name.or_else(|| item.name.clone());
    let cost_per_unit = stated_cost.or(item.price);
    // Only an old record can lack these.
    for (field, lacks) in [("itemName", item_name.is_none()), ("costPerUnit", cost_per_unit.is_none())] {
        if lacks {
            draft.problem(format!("{path}/{field}"), ProblemCode::UnreadableRecord, missing(field));
        }
    }
    let sold = InvoiceLine {
        product_id: item.id,
        item_name: item_name?,
        cost_per_unit: cost_per_unit?,
        quantity: line.quantity,
        item_group: line.item_group.clone(),
    };
    take_from_stock(item, line.quantity, path, draft);
    Some(sold)
}

fn find_or_create_item(product: &LineProduct, path: &str, draft: &mut Draft<'_>) -> Option<ItemView> {
    match product {
        LineProduct::Existing { item, .. } => {
            match draft.item(item) {
                Found::Record(found) => return Some(found),
                Found::Refused => {}
                Found::Nothing => {
                    let message = format!("Item not found for invoice: {item}");
                    draft.problem(format!("{path}/productId"), ProblemCode::NotFound, message);
                }
            }
            None
        }
        LineProduct::New { item_name, cost_per_unit, stock, unit, description } => {
            let item = Item {
                id: draft.new_id(),
                local_id: None,
                group_id: None,
                name: item_name.clone(),
                price: *cost_per_unit,
                stock: *stock,
                low_stock_quantity: Item::DEFAULT_LOW_STOCK,
                unit: unit.clone(),
                description: description.clone(),
                dealer_ids: Vec::new(),
                is_active: true,
                created_at: draft.now,
                updated_at: draft.now,
            };
            let view = ItemView::from(&item);
            draft.insert_item(item);
            Some(view)
        }
    }
}

/// A sale that was made offline cannot be undone, so a stock that is too small stays and is reported.
fn take_from_stock(item: ItemView, quantity: Amount, path: String, draft: &mut Draft<'_>) {
    match item.stock.minus(quantity) {
        Ok(rest) if rest >= Amount::ZERO => {
            draft.change_item(item.id, ItemChanges { stock: Some(rest), ..ItemChanges::default() });
        }
        _ => {
            let (item_id, item_name) = (item.id.to_string(), item.name.unwrap_or_default());
            let kind =
                WarningKind::InsufficientStock { item_id, item_name, available: item.stock, requested: quantity };
            draft.warn(path, kind);
        }
    }
}
