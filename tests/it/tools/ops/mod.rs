//! Operations: clients that move between engines, books that are checked, and the small commands.

mod care;
mod check;
mod interrupted;
mod moves;
mod pending;
mod refusals;
mod seeds;
mod small;

use super::command;
