//! Operations: clients that move between engines, books that are checked, and the small commands.

mod care;
mod check;
mod command;
mod interrupted;
mod moves;
mod pending;
mod refusals;
mod seeds;
mod small;
