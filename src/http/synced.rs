//! `synced` of an answer: which records the operations of a batch made or changed.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::RecordId;
use crate::plan::Synced;

/// The ids of the records that the operations of a batch made or changed, in operation order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncedIds {
    /// Items made by `item.create`, then those made by lines of invoices.
    #[schema(value_type = Vec<RecordId>)]
    items_created: Vec<String>,
    /// The items of `item.update`.
    #[schema(value_type = Vec<RecordId>)]
    items_updated: Vec<String>,
    /// The items of `item.delete`.
    #[schema(value_type = Vec<RecordId>)]
    items_deleted: Vec<String>,
    /// The invoices of `invoice.create`.
    #[schema(value_type = Vec<RecordId>)]
    invoices_created: Vec<String>,
    /// The payments of `payment.create`.
    #[schema(value_type = Vec<RecordId>)]
    payments_created: Vec<String>,
}

impl From<&Synced> for SyncedIds {
    fn from(synced: &Synced) -> Self {
        Self {
            items_created: texts(&synced.items_created),
            items_updated: texts(&synced.items_updated),
            items_deleted: texts(&synced.items_deleted),
            invoices_created: texts(&synced.invoices_created),
            payments_created: texts(&synced.payments_created),
        }
    }
}

fn texts(ids: &[impl Display]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
