//! Serving what is stale, and for how long: while a refresh runs (stale-while-revalidate), when the database fails (fail-safe),
//! and when it takes too long (soft and hard deadline).
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example stale`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::{Duration, Instant};

use larder::{
    Cache, Error, ErrorKind, FakeClock, Policy, Result,
    cache::{Read, ReadOptions},
    redis::Redis,
};
use tokio::time::sleep;

/// What the database does when it is asked.
#[derive(Clone, Copy)]
enum Database {
    Answers(u64),
    Fails,
    AnswersLate(u64, Duration),
}

async fn load(database: Database) -> Result<Option<u64>> {
    match database {
        Database::Answers(number) => Ok(Some(number)),
        Database::Fails => Err(Error::new(ErrorKind::Unavailable, "the database is away")),
        Database::AnswersLate(number, after) => {
            sleep(after).await;
            Ok(Some(number))
        }
    }
}

async fn read(cache: &Cache<String, u64>, key: &str, database: Database) -> Result<Read<u64>> {
    let begun = Instant::now();
    let read = cache.read_with(key, &ReadOptions::default(), move || load(database)).await;
    match &read {
        Ok(read) => println!("  {:?}, stale: {}, after {:?}", read.value, read.stale, begun.elapsed()),
        Err(error) => println!("  {error}, after {:?}", begun.elapsed()),
    }
    read
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = FakeClock::default();
    let policy = Policy::ttl(Duration::from_secs(60))
        .jitter(0.0)
        .stale_while_revalidate(Duration::from_secs(30))
        .stale_if_error(Duration::from_secs(3600))
        .soft_deadline(Duration::from_millis(100))
        .load_deadline(Duration::from_secs(1));
    let mut builder = Cache::<String, u64>::builder("visits").policy(policy).clock(clock.clone());
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let visits = builder.build()?;
    visits.clear().await?;

    println!("cold:");
    read(&visits, "today", Database::Answers(1)).await?;

    println!("a minute later, in the window of stale-while-revalidate:");
    clock.advance(Duration::from_secs(61));
    let first = read(&visits, "today", Database::Answers(2)).await?;
    assert!(first.stale && first.value.as_deref() == Some(&1), "nobody waits for the refresh behind it");
    while read(&visits, "today", Database::Answers(2)).await?.stale {
        sleep(Duration::from_millis(10)).await;
    }

    println!("two minutes later, and the database is away:");
    clock.advance(Duration::from_secs(120));
    let kept = read(&visits, "today", Database::Fails).await?;
    assert!(kept.stale && kept.value.as_deref() == Some(&2), "better than an error");

    println!("and later it is slow: nobody waits longer than the soft deadline");
    clock.advance(Duration::from_secs(120));
    let late = Database::AnswersLate(3, Duration::from_millis(300));
    assert!(read(&visits, "today", late).await?.stale);
    while read(&visits, "today", late).await?.stale {
        sleep(Duration::from_millis(50)).await;
    }

    println!("with nothing to fall back on, the hard deadline ends the wait:");
    let hangs = Database::AnswersLate(0, Duration::from_secs(3600));
    let error = read(&visits, "tomorrow", hangs).await.expect_err("there is nothing stale");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    Ok(())
}
