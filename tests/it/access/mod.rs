//! The way in, as operators set it up: keys that issuers publish, sessions that are looked up, web pages of other
//! origins, how many requests a client may make, how slowly, and what holds a connection.

mod browsers;
mod flood;
mod idle;
mod issuer;
mod key_server;
mod limits;
mod public_key;
mod published;
mod rate;
mod secrets;
mod sessions;
mod slow;
