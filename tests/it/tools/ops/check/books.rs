//! Sums, stocks, payments and purchase histories that do not fit together.

use mongodb::bson::{Document, doc, oid::ObjectId};
use viveka_sync::model::Collection;

use super::planting::{Fate, Fault, Place, set};

pub const FAULTS: &[Fault] = &[
    Fault {
        what: "less is paid than the payments come to",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"paidAmount": 1.5}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "1.5 is paid, and its payments come to 2",
    },
    Fault {
        what: "more is paid than is owed",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"paidAmount": 50.0}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "50 is paid of 20",
    },
    Fault {
        what: "less than nothing is paid",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 { set(invoice, doc! {"paidAmount": -1.0}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "-1 is paid of",
    },
    Fault {
        what: "an open invoice that is said to be finalised",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"isFinalized": true}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it is finalised, and 3 is paid of 20",
    },
    Fault {
        what: "a paid invoice that is said to be open",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 25.0 { set(invoice, doc! {"isFinalized": false}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it is open, and 25 is paid of 25",
    },
    Fault {
        what: "a payment that did not reach its invoice",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 3.0 { set(invoice, doc! {"revision": 1_i64}) } else { Fate::Skip }
        },
        severity: "problem",
        said: "it was last changed by commit 1, and a payment on it is of commit 2",
    },
    Fault {
        what: "the last payment is gone",
        place: Place::Data(Collection::Payments),
        edit: |payment| if number(payment, "amount") == 1.5 { Fate::Remove } else { Fate::Skip },
        severity: "problem",
        said: "no payment on it is of that commit",
    },
    Fault {
        what: "a payment on no invoice",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"invoiceId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "it is paid on the invoice 090909090909090909090909, which is not there",
    },
    Fault {
        what: "a payment of nothing",
        place: Place::Data(Collection::Payments),
        edit: |payment| set(payment, doc! {"amount": 0.0}),
        severity: "problem",
        said: "its amount is no number above 0",
    },
    Fault {
        what: "the purchase history is gone",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |_| Fate::Remove,
        severity: "problem",
        said: "no purchase history",
    },
    Fault {
        what: "a purchase history twice",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |_| Fate::Twin,
        severity: "problem",
        said: "it has 2 purchase histories",
    },
    Fault {
        what: "a purchase history of no invoice",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"invoiceId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "it is of the invoice 090909090909090909090909, which is not there",
    },
    Fault {
        what: "a purchase history of another sum",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"totalAmount": 1.0}),
        severity: "problem",
        said: "its total is 1, and its invoice's is 25",
    },
    Fault {
        what: "a purchase history of another customer",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| set(history, doc! {"clientCustomerId": ObjectId::from_bytes([9; 12])}),
        severity: "problem",
        said: "its customer is 090909090909090909090909, and its invoice's is",
    },
    Fault {
        what: "a purchase history of another sum, of another service",
        place: Place::Data(Collection::PurchaseHistories),
        edit: |history| {
            history.remove("revision");
            set(history, doc! {"totalAmount": 1.0})
        },
        severity: "note",
        said: "its total is 1, and its invoice's is 25",
    },
    Fault {
        what: "less than nothing in stock",
        place: Place::Data(Collection::Items),
        edit: |item| set(item, doc! {"stock": -3.0}),
        severity: "problem",
        said: "its stock is -3",
    },
    Fault {
        what: "a line of less than nothing",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            let line = invoice.get_array_mut("products").unwrap()[0].as_document_mut();
            set(line.unwrap(), doc! {"quantity": -2.0})
        },
        severity: "problem",
        said: "in its line 0 the quantity is -2",
    },
    Fault {
        what: "two invoices with one number",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 {
                set(invoice, doc! {"invoiceNumber": "INV-000001"})
            } else {
                Fate::Skip
            }
        },
        severity: "note",
        said: "2 invoices have the number \"INV-000001\"",
    },
    Fault {
        what: "a payment of another service that its invoice does not know",
        place: Place::Data(Collection::Payments),
        edit: |payment| {
            if number(payment, "amount") == 25.0 {
                payment.remove("revision");
                payment.remove("localId");
                return Fate::Twin;
            }
            Fate::Skip
        },
        severity: "note",
        said: "25 is paid, and with those of other services its payments come to 50",
    },
    Fault {
        what: "an invoice of another service that is odd",
        place: Place::Data(Collection::Invoices),
        edit: |invoice| {
            if number(invoice, "paidAmount") == 0.0 {
                invoice.remove("revision");
                invoice.remove("localId");
                invoice.extend(doc! {"isFinalized": true, "invoiceNumber": "x"});
                return Fate::Twin;
            }
            Fate::Skip
        },
        severity: "note",
        said: "it is finalised, and 0 is paid of",
    },
];

fn number(record: &Document, name: &str) -> f64 {
    record.get_f64(name).unwrap_or(f64::NAN)
}
