//! Waiting between attempts: exponential, with full jitter.

use std::time::Duration;

/// Delays that double from `first` up to `limit`, each drawn evenly from zero to its bound.
///
/// Full jitter keeps a fleet of nodes from knocking at a returning server all at once. The limit stays under a second,
/// because hits have to be back within two seconds of the server, one of which an attempt to connect may take.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next_bound: Duration,
    first: Duration,
    limit: Duration,
}

impl Backoff {
    pub(crate) fn reconnect() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_millis(800))
    }

    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { next_bound: first, first, limit }
    }

    /// The next delay. `fraction` is a random number in `0.0..1.0`.
    pub(crate) fn next(&mut self, fraction: f64) -> Duration {
        let delay = self.next_bound.mul_f64(fraction.clamp(0.0, 1.0));
        self.next_bound = self.limit.min(self.next_bound * 2);
        delay
    }

    pub(crate) fn reset(&mut self) {
        self.next_bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_over() {
        let mut backoff = Backoff::reconnect();
        let bounds: Vec<_> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [50, 100, 200, 400, 800, 800]);
        assert_eq!(backoff.next(0.25).as_millis(), 200);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_millis(), 25);
    }
}
