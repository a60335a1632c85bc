//! The bounds of a batch, as a phone may ask for them.

use serde::Serialize;
use utoipa::ToSchema;

use super::warning::Warnings;
use super::{Inquiry, Problems, invoice, json, names, reader};
use crate::model::{IdempotencyKey, LocalId};

/// How much of what a request and its answer may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchLimits)]
pub struct Bounds {
    /// Operations of a batch.
    pub operations: usize,
    /// Lines of all invoices of a batch.
    pub invoice_lines: usize,
    /// JSON values of a body; an object that is not empty counts nine.
    pub values: usize,
    /// Objects and lists within each other.
    pub depth: usize,
    /// Lines of one invoice.
    pub lines_per_invoice: usize,
    /// `dealerIds` of one item.
    pub dealer_ids_per_item: usize,
    /// Characters of texts, by their kind.
    pub characters: Characters,
    /// Keys and local ids of a reconcile, together.
    pub reconcile_names: usize,
    /// `warnings` of an answer, beside one that counts the rest.
    pub warnings: usize,
    /// `errors` of an answer.
    pub errors: usize,
}

/// Characters of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CharacterLimits)]
pub struct Characters {
    /// `name`, `itemName`, and every text that has no line of its own here.
    pub text: usize,
    /// `unit`.
    pub unit: usize,
    /// `description`, `notes`, `note`.
    pub note: usize,
    /// An alias: the `_id` of a create.
    pub alias: usize,
    /// A local id.
    pub local_id: usize,
    /// An idempotency key.
    pub idempotency_key: usize,
}

impl Bounds {
    /// Those of a server that takes so many operations.
    pub fn of(max_operations: usize) -> Self {
        Self {
            operations: max_operations,
            invoice_lines: super::most_lines(max_operations),
            values: json::most_values(max_operations),
            depth: json::MOST_DEPTH,
            lines_per_invoice: invoice::MOST_LINES,
            dealer_ids_per_item: reader::MOST_IDS,
            // The first three stand at the fields, as attributes, which take no names of constants.
            characters: Characters {
                text: 200,
                unit: 20,
                note: 2000,
                alias: names::MOST_ALIAS_CHARACTERS,
                local_id: LocalId::MOST_CHARACTERS,
                idempotency_key: IdempotencyKey::MOST_CHARACTERS,
            },
            reconcile_names: Inquiry::MOST,
            warnings: Warnings::MOST,
            errors: Problems::MOST,
        }
    }
}
