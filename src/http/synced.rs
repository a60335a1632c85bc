//! `synced` of an answer: which records the operations of a batch made or changed.

use std::fmt::Display;

use serde::Serialize;

use crate::plan::Synced;

/// Ids as text, in operation order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncedIds {
    items_created: Vec<String>,
    items_updated: Vec<String>,
    items_deleted: Vec<String>,
    invoices_created: Vec<String>,
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
