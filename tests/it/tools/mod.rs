//! The tools of the program, as their users call them: real processes against real servers.

mod replay;
mod storm;
