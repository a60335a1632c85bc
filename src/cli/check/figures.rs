//! The figures of one record: each is a number, and within the bounds that the rules set for it. No I/O.

use bson::raw::{RawBsonRef, RawDocument};

use crate::model::{Amount, Collection};

/// A field that holds an amount.
struct Figure {
    name: &'static str,
    /// Whether it may be below 0.
    signed: bool,
}

/// What is wrong with the figures of a record, a sentence for each. What is not there is not wrong: it has a default.
pub(super) fn wrong(collection: Collection, record: &RawDocument) -> Vec<String> {
    let mut wrong: Vec<String> = figures(collection).iter().filter_map(|figure| figure.wrong(record, "its ")).collect();
    if collection == Collection::Invoices {
        let lines = record.get_array("products").into_iter().flatten().enumerate();
        wrong.extend(lines.flat_map(|(index, line)| wrong_line(index, line.ok())));
    }
    wrong
}

const OF_ITEMS: &[Figure] =
    &[Figure::positive("price"), Figure::positive("stock"), Figure::positive("lowStockQuantity")];
const OF_INVOICES: &[Figure] =
    &[Figure::signed("subtotal"), Figure::signed("totalTax"), Figure::signed("totalDiscount")];
const OF_LINES: &[Figure] = &[Figure::signed("costPerUnit"), Figure::positive("quantity")];

/// The amounts of a collection's records, less those whose rules look at other records too.
fn figures(collection: Collection) -> &'static [Figure] {
    match collection {
        Collection::Items => OF_ITEMS,
        Collection::Invoices => OF_INVOICES,
        Collection::ItemGroups | Collection::ClientCustomers | Collection::Payments | Collection::PurchaseHistories => {
            &[]
        }
    }
}

/// What is wrong with a line of an invoice.
fn wrong_line(index: usize, line: Option<RawBsonRef<'_>>) -> Vec<String> {
    let Some(line) = line.and_then(|line| line.as_document()) else {
        return vec![format!("its line {index} cannot be read")];
    };
    OF_LINES.iter().filter_map(|figure| figure.wrong(line, &format!("in its line {index} the "))).collect()
}

impl Figure {
    const fn positive(name: &'static str) -> Self {
        Self { name, signed: false }
    }

    const fn signed(name: &'static str) -> Self {
        Self { name, signed: true }
    }

    fn wrong(&self, record: &RawDocument, whose: &str) -> Option<String> {
        let value = field(record, self.name)?;
        match Amount::from_bson(value) {
            None => Some(format!("{whose}{} is no number", self.name)),
            Some(amount) if amount < Amount::ZERO && !self.signed => Some(format!("{whose}{} is {amount}", self.name)),
            Some(_) => None,
        }
    }
}

/// A field's amount; `None` if it is absent or no number.
pub(super) fn amount(record: &RawDocument, name: &str) -> Option<Amount> {
    Amount::from_bson(field(record, name)?)
}

/// A field's value; absent, null and undecodable are `None`.
pub(super) fn field<'a>(record: &'a RawDocument, name: &str) -> Option<RawBsonRef<'a>> {
    record.get(name).ok().flatten().filter(|value| !matches!(value, RawBsonRef::Null))
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    #[test]
    fn figures_are_numbers_and_those_of_items_are_not_below_nothing() {
        let item = rawdoc! { "price": "12", "stock": -0.5, "lowStockQuantity": bson::RawBson::Null };
        assert_eq!(wrong(Collection::Items, &item), ["its price is no number", "its stock is -0.5"]);
        assert!(wrong(Collection::Items, &rawdoc! { "price": 0, "stock": 7_i64 }).is_empty());
        assert!(wrong(Collection::Items, &RawDocumentBuf::new()).is_empty());
    }

    #[test]
    fn lines_of_invoices_are_looked_at_too() {
        let lines =
            bson::rawbson!([{ "costPerUnit": -2.5, "quantity": 1 }, { "costPerUnit": true, "quantity": -1 }, 7]);
        let wrong = wrong(Collection::Invoices, &rawdoc! { "totalDiscount": "x", "totalTax": -1, "products": lines });
        let expected = [
            "its totalDiscount is no number",
            "in its line 1 the costPerUnit is no number",
            "in its line 1 the quantity is -1",
            "its line 2 cannot be read",
        ];
        assert_eq!(wrong, expected);
    }
}
