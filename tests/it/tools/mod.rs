//! The commands beside the server, run as their readers run them.

mod ops;
