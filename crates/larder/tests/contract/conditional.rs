//! Loaders that may answer that nothing was modified.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, ErrorKind, FakeClock, Policy, Result,
    cache::{Loaded, Read, ReadOptions, Served},
    redis::Redis,
    source::Source,
};
use larder_testkit::{
    eventually,
    redis::{Deployment, Monitor, Options},
};
use tokio::sync::Semaphore;

use crate::setup::{Backend, Origin, Setup, lasting};

const KEY: &str = "k";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fresh for ten seconds.
fn brief() -> Policy {
    Policy::ttl(secs(10)).jitter(0.0)
}

/// A source that never changes, says so, and counts what it is asked.
#[derive(Clone)]
struct Unchanged {
    value: u64,
    whole: Arc<AtomicUsize>,
    confirmed: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Unchanged {
    fn of(value: u64) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { value, whole: Arc::default(), confirmed: Arc::default(), gate }
    }

    fn asked(&self) -> (usize, usize) {
        (self.whole.load(SeqCst), self.confirmed.load(SeqCst))
    }

    async fn answer(self, previous: Option<Arc<u64>>) -> Result<Loaded<u64>> {
        let loaded = match previous {
            Some(previous) if *previous == self.value => {
                self.confirmed.fetch_add(1, SeqCst);
                Loaded::NotModified
            }
            _ => {
                self.whole.fetch_add(1, SeqCst);
                Loaded::Value(self.value)
            }
        };
        self.gate.acquire().await.expect("the gate is never closed").forget();
        Ok(loaded)
    }

