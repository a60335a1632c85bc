//! The fields of one record that this program made: each is there, and is what it is to be. No I/O.

use bson::raw::{RawBsonRef, RawDocument};

use super::figures::field;
use crate::model::{Amount, Collection};

/// What a field holds.
#[derive(Clone, Copy)]
enum Form {
    /// Any text, also an empty one.
    Text,
    /// A text that says something.
    Name,
    Flag,
    Date,
    /// A list with something in it.
    Lines,
    Id,
    AboveZero,
}

type Fields = &'static [(&'static str, Form)];

/// What is wrong with the form of a record, a sentence for each field.
pub(super) fn wrong(collection: Collection, record: &RawDocument) -> Vec<String> {
    let mut wrong = of(fields(collection), record, "its ");
    if collection == Collection::Invoices {
        if field(record, "dueDate").is_some_and(|due| !Form::Date.has(due)) {
            wrong.push("its dueDate is no date".to_owned());
        }
        let lines = record.get_array("products").into_iter().flatten().enumerate();
        // One that is no document is told with its figures.
        let lines = lines.filter_map(|(index, line)| Some((index, line.ok()?.as_document()?)));
        wrong.extend(lines.flat_map(|(index, line)| of(OF_LINES, line, &format!("in its line {index} the "))));
    }
    wrong
}

const OF_ITEMS: Fields = &[
    ("name", Form::Name),
    ("isActive", Form::Flag),
    ("unit", Form::Text),
    ("createdAt", Form::Date),
    ("updatedAt", Form::Date),
];
const OF_INVOICES: Fields = &[
    ("invoiceNumber", Form::Name),
    ("invoiceDate", Form::Date),
    ("isFinalized", Form::Flag),
    ("products", Form::Lines),
    ("createdAt", Form::Date),
    ("updatedAt", Form::Date),
];
const OF_LINES: Fields = &[("productId", Form::Id), ("itemName", Form::Text), ("quantity", Form::AboveZero)];
const OF_PAYMENTS: Fields =
    &[("method", Form::Text), ("paidAt", Form::Date), ("createdAt", Form::Date), ("updatedAt", Form::Date)];
const OF_PURCHASES: Fields = &[("createdAt", Form::Date), ("updatedAt", Form::Date)];

/// The fields that a record of a collection has.
fn fields(collection: Collection) -> Fields {
    match collection {
        Collection::Items => OF_ITEMS,
        Collection::Invoices => OF_INVOICES,
        Collection::Payments => OF_PAYMENTS,
        Collection::PurchaseHistories => OF_PURCHASES,
        // Made elsewhere.
        Collection::ItemGroups | Collection::ClientCustomers => &[],
    }
}

fn of(fields: Fields, record: &RawDocument, whose: &str) -> Vec<String> {
    let wrong = |(name, form): &(&str, Form)| match field(record, name) {
        None => Some(format!("{whose}{name} is missing")),
        Some(value) if !form.has(value) => Some(format!("{whose}{name} is {}", form.lacking())),
        Some(_) => None,
    };
    fields.iter().filter_map(wrong).collect()
}

impl Form {
    fn has(self, value: RawBsonRef<'_>) -> bool {
        match (self, value) {
            (Self::Text, RawBsonRef::String(_))
            | (Self::Flag, RawBsonRef::Boolean(_))
            | (Self::Date, RawBsonRef::DateTime(_))
            | (Self::Id, RawBsonRef::ObjectId(_)) => true,
            (Self::Name, RawBsonRef::String(text)) => !text.trim().is_empty(),
            (Self::Lines, RawBsonRef::Array(lines)) => !lines.is_empty(),
            // One that is no number, or below 0, is told with the figures.
            (Self::AboveZero, value) => Amount::from_bson(value) != Some(Amount::ZERO),
            _ => false,
        }
    }

    /// What a field is that does not have the form.
    fn lacking(self) -> &'static str {
        match self {
            Self::Text => "no text",
            Self::Name => "no text, or an empty one",
            Self::Flag => "neither true nor false",
            Self::Date => "no date",
            Self::Lines => "no list, or an empty one",
            Self::Id => "no id",
            Self::AboveZero => "0",
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn what_is_missing_or_of_another_form_is_told() {
        let now = crate::clock::now().date_time();
        let good = rawdoc! { "name": "Tea", "isActive": true, "unit": "", "createdAt": now, "updatedAt": now };
        assert!(wrong(Collection::Items, &good).is_empty());
        let bad = rawdoc! { "name": " ", "isActive": "yes", "unit": 1, "createdAt": "2025-01-12" };
        let expected = [
            "its name is no text, or an empty one",
            "its isActive is neither true nor false",
            "its unit is no text",
            "its createdAt is no date",
            "its updatedAt is missing",
        ];
        assert_eq!(wrong(Collection::Items, &bad), expected);
    }

    #[test]
    fn lines_of_invoices_are_looked_at_too() {
        let bad = rawdoc! { "dueDate": 7, "products": [{ "productId": "x", "itemName": "Tea", "quantity": 0 }] };
        let wrong = wrong(Collection::Invoices, &bad);
        let expected =
            ["its dueDate is no date", "in its line 0 the productId is no id", "in its line 0 the quantity is 0"];
        assert!(wrong.ends_with(&expected.map(str::to_owned)), "{wrong:?}");
        assert!(wrong.contains(&"its invoiceNumber is missing".to_owned()));
        let none = super::wrong(Collection::Invoices, &rawdoc! { "products": [] });
        assert!(none.contains(&"its products is no list, or an empty one".to_owned()), "{none:?}");
    }
}
