//! What other settings would change, by what was counted: plain rules, each with the facts that it goes by.

use std::{fmt, hash::Hash, time::Duration};

use crate::cache::{Cache, CacheStats, Consistency, MAX_LIFETIME, MissReason, Policy};

/// With fewer reads there is nothing to go by: [`Cache::advise`] says nothing then.
pub const LEAST_READS: u64 = 1_000;
/// With fewer reloads compared nothing is known of how often values change.
const LEAST_COMPARED: u64 = 30;

/// A setting that other advice would be worth.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// [`Policy::ttl`].
    Ttl,
    /// [`Policy::refresh_ahead`].
    RefreshAhead,
    /// [`Policy::stale_if_error`].
    StaleIfError,
    /// [`Policy::near_ttl`].
    NearTtl,
    /// [`CacheBuilder::near_capacity`](crate::cache::CacheBuilder::near_capacity), or `near_bytes`.
    NearSize,
    /// [`Policy::max_entry_bytes`].
    MaxEntryBytes,
}

impl Setting {
    /// Its name in the server's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::RefreshAhead => "refresh_ahead",
            Self::StaleIfError => "stale_if_error",
            Self::NearTtl => "near_ttl",
            Self::NearSize => "near_max_bytes",
            Self::MaxEntryBytes => "max_entry_bytes",
        }
    }
}

/// One piece of advice. Made by [`Cache::advise`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to change.
    pub setting: Setting,
    /// What it is.
    pub now: String,
    /// What to try.
    pub better: String,
    /// The facts, and what the change would do.
    pub because: String,
}

/// What the rules look at.
pub(crate) struct Facts<'a> {
    pub(crate) stats: &'a CacheStats,
    pub(crate) policy: &'a Policy,
    pub(crate) is_shared: bool,
    pub(crate) consistency: Consistency,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What other settings would change, by all that this node has counted since the cache was built. Nothing with fewer than
    /// [`LEAST_READS`] reads, and nothing where no rule applies; each piece says what it goes by. The rules:
    ///
    /// | what was counted | advice |
    /// |---|---|
    /// | a tenth of the misses were expiries, and four fifths of the values compared had not changed meanwhile | twice the `ttl` |
    /// | four fifths of the values compared had changed by the time they expired, and nobody had invalidated them | half the `ttl`, or have changes told |
    /// | a twentieth of the misses were expiries, a load takes 20 ms or more, and nothing refreshes behind readers | `refresh_ahead` |
    /// | one load in a hundred failed, and nothing stale may be served then | `stale_if_error` |
    /// | the near tier is full, and a tenth of the reads went to Redis or, without it, of the misses were evicted keys | twice the near tier |
    /// | a fifth of the reads went to Redis, the near tier has room, and `near_ttl` is shorter than the `ttl` | `near_ttl` as the `ttl` |
    /// | a twentieth of the misses were values too large to keep | twice `max_entry_bytes` |
    ///
    /// Whether a value has changed is seen when one is loaded after an expiry, for those keys whose last value's hash is
    /// still remembered. What is compared are encoded bytes: values that encode in no fixed order, such as a `HashMap` as
    /// JSON, look changed. Does no I/O.
    ///
    /// ```
    /// let users: larder::Cache<String, String> = larder::Cache::builder("users").build()?;
    /// for advice in users.advise() {
    ///     println!("{} = {} instead of {}: {}", advice.setting.name(), advice.better, advice.now, advice.because);
    /// }
    /// # Ok::<(), larder::Error>(())
    /// ```
    pub fn advise(&self) -> Vec<Advice> {
        advise(&Facts {
            stats: &self.stats(),
            policy: &self.inner.policy,
            is_shared: self.inner.shared.is_some(),
            consistency: self.inner.consistency,
        })
    }
}

pub(crate) fn advise(facts: &Facts<'_>) -> Vec<Advice> {
    if facts.stats.cache_reads() < LEAST_READS {
        return Vec::new();
    }
    let rules = [
        Facts::longer_life,
        Facts::shorter_life,
        Facts::refresh_ahead,
        Facts::stale_if_error,
        Facts::near_size,
        Facts::near_ttl,
        Facts::entry_bytes,
    ];
    rules.iter().filter_map(|rule| rule(facts)).collect()
}

