//! `[alarms]`: from when on a hit rate is too low.

use std::time::Duration;

use larder::cache::HitRateRules;

use crate::config::reader::Reader;

/// Reads `[alarms]`.
pub(super) fn read(mut table: Reader<'_>) -> HitRateRules {
    let mut rules = HitRateRules::default();
    let base = rules.clone();
    rules.warn_below = table.get("hit_rate_warn", base.warn_below);
    rules.alarm_below = table.get("hit_rate_alarm", base.alarm_below);
    rules.window = table.get("window", base.window);
    rules.warm_up = table.get("warm_up", base.warm_up);
    rules.min_reads = table.get("min_reads", base.min_reads);
    for (key, value) in [("hit_rate_warn", rules.warn_below), ("hit_rate_alarm", rules.alarm_below)] {
        if !(0.0..=1.0).contains(&value) {
            table.report(key, "must be between 0 and 1");
        }
    }
    if rules.alarm_below > rules.warn_below {
        table.report("hit_rate_alarm", "must be at most hit_rate_warn");
    }
    if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&rules.window) {
        table.report("window", "must be between 1s and 1d");
    }
    table.finish();
    rules
}
