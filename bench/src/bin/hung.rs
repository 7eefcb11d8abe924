//! A Redis that is stopped in its tracks (SIGSTOP): how long reads take, and when the breaker opens.
//!
//! usage: `hung quick|full …`; prints `part,name,value,unit` lines. Starts servers of its own, which it may stop.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{
    Cache, Policy,
    redis::{BreakerState, Redis},
};
use larder_bench::{
    report::percentile,
    rounds::{Rounds, is_full},
};
use larder_testkit::redis::{Options, Server};
use tokio::{task::JoinSet, time::sleep};

/// Larder's own for one call to Redis.
const DEADLINE: Duration = Duration::from_millis(250);
const LOAD: Duration = Duration::from_millis(10);
const READERS: usize = 16;
const KEYS: usize = 500;
/// Reads one reader makes in a second, so that the load is the same whatever they take.
const PACE: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, lasts) = if is_full() { (7, Duration::from_secs(8)) } else { (1, Duration::from_secs(4)) };
    let mut measured = Rounds::new("hung");
    for _ in 0..rounds {
        one_round(&mut measured, lasts).await?;
    }
    measured.finish();
    Ok(())
}

async fn one_round(measured: &mut Rounds, lasts: Duration) -> Result<(), Box<dyn Error>> {
    let server = Server::start(&Options::default());
    let redis = Redis::connect(server.url()).await?.with_deadline(DEADLINE);
    let policy = Policy::ttl(Duration::from_secs(600)).near_ttl(Duration::ZERO);
    let cache: Cache<String, u64> = Cache::builder("hung").redis(&redis).policy(policy).build()?;
    for key in 0..KEYS {
        read(&cache, key).await?;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    server.freeze();
    let frozen = Instant::now();
    for reader in 0..READERS {
        let (cache, is_over) = (cache.clone(), is_over.clone());
        readers.spawn(async move {
            let mut took = Vec::new();
            let mut at = reader * 31;
            while !is_over.load(Relaxed) {
                at = (at + 37) % KEYS;
                let began = Instant::now();
                read(&cache, at).await?;
                took.push((frozen.elapsed(), began.elapsed().as_secs_f64() * 1e3));
                sleep(PACE.saturating_sub(began.elapsed())).await;
            }
            Ok::<_, larder::Error>(took)
        });
    }
    let mut opened = None;
    while frozen.elapsed() < lasts {
        if opened.is_none() && redis.breaker() != BreakerState::Closed {
            opened = Some(frozen.elapsed().as_secs_f64() * 1e3);
        }
        sleep(Duration::from_millis(1)).await;
    }
    is_over.store(true, Relaxed);
    let mut took = Vec::new();
    while let Some(reader) = readers.join_next().await {
        took.extend(reader??);
    }
    server.thaw();
    let all: Vec<f64> = took.iter().map(|(_, ms)| *ms).collect();
    let late: Vec<f64> =
        took.iter().filter(|(at, _)| *at > Duration::from_secs(1)).map(|(_, ms)| *ms).collect();
    let opened = opened.unwrap_or(f64::INFINITY);
    let before: Vec<f64> =
        took.iter().filter(|(at, ms)| at.as_secs_f64() * 1e3 - ms <= opened).map(|(_, ms)| *ms).collect();
    let promised = (DEADLINE + LOAD).as_secs_f64() * 1e3;
    measured.note("until the breaker opens (target < 1000)", opened, "ms");
    measured.note("reads while Redis hung", all.len() as f64, "");
    let [_, p99] = measured.note_percentiles("a read while Redis hung", &all, "ms");
    measured.note("a read while Redis hung: the longest", percentile(&all, 100.0), "ms");
    measured.note("deadline + load", promised, "ms");
    measured.note("p99 ÷ (deadline + load) (target ≤ 1)", p99 / promised, "times");
    // Most reads come when nobody asks Redis any more: these did.
    measured.note("reads begun before the breaker opened", before.len() as f64, "");
    measured.note_percentiles("a read begun before the breaker opened", &before, "ms");
    measured.note_percentiles("a read after the first second", &late, "ms");
    Ok(())
}

async fn read(cache: &Cache<String, u64>, key: usize) -> Result<(), larder::Error> {
    let load = async move || {
        sleep(LOAD).await;
        Ok(Some(key as u64))
    };
    cache.get_with(format!("k{key}").as_str(), load).await.map(drop)
}