impl Facts<'_> {
    fn misses(&self) -> u64 {
        self.stats.source_reads.saturating_sub(self.stats.misses_of(MissReason::Asked))
    }

    /// The part of the misses that had this reason.
    fn missed(&self, reason: MissReason) -> f64 {
        part(self.stats.misses_of(reason), self.misses())
    }

    /// The part of the compared values that had not changed; `None` if too few were compared.
    fn unchanged(&self) -> Option<f64> {
        let compared = self.stats.reloads_compared;
        (compared >= LEAST_COMPARED).then(|| part(self.stats.reloads_unchanged, compared))
    }

    fn mean_load(&self) -> Duration {
        self.stats.load_time.checked_div(self.stats.loads.max(1) as u32).unwrap_or_default()
    }

    fn is_near_full(&self) -> bool {
        self.stats.near_capacity > 0 && part(self.stats.near_weight, self.stats.near_capacity) >= 0.9
    }

    fn longer_life(&self) -> Option<Advice> {
        let unchanged = self.unchanged().filter(|unchanged| *unchanged >= 0.8)?;
        let expired = self.missed(MissReason::Expired);
        let refreshed = part(self.stats.refreshes, self.stats.loads);
        let ttl = self.policy.ttl;
        let window = self.policy.keep() - ttl;
        let better = (ttl * 2).min(MAX_LIFETIME - window);
        if expired.max(refreshed) < 0.1 || better <= ttl {
            return None;
        }
        let because = format!(
            "{} of the misses were expiries, {} of the loads refreshes, and {} of the {} values compared had not \
             changed: twice the lifetime saves about half of these loads",
            percent(expired),
            percent(refreshed),
            percent(unchanged),
            self.stats.reloads_compared,
        );
        Some(Advice { setting: Setting::Ttl, now: text(ttl), better: text(better), because })
    }

    fn shorter_life(&self) -> Option<Advice> {
        let unchanged = self.unchanged().filter(|unchanged| *unchanged <= 0.2)?;
        let ttl = self.policy.ttl;
        let because = format!(
            "{} of the {} values compared had changed by the time they expired, and nobody had invalidated them: readers \
             were shown old ones. Have changes told, by a watch, by writes through Larder or by invalidations; or half \
             the lifetime halves how old they get",
            percent(1.0 - unchanged),
            self.stats.reloads_compared,
        );
        Some(Advice { setting: Setting::Ttl, now: text(ttl), better: text(ttl / 2), because })
    }

    fn refresh_ahead(&self) -> Option<Advice> {
        let expired = self.missed(MissReason::Expired);
        let (mean, policy) = (self.mean_load(), self.policy);
        let refreshes = policy.refresh_ahead.is_some() || !policy.stale_while_revalidate.is_zero();
        if expired < 0.05 || mean < Duration::from_millis(20) || refreshes {
            return None;
        }
        let because = format!(
            "{} reads waited for the load of a value that had expired, and a load takes {} on average: refreshed behind \
             its readers, a value in demand keeps nobody waiting",
            self.stats.misses_of(MissReason::Expired),
            text(mean),
        );
        let (now, better) = ("off".to_owned(), "1.0".to_owned());
        Some(Advice { setting: Setting::RefreshAhead, now, better, because })
    }

    fn stale_if_error(&self) -> Option<Advice> {
        let failed = part(self.stats.load_errors, self.stats.loads);
        if failed < 0.01 || self.stats.load_errors < 10 || !self.policy.stale_if_error.is_zero() {
            return None;
        }
        let better = (self.policy.ttl * 10).max(Duration::from_secs(600)).min(MAX_LIFETIME - self.policy.ttl);
        let because = format!(
            "{} of {} loads failed, and their readers got errors: with something stale at hand they get that, marked",
            self.stats.load_errors, self.stats.loads,
        );
        let now = text(self.policy.stale_if_error);
        Some(Advice { setting: Setting::StaleIfError, now, better: text(better), because })
    }

    fn near_size(&self) -> Option<Advice> {
        let went_on = match self.is_shared {
            true => part(self.stats.shared_hits, self.stats.cache_reads()),
            false => self.missed(MissReason::Evicted),
        };
        if !self.is_near_full() || went_on < 0.1 {
            return None;
        }
        let because = format!(
            "the near tier is full with {} entries, and {} of the {}",
            self.stats.near_entries,
            percent(went_on),
            if self.is_shared { "reads went to Redis" } else { "misses were keys that it had to give up" },
        );
        let (now, better) =
            (self.stats.near_capacity.to_string(), (self.stats.near_capacity * 2).to_string());
        Some(Advice { setting: Setting::NearSize, now, better, because })
    }

    fn near_ttl(&self) -> Option<Advice> {
        let shared = part(self.stats.shared_hits, self.stats.cache_reads());
        let near_ttl = self.policy.near_ttl.filter(|near_ttl| *near_ttl < self.policy.ttl)?;
        let is_told = self.is_shared && self.consistency != Consistency::Local;
        if shared < 0.2 || !is_told || near_ttl.is_zero() || self.is_near_full() {
            return None;
        }
        let because = format!(
            "{} of the reads went to Redis, and the near tier has room: nodes tell each other of every invalidation, so a \
             copy need not be asked about before it expires",
            percent(shared),
        );
        let (now, better) = (text(near_ttl), text(self.policy.ttl));
        Some(Advice { setting: Setting::NearTtl, now, better, because })
    }

    fn entry_bytes(&self) -> Option<Advice> {
        let too_large = self.missed(MissReason::TooLarge);
        if too_large < 0.05 {
            return None;
        }
        let now = self.policy.max_entry_bytes;
        let because = format!("{} of the misses were values that are larger", percent(too_large));
        let better = (now * 2).min(256 << 20).to_string();
        Some(Advice { setting: Setting::MaxEntryBytes, now: now.to_string(), better, because })
    }
}

