//! Larder, the speed layer between an API and MongoDB: MongoDB keeps everything that must last, Redis keeps everything that
//! must be fast, and Larder keeps the two in step.
//!
//! # Quick start
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
//! use larder::{Cache, Policy};
//! use std::time::Duration;
//!
//! // `.redis(&redis)` shares it with other nodes; without, it lives in this process.
//! let users: Cache<String, String> =
//!     Cache::builder("users").policy(Policy::ttl(Duration::from_secs(300))).build()?;
//!
//! // Cache-aside: the loader runs on a miss, once for all who wait.
//! let user = users.get_with("42", || async { Ok(Some("Ada".to_owned())) }).await?;
//! assert_eq!(user.as_deref().map(String::as_str), Some("Ada"));
//!
//! // After the database was written:
//! users.invalidate("42").await?;
//! # Ok(()) }
//! ```
//!
//! # Where to look
//! | module | what it gives |
//! |---|---|
//! | [`cache`] | [`Cache`]: cache-aside, read-through, batches, tags, invalidation, coherence between nodes |
//! | [`document`] | [`Collection`](document::Collection): cached documents and typed queries over MongoDB or SQLite; [`Watch`](document::Watch): change streams invalidate them |
//! | [`source`] | [`Source`](source::Source) and [`Sink`](source::Sink): what you supply |
//! | [`redis`] | [`Redis`](redis::Redis): one connection layer for a single server, Sentinel and Cluster |
//!
//! # Features
//! | feature | default | brings |
//! |---|---|---|
//! | `mongo` | yes | the official MongoDB driver |
//! | `sqlite` | yes | SQLite, built in |

#![cfg_attr(
    not(any(feature = "mongo", feature = "sqlite")),
    expect(
        dead_code,
        unused_imports,
        reason = "what collections need of the cache has no database to serve"
    )
)]

pub mod cache;
mod clock;
mod dice;
pub mod document;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod redis;
pub mod source;
mod stripe;
mod sync;

pub use crate::{
    cache::{Cache, Policy},
    clock::{Clock, FakeClock, SystemClock},
    error::{Error, ErrorKind, Result},
};
