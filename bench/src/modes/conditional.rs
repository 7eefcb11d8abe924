//! Long values that are found unchanged when their time has passed.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use larder::{
    Cache, Policy,
    cache::{Loaded, ReadOptions},
};
use tokio::time::sleep;

use super::Lab;
use crate::rounds::Rounds;

const TTL: Duration = Duration::from_millis(5);
const BYTES: usize = 64 * 1_024;

/// Loaded anew, and confirmed.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let refreshes = if lab.full { 500 } else { 50 };
    for (mode, confirms) in [("loaded anew", false), ("not modified", true)] {
        let redis = lab.redis().await?;
        let policy =
            Policy::ttl(TTL).stale_if_error(Duration::from_secs(60)).compress_above_bytes(None).near_ttl(TTL);
        let cache: Cache<String, String> =
            lab.cache(&redis, &format!("conditional-{confirms}"), policy).build()?;
        let load = move |previous: Option<Arc<String>>| async move {
            match previous {
                Some(_) if confirms => Ok(Loaded::NotModified),
                _ => Ok(Loaded::Value("x".repeat(BYTES))),
            }
        };
        cache.read_with_previous("key", &ReadOptions::default(), load).await?;
        let [before, _] = lab.bytes().await?;
        let mut reads_us = Vec::with_capacity(refreshes);
        for _ in 0..refreshes {
            sleep(TTL * 2).await;
            let began = Instant::now();
            let read = cache.read_with_previous("key", &ReadOptions::default(), load).await?;
            reads_us.push(began.elapsed().as_secs_f64() * 1e6);
            assert_eq!(read.value.map(|value| value.len()), Some(BYTES));
        }
        let [after, _] = lab.bytes().await?;
        assert_eq!(cache.stats().not_modified > 0, confirms, "{mode}");
        let what = format!("a value of 64 KiB past its time: {mode}");
        measured.note_percentiles(&format!("{what}: read"), &reads_us, "us");
        let sent = (after - before) / refreshes as f64 / 1_024.0;
        measured.note(format!("{what}: sent to Redis for each"), sent, "KiB");
    }
    Ok(())
}
