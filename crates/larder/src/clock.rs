//! Time as a parameter: the coarse clock that expiry is read against, and one that tests drive by hand.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// Where the library reads time.
///
/// Freshness in process uses [`monotonic_ms`](Clock::monotonic_ms), so a jump of the wall clock changes nothing.
/// Only the age that nodes tell each other through Redis uses [`unix_ms`](Clock::unix_ms), and it is clamped to the
/// entry's own lifetime, so a skewed clock can refresh an entry early but never keep it past its hard expiry.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since an arbitrary fixed point; never goes back.
    fn monotonic_ms(&self) -> u64;
    /// Milliseconds since 1970 by the wall clock.
    fn unix_ms(&self) -> u64;
}

/// The system's clocks. The monotonic one is the kernel's coarse clock, in steps of 1 to 4 ms: every near hit reads it,
/// and a precise one costs more to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn monotonic_ms(&self) -> u64 {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
    }

    fn unix_ms(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// A clock as a capability holds it: the system's is read without a virtual call, which a near hit would feel.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    System,
    Other(Arc<dyn Clock>),
}

impl Time {
    #[inline]
    pub(crate) fn monotonic_ms(&self) -> u64 {
        match self {
            Self::System => SystemClock.monotonic_ms(),
            Self::Other(clock) => clock.monotonic_ms(),
        }
    }

    /// Microseconds since an arbitrary fixed point, for durations that are shorter than the steps of the coarse clock.
    pub(crate) fn stopwatch_us(&self) -> u64 {
        match self {
            Self::System => {
                let now = clock_gettime(ClockId::Monotonic);
                now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
            }
            Self::Other(clock) => clock.monotonic_ms() * 1_000,
        }
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        match self {
            Self::System => SystemClock.unix_ms(),
            Self::Other(clock) => clock.unix_ms(),
        }
    }
}

/// A clock that stands still until it is told to advance. For tests, the library's and yours.
///
/// ```
/// use larder::{Clock, FakeClock};
/// use std::time::Duration;
/// let clock = FakeClock::default();
/// let before = clock.monotonic_ms();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.monotonic_ms() - before, 2_000);
/// ```
#[derive(Clone, Debug)]
pub struct FakeClock {
    since_start_ms: Arc<AtomicU64>,
}

/// 2025-01-01T00:00:00Z, where every [`FakeClock`] begins.
const FAKE_START_UNIX_MS: u64 = 1_735_689_600_000;

impl Default for FakeClock {
    fn default() -> Self {
        Self { since_start_ms: Arc::new(AtomicU64::new(1_000)) }
    }
}

impl FakeClock {
    /// Moves time forward. All clones of this clock move with it.
    pub fn advance(&self, by: Duration) {
        self.since_start_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn monotonic_ms(&self) -> u64 {
        self.since_start_ms.load(Ordering::SeqCst)
    }

    fn unix_ms(&self) -> u64 {
        FAKE_START_UNIX_MS + self.monotonic_ms()
    }
}
