//! Delta answers, data on demand, `GET /api/sync/data`, and the datasets that servers keep or stream.
//!
//! All of it is seen from outside, as a phone sees it: [`copy::Copy`] is the phone's own database, which takes in
//! whatever comes and must then hold exactly what a full answer holds.
//!
//! - `copy`: the phone's database, and what every answer must look like.
//! - `answers`, `changes`, `replays`: what an answer says of its data, what a delta shows, and the same to a retry.
//! - `cursors`: cursors of other stores, of restored backups, of other servers and from before a restart.
//! - `conditional`: the pull by GET, with its ETag and its 304.
//! - `foreign`: other programs write to the database.
//! - `on_the_way`: datasets that were read on the way to a commit.
//! - `histories`: random histories of phones with cursors, on one server or two, cached, streamed or neither.
//! - `streams`: a shop of tens of thousands of records and phones that are slow to take it.

mod answers;
mod changes;
mod conditional;
mod copy;
mod cursors;
mod foreign;
mod histories;
mod on_the_way;
mod replays;
mod streams;
