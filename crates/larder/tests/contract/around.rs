//! Write-around: whatever became of a write, nobody reads what was cached before it, unless nothing was written.

use std::{future::pending, num::NonZeroU16, sync::Arc, time::Duration};

use larder::{
    Cache, Error, ErrorKind, Result,
    cache::{Consistency, ReadOptions, Served},
    redis::Redis,
    source::{Sink, Source},
};
use larder_testkit::eventually;
use parking_lot::Mutex;

use crate::{
    behind::Table,
    round_trips::{quiet, trips},
    setup::{Backend, Setup, lasting},
};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);

/// What a database does to a write, and what it says of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done,
    /// Done, and the answer is an error.
    Torn(ErrorKind),
    /// Done, and there is no answer.
    Silent,
    Refused(ErrorKind),
}

/// A table with a moody connection.
#[derive(Clone)]
struct Moody {
    table: Table,
    outcome: Arc<Mutex<Outcome>>,
}

impl Moody {
    fn new() -> Self {
        Self { table: Table::new(), outcome: Arc::new(Mutex::new(Outcome::Done)) }
    }

    async fn node(&self, setup: &Setup) -> Cache<String, u64> {
        setup.builder(lasting()).await.source(self.clone()).sink(self.clone()).build().unwrap()
    }

    async fn answer(&self, write: impl Future<Output = Result<()>>) -> Result<()> {
        let outcome = *self.outcome.lock();
        if let Outcome::Refused(kind) = outcome {
            return Err(Error::new(kind, "not this one"));
        }
        write.await?;
        match outcome {
            Outcome::Torn(kind) => Err(Error::new(kind, "the answer was lost")),
            Outcome::Silent => pending().await,
            Outcome::Done | Outcome::Refused(_) => Ok(()),
        }
    }
}

impl Source<String, u64> for Moody {
    async fn load(&self, key: &String) -> Result<Option<u64>> {
        self.table.load(key).await
    }
}

impl Sink<String, u64> for Moody {
    async fn put(&self, key: &String, value: &u64) -> Result<()> {
        self.answer(self.table.put(key, value)).await
    }

    async fn remove(&self, key: &String) -> Result<()> {
        self.answer(self.table.remove(key)).await
    }
}

async fn put(cache: &Cache<String, u64>, value: Option<u64>) -> Result<()> {
    match value {
        Some(value) => cache.put(&KEY.to_owned(), &value).await,
        None => cache.remove(&KEY.to_owned()).await,
    }
}

async fn value(cache: &Cache<String, u64>) -> Option<u64> {
    cache.get(KEY).await.unwrap().as_deref().copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_outcome_nobody_knows_is_read_at_once() {
    let kinds =
        [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Source, ErrorKind::Corrupt, ErrorKind::Lost];
    for backend in Backend::ALL {
        let (setup, moody) = (Setup::new(backend), Moody::new());
        let cache = moody.node(&setup).await;
        for (kind, written) in kinds.into_iter().flat_map(|kind| [(kind, Some(2)), (kind, None)]) {
            *moody.outcome.lock() = Outcome::Done;
            put(&cache, Some(1)).await.unwrap();
            assert_eq!(value(&cache).await, Some(1));
            *moody.outcome.lock() = Outcome::Torn(kind);
            assert_eq!(put(&cache, written).await.unwrap_err().kind(), kind, "{backend:?}");
            assert_eq!(value(&cache).await, written, "{backend:?}, {kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_refused_leaves_what_is_cached() {
    let kinds =
        [ErrorKind::Invalid, ErrorKind::Conflict, ErrorKind::Config, ErrorKind::TooLarge, ErrorKind::Full];
    for backend in Backend::ALL {
        let (setup, moody) = (Setup::new(backend), Moody::new());
        let cache = moody.node(&setup).await;
        put(&cache, Some(1)).await.unwrap();
        assert_eq!(value(&cache).await, Some(1));
        for kind in kinds {
            *moody.outcome.lock() = Outcome::Refused(kind);
            assert_eq!(put(&cache, Some(2)).await.unwrap_err().kind(), kind, "{backend:?}");
            let read = cache.read(KEY, &ReadOptions::default()).await.unwrap();
            assert_eq!(
                (read.value.as_deref(), read.served),
                (Some(&1), Served::Near),
                "{backend:?}, {kind:?}"
            );
        }
        assert_eq!(cache.stats().invalidations_deferred, 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_goes_away_is_invalidated_all_the_same() {
    for backend in Backend::ALL {
        let (setup, moody) = (Setup::new(backend), Moody::new());
        let (a, b) = (moody.node(&setup).await, moody.node(&setup).await);
        for written in [Some(2), None] {
            *moody.outcome.lock() = Outcome::Done;
            put(&a, Some(1)).await.unwrap();
            assert_eq!(value(&a).await, Some(1));
            *moody.outcome.lock() = Outcome::Silent;
            let writer = tokio::spawn({
                let a = a.clone();
                async move { put(&a, written).await }
            });
            eventually("the database has it", SOON, || async { moody.table.row(KEY) == written }).await;
            writer.abort();
            assert!(writer.await.unwrap_err().is_cancelled());
            assert_eq!(value(&a).await, written, "{backend:?}");
            if backend != Backend::Memory {
                eventually("the other node reads it", SOON, || async { value(&b).await == written }).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_around_is_one_round_trip() {
    for backend in Backend::SHARED {
        let (setup, moody) = (Setup::new(backend), Moody::new());
        let redis: Redis = backend.connect().await.unwrap();
        let builder = Cache::builder(&*setup.name).redis(&redis).policy(lasting());
        let builder = builder.consistency(Consistency::Bounded(Duration::from_secs(60)));
        let builder = builder.shards(NonZeroU16::new(1).expect("not zero"));
        let cache = builder.source(moody.clone()).sink(moody.clone()).build().unwrap();
        quiet(&redis, async || put(&cache, Some(1)).await.unwrap()).await;
        for outcome in [Outcome::Done, Outcome::Torn(ErrorKind::Timeout)] {
            *moody.outcome.lock() = outcome;
            let (took, _) = trips(&redis, put(&cache, Some(2))).await;
            assert_eq!(took, 1, "{backend:?}, {outcome:?}");
        }
    }
}
