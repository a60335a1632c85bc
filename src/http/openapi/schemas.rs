//! The schemas of the document: every type that a body or an answer is made of.

use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Schema};

use crate::batch::{
    Batch, Bounds, Characters, Inquiry, ItemUpdate, NewInvoice, NewItem, NewLine, NewPayment, Problem, ProblemCode,
    StatedClient, Warning,
};
use crate::dataset::Dataset;
use crate::http::answer::{DataMode, Maps, SyncAnswer};
use crate::http::error::Envelope;
use crate::http::health::Healthy;
use crate::http::limits::{BodyLimits, Published, RateLimits, Timeouts};
use crate::http::ready::Ready;
use crate::http::reconcile::{BatchFate, RecordFate, Report as Reconciled};
use crate::http::synced::SyncedIds;
use crate::http::validate::{GroupReport, Report as Validated};
use crate::model::RecordId;
use crate::plan::Summary;
use crate::store::FullReason;

type Named = (String, RefOr<Schema>);

/// All of them, by name.
pub fn all() -> Vec<Named> {
    let mut schemas = asked();
    schemas.extend(answered().into_iter().map(|(name, schema)| (name, closed(schema))));
    schemas
}

/// What phones send. They may send more than is documented, and hear a warning.
fn asked() -> Vec<Named> {
    vec![
        named::<Batch>(),
        named::<NewItem>(),
        named::<ItemUpdate>(),
        named::<NewInvoice>(),
        named::<NewLine>(),
        named::<NewPayment>(),
        named::<Inquiry>(),
        named::<StatedClient>(),
    ]
}

/// What they hear. An answer has no member that is not documented, but for what a database holds of a record.
fn answered() -> Vec<Named> {
    let mut answered = vec![
        named::<SyncAnswer>(),
        named::<Summary>(),
        named::<SyncedIds>(),
        named::<Maps>(),
        named::<DataMode>(),
        named::<FullReason>(),
        named::<Warning>(),
        named::<Dataset>(),
        named::<RecordId>(),
        named::<Ready>(),
        named::<Validated>(),
        named::<GroupReport>(),
        named::<Reconciled>(),
        named::<BatchFate>(),
        named::<RecordFate>(),
        named::<Healthy>(),
        named::<Published>(),
        named::<BodyLimits>(),
        named::<Bounds>(),
        named::<Characters>(),
        named::<RateLimits>(),
        named::<Timeouts>(),
        named::<Envelope<'_>>(),
        named::<Problem>(),
        named::<ProblemCode>(),
    ];
    Dataset::schemas(&mut answered);
    Warning::schemas(&mut answered);
    BatchFate::schemas(&mut answered);
    RecordFate::schemas(&mut answered);
    answered
}

fn named<T: ToSchema>() -> Named {
    (T::name().into_owned(), T::schema())
}

/// The same without members that are not named.
fn closed(schema: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(schema) = schema else { return schema };
    RefOr::T(match schema {
        Schema::Object(mut object) => {
            if !object.properties.is_empty() && object.additional_properties.is_none() {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
            object.properties = object.properties.into_iter().map(|(name, value)| (name, closed(value))).collect();
            object.into()
        }
        Schema::Array(mut array) => {
            array.items = match array.items {
                ArrayItems::RefOrSchema(items) => ArrayItems::RefOrSchema(Box::new(closed(*items))),
                other => other,
            };
            array.into()
        }
        Schema::OneOf(mut one) => {
            one.items = one.items.into_iter().map(closed).collect();
            one.into()
        }
        other => other,
    })
}
