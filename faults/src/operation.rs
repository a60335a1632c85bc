//! What phones ask for. Every record that an operation makes carries a marker, a text that exists once in the
//! world, so that the audit can tell whose record it is and count it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::units::Units;

/// The mark of one new record: an item's name, an invoice's notes, a payment's note; also its alias.
pub type Marker = String;

/// One operation of a batch.
#[derive(Debug, Clone)]
pub enum Operation {
    /// `item.create`.
    NewItem { name: Marker, price: Units, stock: Units },
    /// `item.update`: a new price, and nothing else.
    SetPrice { item: Marker, price: Units },
    /// `item.delete`.
    Delete { item: Marker },
    /// `invoice.create`.
    NewInvoice(NewInvoice),
    /// `payment.create`.
    Pay { note: Marker, invoice: Marker, amount: Units },
}

/// An `invoice.create`, whose total is left to the server.
#[derive(Debug, Clone)]
pub struct NewInvoice {
    pub notes: Marker,
    /// None: the client's next number.
    pub number: Option<String>,
    pub customer: Option<String>,
    pub lines: Vec<Line>,
    pub tax: Units,
    pub discount: Units,
    pub paid: Units,
}

/// One line of an invoice.
#[derive(Debug, Clone)]
pub struct Line {
    pub product: Product,
    pub quantity: Units,
    pub cost: Units,
}

/// What a line sells.
#[derive(Debug, Clone)]
pub enum Product {
    /// An item of the shop.
    Item(Marker),
    /// An item that the line makes.
    New { name: Marker, stock: Units },
}

/// What makes the server refuse a batch, whatever else is in it.
#[derive(Debug, Clone, Copy)]
pub enum Poison {
    /// An item without a price: refused for its shape.
    Shapeless,
    /// An update of no item.
    UpdateOfNothing,
    /// A payment on no invoice.
    PaymentOnNothing,
}

impl Operation {
    /// The markers of the records that it makes and that `idMap` tells of.
    pub fn creates(&self) -> Option<&Marker> {
        match self {
            Self::NewItem { name, .. } => Some(name),
            Self::NewInvoice(invoice) => Some(&invoice.notes),
            Self::Pay { note, .. } => Some(note),
            Self::SetPrice { .. } | Self::Delete { .. } => None,
        }
    }
}

impl NewInvoice {
    /// What the server must compute.
    pub fn total(&self) -> Units {
        self.lines.iter().map(|line| line.cost.times(line.quantity)).sum::<Units>() + self.tax - self.discount
    }
}

/// The request body of a batch. `known` are the server's ids of earlier records.
pub fn body(operations: &[Operation], poison: Option<Poison>, known: &HashMap<Marker, String>) -> Value {
    let references = References { operations, known };
    let [mut items, mut updates, mut deletes, mut invoices, mut payments] = [const { Vec::<Value>::new() }; 5];
    for operation in operations {
        match operation {
            Operation::NewItem { name, price, stock } => {
                items.push(create(name, json!({"name": name, "price": price, "stock": stock})));
            }
            Operation::SetPrice { item, price } => {
                updates.push(json!({"_id": references.to(item), "price": price}));
            }
            Operation::Delete { item } => deletes.push(references.to(item).into()),
            Operation::NewInvoice(invoice) => {
                invoices.push(create(&invoice.notes, invoice_body(invoice, &references)));
            }
            Operation::Pay { note, invoice, amount } => {
                let fields = json!({"note": note, "invoiceId": references.to(invoice), "amount": amount});
                payments.push(create(note, fields));
            }
        }
    }
    match poison {
        None => {}
        Some(Poison::Shapeless) => items.push(json!({"name": "refused"})),
        Some(Poison::UpdateOfNothing) => updates.push(json!({"_id": NOTHING, "price": 1})),
        Some(Poison::PaymentOnNothing) => payments.push(json!({"invoiceId": NOTHING, "amount": 1, "note": "refused"})),
    }
    json!({
        "item": {"create": items, "update": updates, "delete": deletes},
        "invoice": {"create": invoices},
        "payment": {"create": payments},
    })
}

/// The `localId` of a new record. It is not the alias, so that a mix-up of the two shows.
pub fn local_id(marker: &str) -> String {
    format!("{marker}~")
}

/// An id that no record has.
const NOTHING: &str = "ffffffffffffffffffffffff";

fn create(marker: &str, mut fields: Value) -> Value {
    fields["_id"] = marker.into();
    fields["localId"] = local_id(marker).into();
    fields
}

fn invoice_body(invoice: &NewInvoice, references: &References<'_>) -> Value {
    let line = |line: &Line| {
        let mut fields = json!({"quantity": line.quantity, "costPerUnit": line.cost});
        match &line.product {
            Product::Item(item) => fields["productId"] = references.to(item).into(),
            Product::New { name, stock } => {
                fields["itemName"] = name.as_str().into();
                fields["stock"] = json!(stock);
            }
        }
        fields
    };
    json!({
        "notes": invoice.notes, "invoiceNumber": invoice.number, "clientCustomerId": invoice.customer,
        "totalTax": invoice.tax, "totalDiscount": invoice.discount, "paidAmount": invoice.paid,
        "products": invoice.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

/// How a batch names records: its own by alias, earlier ones by id, and either by `localId`.
struct References<'a> {
    operations: &'a [Operation],
    known: &'a HashMap<Marker, String>,
}

impl References<'_> {
    fn to(&self, marker: &Marker) -> String {
        let by_local_id = (marker.len() + self.operations.len()) % 2 == 1;
        let is_new = self.operations.iter().any(|operation| operation.creates() == Some(marker));
        match self.known.get(marker) {
            _ if by_local_id => local_id(marker),
            _ if is_new => marker.clone(),
            Some(id) => id.clone(),
            None => local_id(marker),
        }
    }
}
