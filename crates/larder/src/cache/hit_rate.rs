//! Whether a cache answers as many reads as it should, told without crying at every start: a pure decision over samples of
//! its counters.

use std::{collections::VecDeque, time::Duration};

use crate::{Error, ErrorKind, Result, cache::CacheStats};

/// How much better a rate has to be than the threshold that it fell below, so that one that is about there does not go back
/// and forth.
const HYSTERESIS: f64 = 0.02;
/// Into how many steps the window is cut.
const STEPS: u32 = 60;

/// When a hit rate is too low.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct HitRateRules {
    /// Below this it is low. Zero turns that off. Default: 0.9.
    pub warn_below: f64,
    /// Below this it is very low. Zero turns that off. Default: 0.7.
    pub alarm_below: f64,
    /// The time that is judged: always the last so much. Default: 1 min.
    pub window: Duration,
    /// How much of the time after the start is not judged: a cache that is filling up does not fail. Default: 1 min.
    pub warm_up: Duration,
    /// With fewer reads in the window nothing is judged. Default: 1,000.
    pub min_reads: u64,
}

impl Default for HitRateRules {
    fn default() -> Self {
        Self {
            warn_below: 0.9,
            alarm_below: 0.7,
            window: Duration::from_secs(60),
            warm_up: Duration::from_secs(60),
            min_reads: 1_000,
        }
    }
}

impl HitRateRules {
    /// Checks that the rules can work together.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the rule and its bounds.
    pub fn check(&self) -> Result<()> {
        let wrong = |field, message| Err(Error::new(ErrorKind::Config, message).with_field(field));
        if !(0.0..=1.0).contains(&self.warn_below) {
            return wrong("warn_below", "must be between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.alarm_below) || self.alarm_below > self.warn_below {
            return wrong("alarm_below", "must be between 0 and warn_below");
        }
        if self.window < Duration::from_secs(1) || self.window > Duration::from_secs(86_400) {
            return wrong("window", "must be between a second and a day");
        }
        Ok(())
    }
}

/// What a hit rate is judged to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitLevel {
    /// Too few reads, or too soon.
    #[default]
    Unknown,
    /// As it should be.
    Good,
    /// Below [`HitRateRules::warn_below`].
    Low,
    /// Below [`HitRateRules::alarm_below`].
    VeryLow,
}

impl HitLevel {
    /// A stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Low => "low",
            Self::VeryLow => "very-low",
        }
    }
}

/// A hit rate, and what is to be thought of it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HitRate {
    /// The part of the window's reads that a cache answered, 0 to 1; `None` if there were none. Reads that asked to go past
    /// the cache do not count.
    pub rate: Option<f64>,
    /// The reads in the window.
    pub reads: u64,
    /// What that is judged to be.
    pub level: HitLevel,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    hits: u64,
    reads: u64,
}

/// Judges one cache's hit rate over a sliding window.
///
/// Show it the counters every second or so. It does no I/O, keeps no task and at most about 60 samples.
///
/// ```
/// use larder::cache::{CacheStats, HitLevel, HitRateAlarm, HitRateRules};
/// use std::time::Duration;
///
/// let mut alarm = HitRateAlarm::new(HitRateRules::default())?;
/// let mut stats = CacheStats::default();
/// for second in 0..180 {
///     (stats.near_hits, stats.source_reads) = (second * 60, second * 40);
///     if let Some(level) = alarm.observe(Duration::from_secs(second), &stats) {
///         assert_eq!(level, HitLevel::VeryLow);
///         println!("the hit rate is {}: {:?}", level.name(), alarm.last().rate);
///     }
/// }
/// assert_eq!(alarm.last().rate, Some(0.6));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HitRateAlarm {
    rules: HitRateRules,
    /// The oldest first: where the window begins.
    samples: VecDeque<Sample>,
    last: HitRate,
    /// The last one that was not unknown.
    judged: HitLevel,
}

impl HitRateAlarm {
    /// Begins to judge by these rules.
    ///
    /// # Errors
    /// As [`HitRateRules::check`].
    pub fn new(rules: HitRateRules) -> Result<Self> {
        rules.check()?;
        Ok(Self { rules, samples: VecDeque::new(), last: HitRate::default(), judged: HitLevel::Good })
    }

    /// Takes the counters as they are at this time after the start, and judges the window that ends here. Returns the level
    /// if it is another one than was judged before: once for each crossing, with a margin of two points on the way up.
    pub fn observe(&mut self, since_start: Duration, stats: &CacheStats) -> Option<HitLevel> {
        let now =
            Sample { at: since_start, hits: stats.near_hits + stats.shared_hits, reads: stats.cache_reads() };
        self.keep(now);
        let begin = self.samples.front().copied().unwrap_or(now);
        let (hits, reads) = (now.hits.saturating_sub(begin.hits), now.reads.saturating_sub(begin.reads));
        let rate = (reads > 0).then(|| hits as f64 / reads as f64);
        let is_whole = begin.at >= self.rules.warm_up && now.at - begin.at >= self.rules.window;
        let level = match rate {
            Some(rate) if is_whole && reads >= self.rules.min_reads.max(1) => self.judge(rate),
            _ => HitLevel::Unknown,
        };
        self.last = HitRate { rate, reads, level };
        if level == HitLevel::Unknown || level == self.judged {
            return None;
        }
        self.judged = level;
        Some(level)
    }

