//! The dataset as the API's document shows it, made of the same table as its records are.

use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::Dataset;
use super::normalize::{Field, LINE, Promise, Promises, promises};
use crate::model::{Collection, RecordId};

impl PartialSchema for Dataset {
    fn schema() -> RefOr<Schema> {
        let about = "Everything of this client, or what has changed since the cursor. One consistent snapshot, each list in \
            `_id` order.";
        let dataset = Collection::ALL.into_iter().fold(object(about), |dataset, collection| {
            let list = ArrayBuilder::new().items(Ref::from_schema_name(name(collection)));
            dataset.property(collection.data_name(), list).required(collection.data_name())
        });
        dataset.into()
    }
}

impl ToSchema for Dataset {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for collection in Collection::ALL {
            schemas.push((name(collection).to_owned(), record(about(collection), promises(collection), collection)));
        }
        schemas.push((LINE_NAME.to_owned(), line()));
    }
}

const LINE_NAME: &str = "InvoiceLine";

fn object(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(about))
}

/// The name of the schema of one record.
fn name(collection: Collection) -> &'static str {
    match collection {
        Collection::ItemGroups => "ItemGroup",
        Collection::Items => "Item",
        Collection::ClientCustomers => "ClientCustomer",
        Collection::Invoices => "Invoice",
        Collection::Payments => "Payment",
        Collection::PurchaseHistories => "Purchase",
    }
}

fn about(collection: Collection) -> &'static str {
    match collection {
        Collection::ItemGroups => "A group that the shop sorts its items into. Made by other services.",
        Collection::Items => "What the shop sells.",
        Collection::ClientCustomers => "A customer of the shop. Made by other services.",
        Collection::Invoices => "What was sold.",
        Collection::Payments => "What was paid on an invoice.",
        Collection::PurchaseHistories => "One record for each finalised invoice of a known customer.",
    }
}

fn record(about: &str, promises: Promises, collection: Collection) -> RefOr<Schema> {
    let mut record = shown(about, promises);
    if matches!(collection, Collection::Items | Collection::Invoices | Collection::Payments) {
        let local_id = text(Type::String.into(), "What the phone calls it for ever. Not there if it said nothing.");
        record = record.property("localId", local_id);
    }
    record.into()
}

fn line() -> RefOr<Schema> {
    shown("A line of an invoice.", LINE).into()
}

/// All that is promised is always there; what else the database holds of a record is shown too.
fn shown(about: &str, promises: Promises) -> ObjectBuilder {
    let open = object(about).additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)));
    promises.iter().fold(open, |record, promise| record.property(promise.name, value(promise)).required(promise.name))
}

fn value(promise: &Promise) -> RefOr<Schema> {
    let about = meaning(promise.name);
    let id = || RefOr::Ref(Ref::from_schema_name(RecordId::name()));
    match promise.field {
        Field::Id | Field::OwnId => id(),
        Field::IdOrNull => {
            let mut reference = text(SchemaType::from_iter([Type::String, Type::Null]), about);
            reference.pattern = Some(RecordId::PATTERN.to_owned());
            reference.into()
        }
        Field::TimeOrNull => {
            let mut time = text(SchemaType::from_iter([Type::String, Type::Null]), about);
            time.format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
            time.examples = vec!["2025-01-12T13:00:00.000Z".into()];
            time.into()
        }
        Field::Amount(_) => text(Type::Number.into(), about).into(),
        Field::Text(_) => text(Type::String.into(), about).into(),
        Field::Flag(_) => text(Type::Boolean.into(), about).into(),
        Field::List => ArrayBuilder::new().items(id()).description(Some(about)).into(),
        Field::Lines => ArrayBuilder::new().items(Ref::from_schema_name(LINE_NAME)).into(),
    }
}

fn text(types: SchemaType, about: &str) -> Object {
    let about = Some(about).filter(|about| !about.is_empty());
    ObjectBuilder::new().schema_type(types).description(about).build()
}

/// What a field says beyond its name.
fn meaning(field: &str) -> &'static str {
    match field {
        "groupId" => "Null: in no group.",
        "price" | "costPerUnit" => "Per unit.",
        "stock" => "In units. A sale never makes it negative.",
        "lowStockQuantity" => "The stock at which the phone warns.",
        "unit" => "What the stock counts.",
        "dealerIds" => "Whom the shop buys it from.",
        "isActive" => "False once deleted.",
        "createdAt" | "updatedAt" => "By the server's clock. Null only in old records.",
        "lastPurchaseAt" => "Null: never.",
        "clientCustomerId" => "Null: no known customer.",
        "clientCustomerName" | "clientCustomerPhone" | "itemName" | "itemGroup" => "As printed.",
        "invoiceNumber" => "The phone's, or `INV-` and the client's counter.",
        "invoiceDate" | "paidAt" => "By the phone's clock.",
        "dueDate" => "Null: none.",
        "subtotal" => "The sum of the lines, or what the phone stated.",
        "paidAmount" => "With all payments so far.",
        "isFinalized" => "Whether it is paid in full.",
        "invoiceId" => "The invoice it is on.",
        "productId" => "The item that was sold.",
        _ => "",
    }
}
