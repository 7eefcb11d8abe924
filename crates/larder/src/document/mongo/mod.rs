//! Collections in MongoDB, through the official driver.
//!
//! Reads go to the primary: what a cache is filled with must not be older than a write that was already answered. Every
//! call has the database's deadline twice, as `maxTimeMS` for the server and as a timer here, so that neither a slow
//! query nor a silent server holds a caller. After an outage every call works again by itself.
//!
//! [`filter`], [`keyset`], [`patch`] and [`availability`] are pure; the others talk to the driver.

mod availability;
mod client;
mod collection;
mod config;
mod error;
mod filter;
mod index;
mod keyset;
mod options;
mod patch;
mod probe;
mod read;
mod search;
mod versioned;
mod write;

pub use self::config::MongoConfig;
pub(super) use self::error::from_driver;
pub(crate) use self::{
    client::MongoDatabase,
    collection::MongoCollection,
    versioned::{REMOVED, Removals, VersionedWrite},
};

#[cfg(test)]
mod tests;
