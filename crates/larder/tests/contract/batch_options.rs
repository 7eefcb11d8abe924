//! The options of one call for several keys: what they change of what it costs, serves and keeps.

use std::{
    future::pending,
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, ErrorKind, Policy, Result,
    cache::{Consistency, MissReason, Read, ReadMode, ReadOptions, Served, WriteBehind},
    source::{Sink, Source},
};
use larder_testkit::eventually;
use tokio::time::timeout;

use crate::{
    round_trips::{quiet, trips},
    setup::{Backend, LONG, Setup, lasting},
};

const SOON: Duration = Duration::from_secs(10);
const SHARDS: u16 = 4;

fn keys() -> Vec<String> {
    (0..40).map(|number| format!("key:{number}")).collect()
}

/// A table that answers every key with the same number, and notes each call.
#[derive(Clone, Default)]
struct Table {
    number: Arc<AtomicU64>,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Table {
    fn of(number: u64) -> Self {
        Self { number: Arc::new(number.into()), ..Self::default() }
    }

    /// How many keys each call was for.
    fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(Vec::len).collect()
    }

    async fn read(
        &self,
        cache: &Cache<String, u64>,
        keys: &[String],
        options: &ReadOptions,
    ) -> Result<Vec<Read<u64>>> {
        let table = self.clone();
        let load = move |keys: Vec<String>| {
            let answer = vec![Some(table.number.load(SeqCst)); keys.len()];
            table.calls.lock().unwrap().push(keys);
            async { Ok(answer) }
        };
        timeout(SOON, cache.read_many_with(keys, options, load)).await.expect("no reader waits for ever")
    }
}

fn options(mode: ReadMode) -> ReadOptions {
    ReadOptions { mode, ..ReadOptions::default() }
}

