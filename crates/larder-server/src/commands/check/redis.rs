//! Whether Redis can be reached, and whether it is set up as a cache needs it.

use larder::redis::{DeploymentMode, PrimaryProbe, ServerProbe};

use super::{
    behind::report_keeping,
    clock::Clock,
    report::{Level, Report},
};
use crate::{app::open_redis, cli::CheckArgs, commands::counted, config::Config};

/// Entries carry the wall clock of the node that wrote them; past this, their age is told wrongly.
const MAX_CLOCK_OFFSET_MS: i64 = 500;

pub(super) async fn check(config: &Config, args: &CheckArgs, report: &mut Report) {
    let Some(url) = &config.redis.url else {
        if args.write_behind {
            report.fail(
                "redis",
                "none is named",
                "write-behind keeps in Redis what is pending: set redis.url",
            );
            return;
        }
        report.add(Level::Note, "redis", "not used: each node caches in its own memory only");
        return;
    };
    let place = url.as_shown_url();
    let redis = match open_redis(&config.redis).await {
        Ok(redis) => redis,
        Err(error) => {
            // A setting that is named says how to mend it.
            let fix = match error.field() {
                Some(_) => "the server would not start",
                None => "mend the URL, the login or the server",
            };
            return report.fail("redis", format!("{place}: {error}"), fix);
        }
    };
    match redis.probe().await {
        Ok(probe) => report_probe(&place, &probe, args.write_behind, report),
        Err(error) => {
            let effect = "the server works without it, more slowly, and connects when it comes";
            report.warn("redis", format!("{place} does not answer: {error}"), effect);
        }
    }
}

fn report_probe(place: &str, probe: &ServerProbe, write_behind: bool, report: &mut Report) {
    let mode = match probe.mode {
        DeploymentMode::Sentinel => "through Sentinel",
        DeploymentMode::Cluster => "a cluster",
        _ => "one server",
    };
    let primaries = counted(probe.primaries.len(), "primary", "primaries");
    report.add(Level::Good, "redis", format!("{place}: {mode}, {primaries}"));
    for primary in &probe.primaries {
        report_primary(primary, write_behind, report);
    }
}

fn report_primary(primary: &PrimaryProbe, write_behind: bool, report: &mut Report) {
    let what = format!("redis {}", primary.address);
    let version = primary.version.as_deref().unwrap_or("of unknown version");
    report.add(Level::Good, &what, format!("{} {version}", primary.product));
    match write_behind {
        true => report_keeping(primary, &what, report),
        false => report_caching(primary, &what, report),
    }
    if let Some(offset_ms) = primary.clock_offset_ms {
        let effect = "the age of entries is told wrongly";
        Clock { of: &what, offset_ms, max_offset_ms: MAX_CLOCK_OFFSET_MS, effect }.report(report);
    }
}

/// One primary's memory and files, as a cache needs them.
fn report_caching(primary: &PrimaryProbe, what: &str, report: &mut Report) {
    match (primary.max_memory_bytes, primary.max_memory_policy.as_deref()) {
        (_, None) => report.add(Level::Note, what, "does not say its memory policy to this user"),
        (Some(_), Some("noeviction")) => report.warn(
            what,
            "maxmemory with noeviction",
            "a full Redis refuses new entries, and everything new is read from the database; allkeys-lfu suits a cache",
        ),
        (Some(_), Some(policy)) if policy.starts_with("volatile") => {
            report.add(Level::Good, what, format!("evicts by {policy}; every entry of Larder has an expiry"));
        }
        (Some(_), Some(policy)) => report.add(Level::Good, what, format!("evicts by {policy}")),
        (None, Some(_)) => report.warn(
            what,
            "maxmemory is not set",
            "it grows until the machine has no memory left; set maxmemory, and maxmemory-policy allkeys-lfu",
        ),
    }
    if let Some(evicted) = primary.evicted_keys.filter(|evicted| *evicted > 0) {
        let keys = counted(usize::try_from(evicted).unwrap_or(usize::MAX), "key", "keys");
        report.add(Level::Note, what, format!("has evicted {keys} since it started; each costs a miss"));
    }
    if let Some(append_only) = primary.append_only {
        let kept = if append_only { "keeps an append-only file" } else { "keeps no append-only file" };
        report.add(Level::Note, what, format!("{kept}; a cache needs none"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(clock_offset_ms: i64) -> String {
        let mut primary = PrimaryProbe::default();
        primary.clock_offset_ms = Some(clock_offset_ms);
        let mut report = Report::default();
        report_primary(&primary, false, &mut report);
        report.to_string()
    }

    #[test]
    fn a_clock_that_is_far_from_ours_is_told() {
        for offset_ms in [0, MAX_CLOCK_OFFSET_MS, -MAX_CLOCK_OFFSET_MS] {
            assert!(printed(offset_ms).contains("its clock is this machine's"), "{}", printed(offset_ms));
            assert!(!printed(offset_ms).contains("run a time service"), "{}", printed(offset_ms));
        }
        for offset_ms in [MAX_CLOCK_OFFSET_MS + 1, -MAX_CLOCK_OFFSET_MS - 1] {
            let said = format!("its clock is {offset_ms} ms from this machine's");
            assert!(printed(offset_ms).contains(&said), "{}", printed(offset_ms));
            assert!(printed(offset_ms).contains("; run a time service on both"), "{}", printed(offset_ms));
        }
    }
}
