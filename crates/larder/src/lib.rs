//! Larder, the speed layer between an API and MongoDB.

mod clock;
pub mod document;
mod error;
pub mod redis;
pub mod source;

pub use crate::{
    clock::{Clock, FakeClock, SystemClock},
    error::{Error, ErrorKind, Result},
};
