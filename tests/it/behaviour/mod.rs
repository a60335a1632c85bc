//! The contract of API.md through HTTP, on every engine. What fits a scenario file is in
//! `fixtures/scenarios`; here is what takes several requests, or bytes that are no JSON.

mod answers;
mod auth;
mod concurrency;
pub mod errors;
mod hostile;
mod idempotency;
mod local_ids;
mod rules;
mod tenancy;
mod validate;
