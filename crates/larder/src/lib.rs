//! Larder, the speed layer between an API and MongoDB.

pub mod cache;
mod clock;
pub mod document;
mod error;
pub mod redis;
pub mod source;

pub use crate::{
    cache::{Cache, Policy},
    clock::{Clock, FakeClock, SystemClock},
    error::{Error, ErrorKind, Result},
};
