//! Fields that are missing, or of another type than this program writes.

use mongodb::bson::doc;
use viveka_sync::model::Collection;

use super::planting::{Fate, Fault, Place, set};

pub const FAULTS: &[Fault] = &[
    Fault {
        what: "a paid amount that is no number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"paidAmount": "much"}),
        severity: "problem",
        said: "is no number",
    },
    Fault {
        what: "a purchase history whose sum is a text",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"totalAmount": "25"}),
        severity: "problem",
        said: "its total is no number, and its invoice's is 25",
    },
    Fault {
        what: "a price that is a text",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"price": "12.5"}),
        severity: "problem",
        said: "its price is no number",
    },
    Fault {
        what: "a price of another service that is a text, in an item whose stock was lowered here",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"price": "12.5", "__v": 0}),
        severity: "note",
        said: "its price is no number",
    },
    Fault {
        what: "a total that is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"totalAmount": "20"}),
        severity: "problem",
        said: "its total or its paid amount is no number",
    },
    Fault {
        what: "a quantity that is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            let line = invoice.get_array_mut("products").unwrap()[0].as_document_mut();
            line.unwrap().insert("quantity", "2");
            Fate::Replace
        },
        severity: "problem",
        said: "in its line 0 the quantity is no number",
    },
    Fault {
        what: "an amount that is a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"amount": "1.5"}),
        severity: "problem",
        said: "its amount is no number above 0",
    },
    Fault {
        what: "an invoice that sells a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"products": "tea"}),
        severity: "problem",
        said: "its products is no list, or an empty one",
    },
    Fault {
        what: "an invoice that sells nothing",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"products": []}),
        severity: "problem",
        said: "its products is no list, or an empty one",
    },
    Fault {
        what: "an invoice without a number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            invoice.remove("invoiceNumber");
            Fate::Replace
        },
        severity: "problem",
        said: "its invoiceNumber is missing",
    },
    Fault {
        what: "an invoice whose number is no text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"invoiceNumber": 7}),
        severity: "problem",
        said: "its invoiceNumber is no text",
    },
    Fault {
        what: "an invoice whose date is a text",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"invoiceDate": "2025-01-12"}),
        severity: "problem",
        said: "its invoiceDate is no date",
    },
    Fault {
        what: "an invoice that is perhaps finalised",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| set(invoice, doc! {"isFinalized": "no"}),
        severity: "problem",
        said: "its isFinalized is neither true nor false",
    },
    Fault {
        what: "an item without a name",
        place: Place::Data(Collection::Items),
        edit: |item| {
            item.remove("name");
            Fate::Replace
        },
        severity: "problem",
        said: "its name is missing",
    },
    Fault {
        what: "an item that is perhaps there",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"isActive": 1}),
        severity: "problem",
        said: "its isActive is neither true nor false",
    },
    Fault {
        what: "a payment whose date is a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"paidAt": "today"}),
        severity: "problem",
        said: "its paidAt is no date",
    },
    Fault {
        what: "a payment on a text",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"invoiceId": "first"}),
        severity: "problem",
        said: "it is paid on the invoice \"first\", which is a text and no id",
    },
];
