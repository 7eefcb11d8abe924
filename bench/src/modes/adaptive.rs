//! Rows of which half change five times a second behind the cache's back, and half never do.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, Policy, cache::ReadOptions};
use tokio::time::{interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{Lab, reader::read_on};
use crate::rounds::Rounds;

const KEYS: u64 = 40;
const CHANGES: Duration = Duration::from_millis(200);
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(1);
const LOAD: Duration = Duration::from_millis(2);

/// The version of the rows that change; the others stay at 0.
type Version = Arc<AtomicU64>;

/// One lifetime for all, short or long, and one by the value.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let lasts = Duration::from_secs(if lab.full { 6 } else { 2 });
    for (mode, ttl, adapts) in
        [("ttl 100 ms", SHORT, false), ("ttl 30 s", LONG, false), ("30 s and by the value", LONG, true)]
    {
        let redis = lab.redis().await?;
        let mut builder = lab.cache(&redis, &format!("adaptive-{}", mode.len()), Policy::ttl(ttl));
        if adapts {
            builder = builder.ttl_from(|row: &(bool, u64)| row.0.then_some(SHORT));
        }
        let cache: Cache<String, (bool, u64)> = builder.build()?;
        let version = Version::default();
        let _changing = changing(&version);
        let (next, loads, missed) = (AtomicU64::new(0), Version::default(), Version::default());
        let seen = read_on(EVERY, lasts, || {
            let row = next.fetch_add(1, Relaxed) * 7 % KEYS;
            let counts = [version.clone(), loads.clone(), missed.clone()];
            read(cache.clone(), row, counts)
        })
        .await;
        let what = format!("rows of which half change: {mode}");
        let percent = |count: &Version| seen.percent(count.load(Relaxed) as usize);
        measured.note(format!("{what}: reads of the database"), percent(&loads), "% of the reads");
        measured.note(format!("{what}: reads that missed a change"), percent(&missed), "%");
    }
    Ok(())
}

fn changing(version: &Version) -> AbortOnDropHandle<()> {
    let version = version.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(CHANGES);
        loop {
            ticks.tick().await;
            version.fetch_add(1, Relaxed);
        }
    }))
}

async fn read(
    cache: Cache<String, (bool, u64)>,
    row: u64,
    [version, loads, missed]: [Version; 3],
) -> larder::Result<bool> {
    let changes = row.is_multiple_of(2);
    let wanted = if changes { version.load(Relaxed) } else { 0 };
    let load = move || async move {
        loads.fetch_add(1, Relaxed);
        let found = if changes { version.load(Relaxed) } else { 0 };
        sleep(LOAD).await;
        Ok(Some((changes, found)))
    };
    let read = cache.read_with(&format!("row {row}"), &ReadOptions::default(), load).await?;
    if read.value.is_none_or(|row| row.1 < wanted) {
        missed.fetch_add(1, Relaxed);
    }
    Ok(read.stale)
}
