//! `get_many` of a hundred keys: what it costs Redis and the source, and how long it takes beside one `MGET` of the same.
//!
//! usage: `batch quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::{
    error::Error,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{Cache, Policy, cache::Consistency, redis::Redis, source::Source};
use larder_bench::rounds::{Rounds, is_full, redis_url};

const KEYS: usize = 100;
const SHARDS: u16 = 16;

/// A table that counts its queries.
#[derive(Clone, Default)]
struct Table(Arc<AtomicU64>);

impl Source<String, String> for Table {
    async fn load(&self, _key: &String) -> larder::Result<Option<String>> {
        self.0.fetch_add(1, Relaxed);
        Ok(Some("x".repeat(1_024)))
    }

    async fn load_many(&self, keys: &[String]) -> larder::Result<Vec<Option<String>>> {
        self.0.fetch_add(1, Relaxed);
        Ok(keys.iter().map(|_| Some("x".repeat(1_024))).collect())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, reads) = if is_full() { (9, 1_000) } else { (2, 100) };
    let url = redis_url()?;
    let redis = Redis::connect(url.as_str()).await?;
    let table = Table::default();
    let cache: Cache<String, String> = Cache::builder("batch")
        .redis(&redis)
        .policy(Policy::ttl(Duration::from_secs(600)).near_ttl(Duration::ZERO))
        // A node's own looks at the sequences would be counted as well: they come every half minute then.
        .consistency(Consistency::Bounded(Duration::from_secs(60)))
        .shards(NonZeroU16::new(SHARDS).ok_or("no shards")?)
        .source(table.clone())
        .build()?;
    let mut plain = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let mut measured = Rounds::new("batch");
    for round in 0..rounds {
        let keys: Vec<String> = (0..KEYS).map(|key| format!("{round}:{key}")).collect();
        let [trips, queries] = counted(&redis, &table, cache.get_many(&keys)).await?;
        measured.note(format!("{KEYS} cold keys: queries of the source (target 1)"), queries, "");
        measured.note(
            "cold: round trips for each shard (the look and the fills)",
            trips / f64::from(SHARDS),
            "",
        );
        let [trips, queries] = counted(&redis, &table, cache.get_many(&keys)).await?;
        measured.note(format!("{KEYS} keys in Redis: queries of the source (target 0)"), queries, "");
        measured.note("in Redis: round trips for each shard (target 1)", trips / f64::from(SHARDS), "");
        let values: Vec<(String, String)> =
            keys.iter().map(|key| (format!("plain:{key}"), "x".repeat(1_024))).collect();
        let () = redis::cmd("MSET").arg(&values).query_async(&mut plain).await?;
        let names: Vec<&String> = values.iter().map(|(name, _)| name).collect();
        let (mut many_us, mut mget_us) = (Vec::new(), Vec::new());
        for _ in 0..reads {
            let began = Instant::now();
            let found = cache.get_many(&keys).await?;
            many_us.push(began.elapsed().as_secs_f64() * 1e6);
            let began = Instant::now();
            let fetched: Vec<String> = redis::cmd("MGET").arg(&names).query_async(&mut plain).await?;
            mget_us.push(began.elapsed().as_secs_f64() * 1e6);
            assert_eq!((found.len(), fetched.len()), (KEYS, KEYS));
        }
        let [many, _] = measured.note_percentiles("get_many in Redis", &many_us, "us");
        let [mget, _] = measured.note_percentiles("one MGET of the same values", &mget_us, "us");
        measured.note("get_many p50 ÷ MGET p50", many / mget, "times");
    }
    measured.finish();
    Ok(())
}

/// Round trips to Redis and queries of the source while `reading` runs.
async fn counted<T>(
    redis: &Redis,
    table: &Table,
    reading: impl Future<Output = larder::Result<T>>,
) -> Result<[f64; 2], Box<dyn Error>> {
    let before = (redis.stats().round_trips, table.0.load(Relaxed));
    reading.await?;
    let after = (redis.stats().round_trips, table.0.load(Relaxed));
    Ok([(after.0 - before.0) as f64, (after.1 - before.1) as f64])
}