    /// What was judged last.
    pub fn last(&self) -> HitRate {
        self.last
    }

    fn keep(&mut self, now: Sample) {
        let step = self.rules.window / STEPS;
        if self.samples.back().is_none_or(|last| now.at.saturating_sub(last.at) >= step) {
            self.samples.push_back(now);
        }
        // The first one may be older than the window, so that the window is whole; the second one is not.
        while self.samples.get(1).is_some_and(|second| now.at.saturating_sub(second.at) >= self.rules.window)
        {
            self.samples.pop_front();
        }
    }

    fn judge(&self, rate: f64) -> HitLevel {
        let is_below = |threshold: f64, level: HitLevel| {
            let margin = if self.judged >= level { HYSTERESIS } else { 0.0 };
            threshold > 0.0 && rate < (threshold + margin).min(1.0)
        };
        if is_below(self.rules.alarm_below, HitLevel::VeryLow) {
            HitLevel::VeryLow
        } else if is_below(self.rules.warn_below, HitLevel::Low) {
            HitLevel::Low
        } else {
            HitLevel::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::MissReason;

    /// Adds a second with this many reads at this rate, and shows it.
    struct Cache {
        alarm: HitRateAlarm,
        stats: CacheStats,
        second: u64,
    }

    impl Cache {
        fn new() -> Self {
            let alarm = HitRateAlarm::new(HitRateRules::default()).expect("the defaults are sound");
            Self { alarm, stats: CacheStats::default(), second: 0 }
        }

        /// Returns the crossings.
        fn run(&mut self, seconds: u64, reads: u64, rate: f64) -> Vec<HitLevel> {
            let mut crossed = Vec::new();
            for _ in 0..seconds {
                let hits = (reads as f64 * rate).round() as u64;
                self.stats.near_hits += hits;
                self.stats.source_reads += reads - hits;
                self.second += 1;
                crossed.extend(self.alarm.observe(Duration::from_secs(self.second), &self.stats));
            }
            crossed
        }
    }

    #[test]
    fn a_cold_start_does_not_cry_and_a_cache_that_stays_bad_does_once() {
        let mut cache = Cache::new();
        assert_eq!(cache.run(60, 100, 0.1), [], "it is filling up");
        assert_eq!(cache.run(180, 100, 0.95), []);
        assert_eq!(cache.alarm.last().level, HitLevel::Good);
        let mut cache = Cache::new();
        assert_eq!(cache.run(600, 100, 0.1), [HitLevel::VeryLow]);
    }

    #[test]
    fn each_crossing_is_told_once_and_the_way_up_has_a_margin() {
        let mut cache = Cache::new();
        cache.run(150, 100, 0.95);
        assert_eq!(cache.run(120, 100, 0.85), [HitLevel::Low]);
        assert_eq!(cache.run(120, 100, 0.6), [HitLevel::VeryLow]);
        assert_eq!(cache.run(120, 100, 0.71), [], "not yet well over 0.7");
        assert_eq!(cache.run(120, 100, 0.8), [HitLevel::Low]);
        assert_eq!(cache.run(120, 100, 0.91), [], "not yet well over 0.9");
        assert_eq!(cache.run(120, 100, 0.95), [HitLevel::Good]);
        assert_eq!(cache.run(120, 100, 0.91), [], "on the way down there is none");
    }

    #[test]
    fn a_quiet_hour_judges_nothing_and_tells_nothing_twice() {
        let mut cache = Cache::new();
        cache.run(150, 100, 0.95);
        assert_eq!(cache.run(120, 100, 0.5), [HitLevel::Low, HitLevel::VeryLow]);
        assert_eq!(cache.run(3_600, 2, 0.0), []);
        assert_eq!((cache.alarm.last().level, cache.alarm.last().reads), (HitLevel::Unknown, 120));
        assert_eq!(cache.run(120, 100, 0.5), [], "it was told before");
        assert_eq!(cache.run(120, 100, 1.0), [HitLevel::Low, HitLevel::Good]);
    }

    #[test]
    fn the_window_slides_and_its_samples_are_few() {
        let mut cache = Cache::new();
        cache.run(1_000, 100, 0.0);
        cache.run(60, 100, 1.0);
        assert_eq!(cache.alarm.last().rate, Some(1.0), "what is older than the window does not count");
        for tenth in 0..100_000 {
            cache.alarm.observe(Duration::from_millis(1_060_000 + tenth * 100), &cache.stats);
        }
        assert!(cache.alarm.samples.len() <= 62, "{}", cache.alarm.samples.len());
    }

    #[test]
    fn reads_that_went_past_the_cache_do_not_count() {
        let mut cache = Cache::new();
        cache.run(130, 100, 0.95);
        cache.stats.source_reads += 1_000_000;
        cache.stats.misses[MissReason::Asked as usize] += 1_000_000;
        assert_eq!(cache.run(60, 100, 0.95), []);
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let rules = HitRateRules::default();
        for (rules, field) in [
            (HitRateRules { warn_below: 1.1, ..rules.clone() }, "warn_below"),
            (HitRateRules { warn_below: f64::NAN, ..rules.clone() }, "warn_below"),
            (HitRateRules { alarm_below: 0.95, ..rules.clone() }, "alarm_below"),
            (HitRateRules { window: Duration::ZERO, ..rules }, "window"),
        ] {
            assert_eq!(HitRateAlarm::new(rules).unwrap_err().field(), Some(field));
        }
    }
}