fn part(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// A duration as the server's configuration reads it.
fn text(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 60_000 == 0 && ms > 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy cache beside Redis; each case makes one thing wrong.
    fn healthy() -> (CacheStats, Policy) {
        let mut stats = CacheStats {
            near_hits: 95_000,
            shared_hits: 2_000,
            source_reads: 3_000,
            loads: 3_000,
            load_time: Duration::from_secs(3),
            near_weight: 10,
            near_capacity: 100,
            ..CacheStats::default()
        };
        stats.misses[MissReason::Cold as usize] = 3_000;
        (stats, Policy::default())
    }

    fn told(stats: &CacheStats, policy: &Policy, is_shared: bool) -> Vec<(Setting, String)> {
        let facts = Facts { stats, policy, is_shared, consistency: Consistency::default() };
        advise(&facts).into_iter().map(|advice| (advice.setting, advice.better)).collect()
    }

    fn becomes(stats: &mut CacheStats, reason: MissReason, count: u64) {
        stats.misses[MissReason::Cold as usize] -= count;
        stats.misses[reason as usize] += count;
    }

    #[test]
    fn a_healthy_cache_and_one_that_is_hardly_read_get_no_advice() {
        let (stats, policy) = healthy();
        assert_eq!(told(&stats, &policy, true), []);
        let few = CacheStats { source_reads: 900, load_errors: 900, loads: 900, ..CacheStats::default() };
        assert_eq!(told(&few, &policy, true), []);
    }

    #[test]
    fn values_that_expire_unchanged_live_longer_and_those_that_change_shorter() {
        let (mut stats, policy) = healthy();
        becomes(&mut stats, MissReason::Expired, 1_000);
        assert_eq!(told(&stats, &policy, true), [], "nothing is known of their changes");
        (stats.reloads_compared, stats.reloads_unchanged) = (100, 93);
        assert_eq!(told(&stats, &policy, true), [(Setting::Ttl, "2m".to_owned())]);
        stats.reloads_unchanged = 50;
        assert_eq!(told(&stats, &policy, true), []);
        stats.reloads_unchanged = 10;
        assert_eq!(told(&stats, &policy, true), [(Setting::Ttl, "30s".to_owned())]);
        let longest = Policy::ttl(MAX_LIFETIME);
        stats.reloads_unchanged = 100;
        assert_eq!(told(&stats, &longest, true), [], "there is no longer one");
    }

    #[test]
    fn readers_who_wait_for_slow_loads_get_them_ahead() {
        let (mut stats, policy) = healthy();
        becomes(&mut stats, MissReason::Expired, 300);
        assert_eq!(told(&stats, &policy, true), [], "a load takes a millisecond");
        stats.load_time = Duration::from_secs(90);
        assert_eq!(told(&stats, &policy, true), [(Setting::RefreshAhead, "1.0".to_owned())]);
        assert_eq!(told(&stats, &policy.refresh_ahead(1.0), true), []);
    }

    #[test]
    fn failing_loads_get_something_stale() {
        let (mut stats, policy) = healthy();
        stats.load_errors = 60;
        assert_eq!(told(&stats, &policy, true), [(Setting::StaleIfError, "10m".to_owned())]);
        assert_eq!(told(&stats, &policy.stale_if_error(Duration::from_secs(1)), true), []);
    }

    #[test]
    fn a_near_tier_that_is_full_grows_and_one_with_room_is_used_longer() {
        let (mut stats, policy) = healthy();
        (stats.near_hits, stats.shared_hits) = (50_000, 47_000);
        let short = policy.clone().near_ttl(Duration::from_secs(1));
        assert_eq!(told(&stats, &short, true), [(Setting::NearTtl, "1m".to_owned())]);
        assert_eq!(told(&stats, &policy, true), []);
        stats.near_weight = 95;
        assert_eq!(told(&stats, &short, true), [(Setting::NearSize, "200".to_owned())]);
        stats.shared_hits = 0;
        becomes(&mut stats, MissReason::Evicted, 1_000);
        assert_eq!(told(&stats, &policy, false), [(Setting::NearSize, "200".to_owned())]);
    }

    #[test]
    fn values_that_are_too_large_are_told() {
        let (mut stats, policy) = healthy();
        becomes(&mut stats, MissReason::TooLarge, 200);
        assert_eq!(told(&stats, &policy, true), [(Setting::MaxEntryBytes, "2097152".to_owned())]);
    }

    #[test]
    fn a_duration_reads_as_in_the_configuration() {
        for (ms, told) in [(0, "0s"), (1, "1ms"), (1_500, "1500ms"), (90_000, "90s"), (7_200_000, "120m")] {
            assert_eq!(text(Duration::from_millis(ms)), told);
        }
    }
}