    async fn read(&self, cache: &Cache<String, u64>) -> Read<u64> {
        let source = self.clone();
        let load = move |previous| source.answer(previous);
        cache.read_with_previous(KEY, &ReadOptions::default(), load).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_stands_is_fresh_again_on_every_node() {
    for backend in Backend::ALL {
        for near in [true, false] {
            if !near && backend == Backend::Memory {
                continue;
            }
            let setup = Setup::new(backend);
            let policy = brief().stale_if_error(secs(60));
            let policy = if near { policy } else { policy.near_ttl(Duration::ZERO) };
            let (a, b) = (setup.node(policy.clone()).await, setup.node(policy).await);
            let source = Unchanged::of(7);
            source.read(&a).await;
            setup.clock.advance(secs(15));
            let read = source.read(&a).await;
            assert_eq!((read.value.as_deref(), read.served), (Some(&7), Served::Source), "{backend:?}");
            assert_eq!((read.age, read.ttl, read.stale), (Duration::ZERO, secs(10), false));
            assert_eq!((source.asked(), a.stats().not_modified), ((1, 1), 1), "{backend:?}");
            setup.clock.advance(secs(5));
            let nodes = if backend == Backend::Memory { vec![&a] } else { vec![&a, &b] };
            for node in nodes {
                let read = source.read(node).await;
                assert_eq!((read.age, read.stale), (secs(5), false), "{backend:?}, near: {near}");
            }
            assert_eq!(source.asked(), (1, 1), "{backend:?}: fresh for everybody");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_behind_a_reader_may_find_that_the_value_stands() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(brief().stale_while_revalidate(secs(60))).await;
        let source = Unchanged::of(7);
        source.read(&cache).await;
        setup.clock.advance(secs(15));
        assert!(source.read(&cache).await.stale, "{backend:?}: nobody waits");
        eventually("it is fresh again", secs(10), || async { !source.read(&cache).await.stale }).await;
        assert_eq!(source.asked(), (1, 1), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_loses_against_an_invalidation_that_came_while_it_was_asked_for() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(brief().stale_if_error(secs(60))).await;
        let source = Unchanged { gate: Arc::new(Semaphore::new(1)), ..Unchanged::of(7) };
        source.read(&cache).await;
        setup.clock.advance(secs(15));
        let reader = tokio::spawn({
            let (source, cache) = (source.clone(), cache.clone());
            async move { source.read(&cache).await }
        });
        eventually("it is being asked", secs(10), || async { source.asked() == (1, 1) }).await;
        cache.invalidate(KEY).await.unwrap();
        source.gate.add_permits(10);
        assert_eq!(reader.await.unwrap().value.as_deref(), Some(&7), "it began before the invalidation");
        source.read(&cache).await;
        assert_eq!(source.asked(), (2, 1), "{backend:?}: what was invalidated is no previous value");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_redis_lost_while_the_source_confirmed_it_is_stored_whole() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let policy = brief().stale_if_error(secs(60));
        let (a, b) = (setup.node(policy.clone()).await, setup.node(policy).await);
        let source = Unchanged { gate: Arc::new(Semaphore::new(1)), ..Unchanged::of(7) };
        source.read(&a).await;
        setup.clock.advance(secs(15));
        let reader = tokio::spawn({
            let (source, a) = (source.clone(), a.clone());
            async move { source.read(&a).await }
        });
        eventually("it is being asked", secs(10), || async { source.asked() == (1, 1) }).await;
        setup.expire(KEY).await;
        source.gate.add_permits(10);
        reader.await.unwrap();
        let read = source.read(&b).await;
        assert_eq!((read.value.as_deref(), read.served), (Some(&7), Served::Shared), "{backend:?}");
        assert_eq!(source.asked(), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_modified_without_a_previous_value_is_the_loaders_error() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting()).await;
        let error = cache.get_with_previous(KEY, |_| async { Ok(Loaded::NotModified) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(error.to_string().contains("no previous value"), "{error}");
        let origin = Origin::open(1);
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&1), "{backend:?}");
        let absent = cache.get_with_previous("other", |_| async { Ok(Loaded::Absent) }).await.unwrap();
        assert_eq!(absent, None);
    }
}

impl Source<String, u64> for Unchanged {
    async fn load(&self, _key: &String) -> Result<Option<u64>> {
        self.whole.fetch_add(1, SeqCst);
        Ok(Some(self.value))
    }

    async fn reload(&self, _key: &String, previous: &Arc<u64>) -> Result<Loaded<u64>> {
        self.clone().answer(Some(previous.clone())).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_asked_whether_anything_changed() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let source = Unchanged::of(7);
        let cache =
            setup.builder(brief().stale_if_error(secs(60))).await.source(source.clone()).build().unwrap();
        for _ in 0..2 {
            assert_eq!(cache.get(KEY).await.unwrap().as_deref(), Some(&7));
            setup.clock.advance(secs(15));
        }
        assert_eq!(source.asked(), (1, 1), "{backend:?}");
    }
}

/// Whether a large value travels to Redis when it is renewed, compressed or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_one_round_trip_and_does_not_send_the_value() {
    for compress_above in [None, Some(1_000)] {
        for deployment in Deployment::each(&Options::default()) {
            let redis = Redis::connect(deployment.url()).await.unwrap();
            let clock = FakeClock::default();
            let policy = brief()
                .stale_if_error(secs(60))
                .near_ttl(Duration::ZERO)
                .compress_above_bytes(compress_above);
            let pages: Cache<String, String> =
                Cache::builder("pages").redis(&redis).policy(policy).clock(clock.clone()).build().unwrap();
            let text: String = (0..4_000).map(|number| format!("{number} ")).collect();
            let sent = text.clone();
            let load = move |previous: Option<Arc<String>>| {
                let text = sent.clone();
                async move {
                    match previous {
                        Some(previous) if *previous == text => Ok(Loaded::NotModified),
                        _ => Ok(Loaded::Value(text)),
                    }
                }
            };
            pages.get_with_previous(KEY, load.clone()).await.unwrap();
            let slot = pages.explain(&KEY.to_owned()).await.slot_key.expect("there is a Redis");
            let monitor = Monitor::start(deployment.owner_of(&slot));
            clock.advance(secs(15));
            let read = pages.get_with_previous(KEY, load.clone()).await.unwrap();
            assert_eq!((read.as_deref(), pages.stats().not_modified), (Some(&text), 1));
            let commands: Vec<_> = monitor
                .commands_until_quiet()
                .into_iter()
                .filter(|command| command.iter().any(|word| word.contains(":e:k") || word.contains(":c:k")))
                .collect();
            let names: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
            assert_eq!(names, ["SET", "SET", "EVALSHA"], "look, lease, renewal");
            let sent: usize = commands.iter().flatten().map(String::len).sum();
            assert!(sent < 2_000, "{sent} bytes were sent for a value of {}", text.len());
            assert_eq!(pages.stats().fills_accepted, 1 + pages.stats().not_modified);
            let again = pages.get_with_previous(KEY, load).await.unwrap();
            assert_eq!(
                (again.as_deref(), pages.stats().corrupt),
                (Some(&text), 0),
                "what was renewed can be read"
            );
        }
    }
}
