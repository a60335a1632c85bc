//! Properties of the rules, on random queues: parsing and planning through the library, without a database.
//!
//! A [`story::Story`] is a [`book::Book`] and the queues that phones send to it. [`queue`] makes queues up,
//! [`render`] makes them into bodies that fit the book, and the properties compare what the planner did with what
//! [`body`] reads in the same JSON by the words of the contract.

mod body;
mod book;
mod queue;
mod render;
mod shop;
mod story;
mod wild;

mod accounts;
mod changes;
mod fingerprints;
mod numbers;
mod parsing;
mod plans;
mod references;
mod stock;
mod variety;
