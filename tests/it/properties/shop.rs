//! Books to begin with: what other services and earlier batches left behind.

use bson::oid::ObjectId;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rust_decimal::Decimal;
use viveka_sync::model::{
    Amount, CustomerId, DealerId, GroupId, Invoice, InvoiceId, Item, ItemId, Purchase, PurchaseId, Revision, Timestamp,
    Totals, invoice_number,
};

use super::book::Book;

/// An item on the shelf: price and stock in ten-thousandths, and whether its name and price can be read.
type Shelf = (u32, u32, bool);

/// An old invoice: total in hundredths, how many percent are paid, customer, number, whether its total can be read,
/// and whether it is in the purchase history before it is finalised.
type Bill = (u16, u8, Option<u8>, u8, bool, bool);

/// Books of which every invoice keeps the rules, less what old backends did.
pub fn books() -> impl Strategy<Value = Book> {
    let shelf: BoxedStrategy<Shelf> = (0..2_000_000_u32, 0..300_000_u32, prop::bool::weighted(0.97)).boxed();
    let paid = prop_oneof![Just(0_u8), Just(100), 1..100_u8];
    let (readable, early) = (prop::bool::weighted(0.97), prop::bool::weighted(0.1));
    let bill: BoxedStrategy<Bill> = (any::<u16>(), paid, option::of(0..3_u8), 1..9_u8, readable, early).boxed();
    (vec(shelf, 1..5), vec(bill, 0..5), 1..9_i64).prop_map(|(shelves, bills, next_invoice)| {
        let mut book = Book { next_invoice, revision: Revision(i64::from(next_invoice > 1)), ..known_elsewhere() };
        shelves.into_iter().enumerate().for_each(|(index, shelf)| put(shelf, index as u8, &mut book));
        bills.into_iter().enumerate().for_each(|(index, bill)| file(bill, index as u8, &mut book));
        book
    })
}

/// An id of which one sees what it is.
pub fn id<Id: From<ObjectId>>(kind: u8, index: u8) -> Id {
    ObjectId::from_bytes([kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, index]).into()
}

/// Any time before the tests run.
pub fn long_ago() -> Timestamp {
    Timestamp::parse("2024-02-29T12:00:00Z").unwrap()
}

fn known_elsewhere() -> Book {
    Book {
        groups: (0..2).map(|index| id::<GroupId>(0xaa, index)).collect(),
        customers: (0..2).map(|index| id::<CustomerId>(0xcc, index)).collect(),
        dealers: (0..2).map(|index| id::<DealerId>(0xdd, index)).collect(),
        ..Book::default()
    }
}

fn amount(units: i64, places: u32) -> Amount {
    Amount::from_decimal(Decimal::new(units, places)).unwrap()
}

fn put((price, stock, readable): Shelf, index: u8, book: &mut Book) {
    let item = Item {
        id: id::<ItemId>(0x11, index),
        local_id: None,
        group_id: None,
        name: format!("Item {index}"),
        price: amount(price.into(), 4),
        stock: amount(stock.into(), 4),
        low_stock_quantity: Item::DEFAULT_LOW_STOCK,
        unit: Item::DEFAULT_UNIT.to_owned(),
        description: String::new(),
        dealer_ids: Vec::new(),
        is_active: true,
        created_at: long_ago(),
        updated_at: long_ago(),
    };
    if !readable {
        book.unreadable_items.insert(item.id);
    }
    book.items.insert(item.id, item);
}

fn file((total, percent, customer, number, readable, early): Bill, index: u8, book: &mut Book) {
    let total_amount = amount(total.into(), 2);
    let totals = Totals { subtotal: total_amount, total_tax: Amount::ZERO, total_discount: Amount::ZERO, total_amount };
    let paid_amount = amount(i64::from(total) * i64::from(percent), 4);
    let invoice = Invoice {
        id: id::<InvoiceId>(0x22, index),
        local_id: None,
        // The last of these customers is known to nobody.
        client_customer_id: customer.map(|customer| id(0xcc, customer)),
        client_customer_name: String::new(),
        client_customer_phone: format!("+91 {index}"),
        invoice_number: invoice_number(number.into()),
        invoice_date: long_ago(),
        due_date: None,
        totals,
        paid_amount,
        notes: String::new(),
        is_finalized: paid_amount >= total_amount,
        products: Vec::new(),
        created_at: long_ago(),
        updated_at: long_ago(),
    };
    if !readable {
        book.unreadable_invoices.insert(invoice.id);
    }
    if invoice.is_finalized || early {
        remember(&invoice, index, book);
    }
    book.invoices.insert(invoice.id, invoice);
}

fn remember(invoice: &Invoice, index: u8, book: &mut Book) {
    let Some(client_customer_id) = invoice.client_customer_id else { return };
    let purchase = Purchase {
        id: id::<PurchaseId>(0x33, index),
        client_customer_id,
        client_customer_phone: invoice.client_customer_phone.clone(),
        invoice_id: invoice.id,
        total_amount: invoice.totals.total_amount,
        created_at: long_ago(),
        updated_at: long_ago(),
    };
    book.purchases.insert(purchase.id, purchase);
}
