//! Reads of what is not there.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, Policy, cache::ReadOptions};
use tokio::time::sleep;

use super::{Lab, reader::read_on};
use crate::{rounds::Rounds, zipf::Zipf};

const KEYS: usize = 500;
const LOAD: Duration = Duration::from_millis(5);
const EVERY: Duration = Duration::from_millis(1);

/// With and without negative caching.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let lasts = Duration::from_secs(if lab.full { 5 } else { 1 });
    let policy = || Policy::ttl(Duration::from_secs(60));
    let modes = [
        ("negative_ttl 0", policy().negative_ttl(Duration::ZERO)),
        ("negative_ttl 30 s", policy().negative_ttl(Duration::from_secs(30))),
    ];
    for (mode, policy) in modes {
        let redis = lab.redis().await?;
        let cache: Cache<String, u64> =
            lab.cache(&redis, &format!("absent-{}", mode.len()), policy).build()?;
        let (loads, zipf, next) = (Arc::new(AtomicU64::new(0)), Zipf::new(KEYS), AtomicU64::new(0));
        let seen = read_on(EVERY, lasts, || {
            let key = format!("absent {}", zipf.rank(next.fetch_add(1, Relaxed)));
            let (cache, loads) = (cache.clone(), loads.clone());
            async move {
                let load = move || async move {
                    loads.fetch_add(1, Relaxed);
                    sleep(LOAD).await;
                    Ok(None)
                };
                cache.read_with(&key, &ReadOptions::default(), load).await.map(|read| read.stale)
            }
        })
        .await;
        let what = format!("{KEYS} keys that are not there: {mode}");
        measured.note_percentiles(&format!("{what}: read"), &seen.reads_us, "us");
        let share = seen.percent(loads.load(Relaxed) as usize);
        measured.note(format!("{what}: reads of the database"), share, "% of the reads");
    }
    Ok(())
}
