//! How much a pipeline has in memory, and how much that may be.

use crate::{Error, ErrorKind, Result};

/// What a pipeline may hold in memory at once: documents waiting to be sorted, groups and their arrays, its answer.
pub(crate) const MAX_HELD_BYTES: usize = 100 * 1024 * 1024;

/// What one pipeline holds.
#[derive(Debug, Default)]
pub(crate) struct Held(usize);

impl Held {
    /// Counts what is held from now on.
    ///
    /// # Errors
    /// `ErrorKind::TooLarge` if it is too much.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<()> {
        self.0 += bytes;
        if self.0 > MAX_HELD_BYTES {
            let message = "the pipeline holds too much at once; match or limit more";
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }

    /// It is so much, whatever it was.
    pub(super) fn set(&mut self, bytes: usize) {
        self.0 = bytes;
    }
}
