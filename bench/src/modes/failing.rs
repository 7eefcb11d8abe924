//! A source that fails, is slow, or hangs for two seconds of three.

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, ErrorKind, Policy, cache::ReadOptions};
use tokio::time::sleep;

use super::{Lab, reader::read_on};
use crate::rounds::Rounds;

const TTL: Duration = Duration::from_millis(300);
const WINDOW: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(2);
const GOOD: Duration = Duration::from_millis(500);
const BAD: Duration = Duration::from_secs(2);

/// What is the matter with the source in its bad time.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Fails,
    TakesHalfASecond,
    Hangs,
}

/// Fail-safe, a soft deadline and a hard one.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    use Trouble::{Fails, Hangs, TakesHalfASecond};
    let (ttl, safe) = (Policy::ttl(TTL), Policy::ttl(TTL).stale_if_error(WINDOW));
    let modes = [
        (Fails, "ttl alone", ttl),
        (Fails, "stale_if_error", safe.clone()),
        (TakesHalfASecond, "stale_if_error", safe.clone()),
        (TakesHalfASecond, "and soft_deadline 10 ms", safe.clone().soft_deadline(Duration::from_millis(10))),
        (Hangs, "load_deadline 1 s", safe.clone().load_deadline(Duration::from_secs(1))),
        (Hangs, "load_deadline 100 ms", safe.load_deadline(Duration::from_millis(100))),
    ];
    for (number, (trouble, mode, policy)) in modes.into_iter().enumerate() {
        let redis = lab.redis().await?;
        let cache: Cache<String, u64> = lab.cache(&redis, &format!("failing-{number}"), policy).build()?;
        let bad = Arc::new(AtomicBool::new(false));
        let seasons = {
            let bad = bad.clone();
            tokio::spawn(async move {
                sleep(GOOD).await;
                bad.store(true, Relaxed);
                sleep(BAD).await;
                bad.store(false, Relaxed);
            })
        };
        let seen = read_on(EVERY, GOOD + BAD + GOOD, || read(cache.clone(), trouble, bad.clone())).await;
        seasons.await?;
        let what = format!("a source that {}: {mode}", trouble.name());
        measured.note_percentiles(&format!("{what}: read"), &seen.reads_us, "us");
        measured.note(format!("{what}: reads that failed"), seen.percent(seen.failed), "%");
        measured.note(format!("{what}: reads marked stale"), seen.percent(seen.stale), "%");
    }
    Ok(())
}

impl Trouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::TakesHalfASecond => "takes 500 ms",
            Self::Hangs => "hangs",
        }
    }
}

async fn read(cache: Cache<String, u64>, trouble: Trouble, bad: Arc<AtomicBool>) -> larder::Result<bool> {
    let load = move || async move {
        match (bad.load(Relaxed), trouble) {
            (false, _) => {}
            (true, Trouble::Fails) => {
                return Err(larder::Error::new(ErrorKind::Source, "the database is away"));
            }
            (true, Trouble::TakesHalfASecond) => sleep(Duration::from_millis(500)).await,
            (true, Trouble::Hangs) => pending().await,
        }
        Ok(Some(1))
    };
    cache.read_with("key", &ReadOptions::default(), load).await.map(|read| read.stale)
}
