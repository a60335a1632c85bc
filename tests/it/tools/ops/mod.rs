//! Operations: clients that move between engines, books that are checked, and the small commands.

mod accounts;
mod again;
mod care;
mod check;
mod damaged;
mod forged;
mod interrupted;
mod leftovers;
mod moves;
mod pending;
mod refusals;
mod restore;
pub mod seeds;
mod small;

use super::command;
