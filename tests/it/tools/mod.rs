//! The commands beside the server, as their users call them: real processes against real servers and stores.

mod command;
mod ops;
mod replay;
mod storm;
