//! The API's document, `/api-docs/openapi.json`, held against what the server really does.

mod bounds;
mod conformance;
mod examples;
mod pages;
mod structure;
mod traffic;

pub use conformance::hold;
