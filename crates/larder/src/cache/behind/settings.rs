//! How writes are carried out behind: pure values.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// How writes are carried out behind. All nodes of a cache must write behind, or none.
///
/// ```
/// use larder::cache::WriteBehind;
/// use std::time::Duration;
/// let settings = WriteBehind::default().max_delay(Duration::from_millis(20)).attempts(3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WriteBehind {
    pub(crate) max_batch: usize,
    pub(crate) max_delay: Duration,
    pub(crate) backlog: u64,
    pub(crate) attempts: u32,
    pub(crate) retry_pause: (Duration, Duration),
    pub(crate) apply_deadline: Duration,
    pub(crate) lease: Duration,
    pub(crate) drain_deadline: Duration,
}

impl Default for WriteBehind {
    fn default() -> Self {
        Self {
            max_batch: 500,
            max_delay: Duration::from_millis(50),
            backlog: 10_000,
            attempts: 5,
            retry_pause: (Duration::from_millis(50), Duration::from_secs(5)),
            apply_deadline: Duration::from_secs(5),
            lease: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(10),
        }
    }
}

impl WriteBehind {
    /// How many operations one batch has at most, 1 to 1,000. Default: 500.
    #[must_use]
    pub fn max_batch(mut self, operations: usize) -> Self {
        self.max_batch = operations;
        self
    }

    /// How long the first operation of a batch waits for others: the more of them, the more writes to one key become one.
    /// At most ten seconds. Default: 50 ms.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How many operations of one shard may be pending before a write waits until the sink has it (write-through). At twice
    /// that, writes are refused. Default: 10,000.
    #[must_use]
    pub fn backlog(mut self, operations: u64) -> Self {
        self.backlog = operations;
        self
    }

    /// After how many refusals by the sink an operation becomes a dead letter. Errors that say the sink is away
    /// (`Unavailable`, `Timeout`, `Full`) do not count: those are tried for ever. Default: 5.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The pause before the first retry of a key, and the longest; it doubles in between and is shortened at random by up to
    /// half. Default: 50 ms to 5 s.
    #[must_use]
    pub fn retry_pause(mut self, first: Duration, longest: Duration) -> Self {
        self.retry_pause = (first, longest);
        self
    }

    /// The most time that one call of the sink may take, and that a write over the backlog waits. Default: 5 s.
    #[must_use]
    pub fn apply_deadline(mut self, deadline: Duration) -> Self {
        self.apply_deadline = deadline;
        self
    }

    /// How long a shard stands still at most when its owner dies. At least 100 ms. Default: 5 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long [`Cache::close`](crate::Cache::close) waits for the sink to have everything. What is left then is safe in
    /// Redis, for another node or the next start. Default: 10 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the setting and its bounds.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |field: &str, message: &'static str| {
            Err(Error::new(ErrorKind::Config, message).with_field(field.to_owned()))
        };
        if !(1..=1_000).contains(&self.max_batch) {
            return wrong("max_batch", "must be between 1 and 1,000");
        }
        if self.max_delay > Duration::from_secs(10) {
            return wrong("max_delay", "must be at most ten seconds");
        }
        if self.backlog == 0 {
            return wrong("backlog", "must be at least 1");
        }
        if self.attempts == 0 {
            return wrong("attempts", "must be at least 1");
        }
        if self.retry_pause.0.is_zero() || self.retry_pause.0 > self.retry_pause.1 {
            return wrong(
                "retry_pause",
                "must be longer than zero, and the first no longer than the longest",
            );
        }
        if self.apply_deadline.is_zero() {
            return wrong("apply_deadline", "must be longer than zero");
        }
        if self.lease < Duration::from_millis(100) {
            return wrong("lease", "must be at least 100 ms");
        }
        Ok(())
    }
}
