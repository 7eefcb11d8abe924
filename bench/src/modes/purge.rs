//! Forgetting a tag of few entries and of many, and a pattern.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use larder::{Cache, Policy, redis::Redis};

use super::Lab;
use crate::{report::percentile, rounds::Rounds};

const BATCH: usize = 1_000;
const PURGES: usize = 50;

/// A tag with one entry, one with a million, and a walk through the keys.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let (many, matched) = if lab.full { (1_000_000, 100_000) } else { (20_000, 5_000) };
    let redis = lab.redis().await?;
    let of_one = tag(lab, &redis, 1, measured).await?;
    let of_many = tag(lab, &redis, many, measured).await?;
    measured.note("purge of a tag: many under it ÷ one", of_many / of_one, "times");
    pattern(lab, &redis, matched, measured).await?;
    // What comes after this begins with an empty Redis.
    let mut plain = redis::Client::open(lab.redis_url.as_str())?.get_multiplexed_async_connection().await?;
    let () = redis::cmd("FLUSHALL").arg("ASYNC").query_async(&mut plain).await?;
    Ok(())
}

async fn filled(lab: &Lab, redis: &Redis, name: &str, entries: usize) -> larder::Result<Cache<String, u64>> {
    let policy = Policy::ttl(Duration::from_secs(3_600)).near_ttl(Duration::ZERO);
    let cache = lab.cache(redis, name, policy).tags(|_, _| vec!["all".to_owned()]).build()?;
    let keys: Vec<String> = (0..entries).map(|entry| format!("entry {entry}")).collect();
    for keys in keys.chunks(BATCH) {
        cache.get_many_with(keys, |keys: Vec<String>| async move { Ok(vec![Some(1); keys.len()]) }).await?;
    }
    Ok(cache)
}

/// The median of some purges, in µs.
async fn tag(lab: &Lab, redis: &Redis, entries: usize, measured: &mut Rounds) -> Result<f64, Box<dyn Error>> {
    let cache = filled(lab, redis, &format!("tag-{entries}"), entries).await?;
    let what = format!("purge of a tag: {entries} under it");
    let (mut took_us, before) = (Vec::new(), redis.stats().round_trips);
    for _ in 0..PURGES {
        let began = Instant::now();
        cache.invalidate_tag("all").await?;
        took_us.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let commands = (redis.stats().round_trips - before) as f64 / PURGES as f64;
    let again = cache.get_with("entry 0", async || Ok(Some(2))).await?;
    assert_eq!(again.as_deref(), Some(&2), "the purge was one");
    measured.note_percentiles(&what, &took_us, "us");
    // A look of the node at the sequences may fall among them.
    measured.note(format!("{what}: commands, one a shard and all at once"), commands.floor(), "");
    Ok(percentile(&took_us, 50.0))
}

async fn pattern(
    lab: &Lab,
    redis: &Redis,
    entries: usize,
    measured: &mut Rounds,
) -> Result<(), Box<dyn Error>> {
    let cache = filled(lab, redis, "pattern", entries).await?;
    let began = Instant::now();
    let purged = cache.invalidate_pattern("entry *").await?;
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(purged, entries as u64, "all of them matched");
    measured.note("purge by pattern: keys a second", entries as f64 / seconds, "");
    Ok(())
}