/// All answers are this value, from there.
fn all(reads: &[Read<u64>], value: u64, served: Served, reason: Option<MissReason>) {
    for read in reads {
        assert_eq!((read.value.as_deref(), read.served, read.reason), (Some(&value), served, reason));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_refreshes_replaces_what_every_tier_has_with_one_call_of_the_source() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let table = Table::of(1);
        let keys = keys();
        table.read(&cache, &keys, &ReadOptions::default()).await.unwrap();
        table.number.store(2, SeqCst);
        let twice: Vec<String> = keys.iter().chain(&keys).cloned().collect();
        let read = table.read(&cache, &twice, &options(ReadMode::Refresh)).await.unwrap();
        assert_eq!(read.len(), 80, "{backend:?}");
        all(&read, 2, Served::Source, Some(MissReason::Asked));
        assert_eq!(table.calls(), [40, 40], "{backend:?}: a key that is named twice is loaded once");
        let read = table.read(&cache, &keys, &ReadOptions::default()).await.unwrap();
        all(&read, 2, Served::Near, None);
        if backend != Backend::Memory {
            let other = setup.node(lasting()).await;
            all(&table.read(&other, &keys, &ReadOptions::default()).await.unwrap(), 2, Served::Shared, None);
        }
        assert_eq!(table.calls().len(), 2, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_refreshes_is_two_round_trips_a_shard() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let redis = backend.connect().await.expect("this backend has a Redis");
        let cache = Cache::builder(&*setup.name)
            .redis(&redis)
            .clock(setup.clock.clone())
            .policy(lasting().near_ttl(Duration::ZERO))
            .consistency(Consistency::Bounded(Duration::from_secs(60)))
            .shards(NonZeroU16::new(SHARDS).expect("not zero"))
            .build()
            .unwrap();
        let table = Table::of(1);
        let anew = options(ReadMode::Refresh);
        quiet(&redis, async || {
            table.read(&cache, &keys(), &anew).await.unwrap();
        })
        .await;
        let (refreshed, _) = trips(&redis, table.read(&cache, &keys(), &anew)).await;
        assert_eq!(refreshed, 2 * u64::from(SHARDS), "{backend:?}: the leases and the fills");
        let past = options(ReadMode::Bypass);
        let (bypassed, read) = trips(&redis, table.read(&cache, &keys(), &past)).await;
        assert_eq!((bypassed, read.unwrap().len()), (0, 40), "{backend:?}: Redis is not asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_goes_past_the_cache_leaves_it_as_it_is() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let table = Table::of(1);
        table.read(&cache, &keys(), &ReadOptions::default()).await.unwrap();
        table.number.store(2, SeqCst);
        let read = table.read(&cache, &keys(), &options(ReadMode::Bypass)).await.unwrap();
        all(&read, 2, Served::Source, Some(MissReason::Asked));
        all(&table.read(&cache, &keys(), &ReadOptions::default()).await.unwrap(), 1, Served::Near, None);
        assert_eq!(table.calls(), [40, 40], "{backend:?}");
        assert!(table.read(&cache, &[], &options(ReadMode::Bypass)).await.unwrap().is_empty());
        assert_eq!(table.calls().len(), 2, "{backend:?}: nobody is asked for nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_stores_has_the_rules_and_the_tags_of_its_call() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let table = Table::of(1);
        let brief = Policy::ttl(Duration::from_secs(10)).jitter(0.0);
        let own = ReadOptions {
            policy: Some(brief),
            tags: vec!["red".into(), "blue".into()],
            ..ReadOptions::default()
        };
        let read = table.read(&cache, &keys(), &own).await.unwrap();
        assert!(read.iter().all(|read| read.ttl <= Duration::from_secs(10)), "{backend:?}");
        setup.clock.advance(Duration::from_secs(11));
        table.read(&cache, &keys(), &own).await.unwrap();
        assert_eq!(table.calls(), [40, 40], "{backend:?}: its time was over");
        cache.invalidate_tag("blue").await.unwrap();
        let read = table.read(&cache, &keys(), &own).await.unwrap();
        assert!(read.iter().all(|read| read.served == Served::Source), "{backend:?}: {:?}", read[0]);
        assert_eq!(table.calls(), [40; 3], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_until_its_deadline_and_its_load_goes_on() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let patient = |mode| ReadOptions { deadline: Some(Duration::from_millis(30)), ..options(mode) };
        let never = |_| pending();
        for mode in [ReadMode::Refresh, ReadMode::Bypass] {
            let (keys, options) = (keys(), patient(mode));
            let error = timeout(SOON, cache.read_many_with(&keys, &options, never))
                .await
                .expect("it has a deadline")
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{backend:?}");
        }
        let (let_go, held) = tokio::sync::watch::channel(false);
        let load = move |keys: Vec<String>| {
            let mut held = held.clone();
            async move {
                held.wait_for(|is_open| *is_open).await.expect("the gate is there");
                Ok(vec![Some(7); keys.len()])
            }
        };
        let late = &["late".to_owned()];
        let error =
            cache.read_many_with(late, &patient(ReadMode::Cached), load).await.expect_err("it is held");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{backend:?}");
        let_go.send_replace(true);
        eventually("the load has come home", SOON, || async {
            let none = |keys: Vec<String>| async move { Ok(vec![None; keys.len()]) };
            let read = cache.read_many_with(late, &ReadOptions::default(), none).await.unwrap();
            assert_eq!(read[0].value.as_deref(), Some(&7), "{backend:?}: nobody else's load was needed");
            read[0].served == Served::Near
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_token_sees_the_write_on_any_node() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let table = Table::of(0);
        let keys = keys();
        for round in 1..30 {
            table.read(&b, &keys, &ReadOptions::default()).await.unwrap();
            table.number.store(round, SeqCst);
            let token = a.invalidate(&*keys[3]).await.unwrap().expect("there is a Redis");
            let seen = ReadOptions { at_least: Some(token), ..ReadOptions::default() };
            let read = table.read(&b, &keys, &seen).await.unwrap();
            assert_eq!(read[3].value.as_deref(), Some(&round), "{backend:?}: no wait, no luck needed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_is_refused_before_anything_is_loaded() {
    let cache = Setup::new(Backend::Memory).node(lasting()).await;
    let table = Table::of(1);
    let wrong = ReadOptions { policy: Some(Policy::ttl(Duration::ZERO)), ..ReadOptions::default() };
    assert_eq!(table.read(&cache, &keys(), &wrong).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(table.calls().is_empty());
}

/// A database that is never reached by a write, and always answers with nothing.
struct Empty;

impl Source<String, u64> for Empty {
    async fn load(&self, _: &String) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl Sink<String, u64> for Empty {
    async fn put(&self, _: &String, _: &u64) -> Result<()> {
        pending().await
    }

    async fn remove(&self, _: &String) -> Result<()> {
        pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_refreshes_does_not_replace_what_the_source_is_still_to_be_given() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let cache = setup
            .builder(Policy::ttl(LONG).near_ttl(Duration::ZERO))
            .await
            .source(Empty)
            .sink(Empty)
            .write_behind(WriteBehind::default())
            .build()
            .unwrap();
        let keys = &keys()[..3];
        cache.put(&keys[1], &5).await.unwrap();
        let read = cache.read_many(keys, &options(ReadMode::Refresh)).await.unwrap();
        let found: Vec<_> = read.iter().map(|read| (read.value.as_deref().copied(), read.served)).collect();
        let loaded = (None, Served::Source);
        assert_eq!(found, [loaded, (Some(5), Served::Shared), loaded], "{backend:?}");
    }
}
