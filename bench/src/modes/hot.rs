//! One key that everybody reads, and a load that takes its time.

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
use crate::rounds::Rounds;

const TTL: Duration = Duration::from_millis(500);
const LOAD: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_millis(1);

/// Plain expiry, stale-while-revalidate and refresh-ahead.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let lasts = Duration::from_secs(if lab.full { 8 } else { 2 });
    let modes = [
        ("ttl alone", Policy::ttl(TTL)),
        ("stale-while-revalidate", Policy::ttl(TTL).stale_while_revalidate(TTL)),
        ("refresh-ahead", Policy::ttl(TTL).refresh_ahead(1.0)),
    ];
    for (mode, policy) in modes {
        let redis = lab.redis().await?;
        let cache: Cache<String, u64> = lab.cache(&redis, &format!("hot-{}", mode.len()), policy).build()?;
        let loads = Arc::new(AtomicU64::new(0));
        let seen = read_on(EVERY, lasts, || {
            let (cache, loads) = (cache.clone(), loads.clone());
            async move {
                let load = move || async move {
                    sleep(LOAD).await;
                    Ok(Some(loads.fetch_add(1, Relaxed)))
                };
                cache.read_with("key", &ReadOptions::default(), load).await.map(|read| read.stale)
            }
        })
        .await;
        let what = format!("a hot key with a load of 50 ms: {mode}");
        measured.note_percentiles(&format!("{what}: read"), &seen.reads_us, "us");
        measured.note(format!("{what}: reads marked stale"), seen.percent(seen.stale), "%");
        measured.note(format!("{what}: loads"), loads.load(Relaxed) as f64, "");
    }
    Ok(())
}
