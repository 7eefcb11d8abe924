//! Soft invalidation: what readers get when a value was made stale where it lies.

use std::time::Duration;

use bson::doc;
use larder::{
    Cache, Error, ErrorKind, FakeClock, Policy,
    cache::{Read, ReadOptions, Served, TierState},
    document::{Database, Id, IdType, Schema},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    redis::{Deployment, Monitor, Options},
};

use crate::setup::{Backend, Origin, Setup, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(60);

fn revalidating() -> Policy {
    lasting().stale_while_revalidate(WINDOW)
}

/// The ways to make a value stale.
#[derive(Clone, Copy, Debug)]
enum Soft {
    Key,
    Tag,
    Pattern,
    All,
}

impl Soft {
    const ALL: [Self; 4] = [Self::Key, Self::Tag, Self::Pattern, Self::All];

    async fn purge(self, cache: &Cache<String, u64>) {
        match self {
            Self::Key => drop(cache.expire(&[KEY]).await.unwrap()),
            Self::Tag => drop(cache.expire_tags(&["other", "tag"]).await.unwrap()),
            Self::Pattern => drop(cache.expire_pattern("[j-l]").await.unwrap()),
            Self::All => drop(cache.expire_pattern("*").await.unwrap()),
        }
    }
}

async fn tagged(setup: &Setup) -> Cache<String, u64> {
    setup.builder(revalidating()).await.tags(|_, _| vec!["tag".to_owned()]).build().unwrap()
}

fn ways() -> impl Iterator<Item = (Backend, Soft)> {
    Backend::ALL.into_iter().flat_map(|backend| Soft::ALL.into_iter().map(move |soft| (backend, soft)))
}

async fn read(cache: &Cache<String, u64>, origin: &Origin) -> Read<u64> {
    cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap()
}

async fn seen(cache: &Cache<String, u64>, origin: &Origin) -> (u64, bool) {
    let read = read(cache, origin).await;
    (*read.value.unwrap(), read.stale)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_the_stale_value_while_it_is_loaded_anew() {
    for (backend, soft) in ways() {
        let setup = Setup::new(backend);
        let cache = tagged(&setup).await;
        let origin = Origin::held(1);
        origin.let_go(1);
        assert_eq!(seen(&cache, &origin).await, (1, false));
        origin.write(2);
        soft.purge(&cache).await;
        for _ in 0..3 {
            assert_eq!(
                seen(&cache, &origin).await,
                (1, true),
                "{backend:?}, {soft:?}: nobody waits for the load"
            );
        }
        origin.let_go(10);
        eventually("it is fresh again", SOON, || async { seen(&cache, &origin).await == (2, false) }).await;
        assert_eq!(origin.reads(), 2, "{backend:?}, {soft:?}: one load for all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_node_is_not_fresh_after_it_has_heard() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(revalidating()).await, setup.node(revalidating()).await);
        let origin = Origin::open(1);
        for node in [&a, &b] {
            assert_eq!(seen(node, &origin).await, (1, false));
        }
        origin.write(2);
        let token = a.expire(&[KEY]).await.unwrap().pop().unwrap();
        let options = ReadOptions { at_least: Some(token), ..ReadOptions::default() };
        let read = b.read_with(KEY, &options, origin.loader()).await.unwrap();
        assert!(read.stale || read.value.as_deref() == Some(&2), "{backend:?}: {read:?}");
        eventually("both have the new value", SOON, || async {
            seen(&a, &origin).await == (2, false) && seen(&b, &origin).await == (2, false)
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_does_nothing_else_leaves_the_stale_value_too() {
    for backend in Backend::SHARED {
        for _ in 0..5 {
            let setup = Setup::new(backend);
            let reader = setup.node(revalidating()).await;
            let origin = Origin::open(1);
            eventually("it is stored", SOON, || async {
                seen(&reader, &origin).await;
                matches!(reader.explain(&KEY.to_owned()).await.shared, Some(TierState::Holds { .. }))
            })
            .await;
            // It has not looked at the shard before, and so may have to say it twice.
            setup.node(revalidating()).await.expire(&[KEY]).await.unwrap();
            let shared = reader.explain(&KEY.to_owned()).await.shared;
            let is_stale = matches!(shared, Some(TierState::Holds { fresh_for: Duration::ZERO, .. }));
            assert!(is_stale, "{backend:?}: {shared:?}");
            eventually("the reader has heard", SOON, || async { seen(&reader, &origin).await.1 }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_from_before_fills_nothing() {
    for (backend, soft) in ways() {
        let setup = Setup::new(backend);
        let cache = tagged(&setup).await;
        let origin = Origin::held(1);
        let load = || {
            let (cache, load) = (cache.clone(), origin.loader());
            tokio::spawn(async move { cache.get_with(KEY, load).await })
        };
        let cold = load();
        origin.until_reading(1).await;
        soft.purge(&cache).await;
        origin.write(2);
        origin.let_go(1);
        assert_eq!(cold.await.unwrap().unwrap().as_deref(), Some(&1));
        origin.let_go(1);
        assert_eq!(
            seen(&cache, &origin).await,
            (2, false),
            "{backend:?}, {soft:?}: the cold load kept nothing"
        );

        // The same for a refresh behind a reader.
        setup.clock.advance(crate::setup::LONG);
        assert_eq!(seen(&cache, &origin).await, (2, true));
        origin.until_reading(3).await;
        soft.purge(&cache).await;
        origin.write(3);
        origin.let_go(1);
        eventually("the refresh from before has ended", SOON, || async {
            origin.let_go(1);
            seen(&cache, &origin).await == (3, false)
        })
        .await;
        assert!(origin.reads() >= 4, "{backend:?}, {soft:?}: what the first refresh brought was never fresh");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_value_serves_when_the_source_fails_until_its_window_closes() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting().stale_if_error(WINDOW)).await;
        let origin = Origin::open(1);
        seen(&cache, &origin).await;
        setup.clock.advance(Duration::from_secs(100));
        cache.expire(&[KEY]).await.unwrap();
        let fail = || async { Err(Error::new(ErrorKind::Source, "the source is away")) };
        let options = ReadOptions::default();
        let failing = || cache.read_with(KEY, &options, fail);
        setup.clock.advance(WINDOW - Duration::from_secs(1));
        let spare = failing().await.unwrap();
        assert_eq!((spare.value.as_deref(), spare.stale), (Some(&1), true), "{backend:?}");
        setup.clock.advance(Duration::from_secs(1));
        assert_eq!(
            failing().await.unwrap_err().kind(),
            ErrorKind::Source,
            "{backend:?}: the window is closed"
        );
        origin.write(2);
        let read = read(&cache, &origin).await;
        assert_eq!((read.value.as_deref(), read.served), (Some(&2), Served::Source), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_late_does_not_take_it_for_fresh() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (early, late) = (FakeClock::default(), FakeClock::default());
        early.advance(Duration::from_secs(40));
        let node = async |clock: &FakeClock| {
            setup.builder(revalidating()).await.clock(clock.clone()).build().unwrap()
        };
        let (a, b) = (node(&early).await, node(&late).await);
        let origin = Origin::held(1);
        origin.let_go(1);
        seen(&a, &origin).await;
        early.advance(Duration::from_secs(20));
        a.expire(&[KEY]).await.unwrap();
        assert_eq!(seen(&b, &origin).await, (1, true), "to this node it was loaded in the future");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_absent_is_asked_for_again() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(revalidating()).await;
        assert_eq!(cache.get_with(KEY, || async { Ok(None) }).await.unwrap(), None);
        cache.expire(&[KEY, "never seen"]).await.unwrap();
        assert_eq!(cache.get_with(KEY, || async { Ok(Some(1)) }).await.unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_keeps_nothing_stale_refuses() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let error = setup.node(lasting()).await.expire(&[KEY]).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("policy")), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_two_round_trips_and_what_redis_cannot_be_told_is_owed() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let cache: Cache<String, u64> =
            Cache::builder("expire").redis(&redis).policy(revalidating()).build().unwrap();
        let origin = Origin::open(1);
        // Teaches the server the script.
        cache.expire(&[KEY]).await.unwrap();
        seen(&cache, &origin).await;
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.expect("there is a Redis");
        let monitor = Monitor::start(deployment.owner_of(&slot));
        cache.expire(&[KEY]).await.unwrap();
        let about = |command: &Vec<String>| command.iter().any(|word| word.ends_with(":e:k"));
        let names: Vec<String> = monitor
            .commands_until_quiet()
            .into_iter()
            .filter(about)
            .map(|command| command[0].clone())
            .collect();
        assert_eq!(names, ["GET", "EVALSHA"]);
        drop(monitor);
        deployment.kill();
        assert!(cache.expire(&[KEY]).await.is_err());
        assert_eq!(cache.stats().invalidations_owed, 1);
        origin.write(5);
        assert_eq!(seen(&cache, &origin).await, (5, false), "what Redis has is not believed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_part_of_a_document_is_not_fresh_either() {
    let policy = revalidating();
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let schema = Schema::new(&*setup.name, IdType::Int).strict(false);
        let mut builder =
            Database::sqlite_in_memory().await.unwrap().collection(schema).policy(policy.clone());
        if let Some(redis) = backend.connect().await {
            builder = builder.redis(&redis);
        }
        let items = builder.partial("card", &["name"]).build().unwrap();
        items.insert(doc! { "_id": 7_i64, "name": "a", "story": "b" }).await.unwrap();
        let id = Id::Int(7);
        let options = ReadOptions::default();
        items.read_partial("card", &id, &options).await.unwrap();
        let before = items.read_partial("card", &id, &options).await.unwrap();
        assert_eq!((before.served, before.stale), (Served::Near, false), "{backend:?}");
        items.expire(&[&id]).await.unwrap();
        let after = items.read_partial("card", &id, &options).await.unwrap();
        assert!(after.stale || after.served == Served::Source, "{backend:?}: {after:?}");
        assert!(after.value.is_some());
    }
}
