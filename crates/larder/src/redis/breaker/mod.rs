//! When to stop calling a Redis server in trouble, and what lets calls through again.

mod circuit;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

pub(super) use self::circuit::{Circuit, Outcome, Permit};

/// When to stop calling a Redis server in trouble, and for how long. On by default.
///
/// Only trouble of the server or of the way to it counts: timeouts, lost connections, `LOADING`, `BUSY`. Refusals of a
/// single command (a wrong type, no memory left, no permission) do not.
///
/// ```
/// use larder::redis::{Breaker, RedisConfig};
/// use std::time::Duration;
/// let config = RedisConfig::new("redis://127.0.0.1").breaker(Breaker::default().slow_call(Duration::from_millis(50)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    window: Duration,
    minimum_calls: u32,
    error_rate: f64,
    slow_call: Duration,
    slow_rate: f64,
    failures_in_a_row: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(1),
            minimum_calls: 20,
            error_rate: 0.5,
            slow_call: Duration::from_millis(100),
            slow_rate: 0.8,
            failures_in_a_row: 10,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(1),
        }
    }
}

impl Breaker {
    /// How far back calls are counted. Default: 1 s.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many calls the window must hold before a rate means anything. Default: 20.
    #[must_use]
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// The share of failed calls, from 0 to 1, that opens the breaker. Default: 0.5.
    #[must_use]
    pub fn error_rate(mut self, rate: f64) -> Self {
        self.error_rate = rate;
        self
    }

    /// From when on a call counts as slow. Default: 100 ms.
    #[must_use]
    pub fn slow_call(mut self, slow: Duration) -> Self {
        self.slow_call = slow;
        self
    }

    /// The share of slow calls, from 0 to 1, that opens the breaker. Failed calls count as slow. Default: 0.8.
    #[must_use]
    pub fn slow_rate(mut self, rate: f64) -> Self {
        self.slow_rate = rate;
        self
    }

    /// How many failures without a success between them open the breaker, whatever the rates. A server that freezes
    /// in full flight is recognised by this before its earlier successes have left the window. Default: 10.
    #[must_use]
    pub fn failures_in_a_row(mut self, failures: u32) -> Self {
        self.failures_in_a_row = failures;
        self
    }

    /// How long the breaker stays open the first time, and the longest it stays open when probe after probe fails;
    /// in between the pause doubles. Default: 200 ms and 1 s.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One call at a time, whose outcome decides.
    HalfOpen,
}
