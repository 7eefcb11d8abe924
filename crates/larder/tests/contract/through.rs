//! Write-through: the value that was written is left in the cache, unless anything speaks against it.

use std::time::Duration;

use larder::{
    Cache, Error, ErrorKind, Policy,
    cache::{Consistency, ReadMode, ReadOptions, Served, TierState, WriteBehind},
    redis::Redis,
    source::{Sink, Source},
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Deployment, Monitor, Options},
};
use tokio::sync::oneshot;

use crate::{
    behind::Table,
    setup::{Backend, Origin, Setup, lasting},
};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);

async fn served(cache: &Cache<String, u64>, origin: &Origin) -> (Option<u64>, Served) {
    let read = cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
    (read.value.as_deref().copied(), read.served)
}

/// What a write gives that leaves `number` in the database at once.
fn write(origin: &Origin, number: u64) -> impl Future<Output = larder::Result<Option<u64>>> + use<> {
    let origin = origin.clone();
    async move {
        origin.write(number);
        Ok(Some(number))
    }
}

/// A write that says when it has begun, and does what `write` does once it is told to.
fn held_write(
    origin: &Origin,
    number: u64,
) -> (impl Future<Output = larder::Result<Option<u64>>> + use<>, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let ((begun, has_begun), (let_go, is_let_go)) = (oneshot::channel(), oneshot::channel());
    let write = write(origin, number);
    let held = async move {
        begun.send(()).unwrap();
        is_let_go.await.unwrap();
        write.await
    };
    (held, has_begun, let_go)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_from_the_cache_on_every_node() {
    for backend in Backend::ALL {
        let (setup, table) = (Setup::new(backend), Table::new());
        let node = async || {
            let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
            builder.write_through().build().unwrap()
        };
        let (writer, other) = (node().await, node().await);
        for n in 1..5 {
            if backend != Backend::Memory {
                other.get(KEY).await.unwrap();
            }
            writer.put(&KEY.into(), &n).await.unwrap();
            assert_eq!(table.row(KEY), Some(n), "{backend:?}: the database has it");
            let read = writer.read(KEY, &ReadOptions::default()).await.unwrap();
            assert_eq!((read.value.as_deref(), read.served), (Some(&n), Served::Near), "{backend:?}");
            if backend != Backend::Memory {
                eventually("the other node has it", SOON, || async {
                    other.get(KEY).await.unwrap().as_deref() == Some(&n)
                })
                .await;
            }
        }
        writer.remove(&KEY.into()).await.unwrap();
        let read = writer.read(KEY, &ReadOptions::default()).await.unwrap();
        assert_eq!((read.value, read.served), (None, Served::Near), "{backend:?}: known to be gone");
        assert_eq!(writer.stats().loads, 0, "{backend:?}: nothing was ever loaded where it was written");
        if backend != Backend::Memory {
            // The one before the first write, and seldom one more: see below.
            assert!(other.stats().loads < 4, "{backend:?}: nor elsewhere");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_two_commands_with_its_tags_and_all() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let builder = Cache::<String, u64>::builder("through").redis(&redis).policy(lasting());
        let cache = builder.tags(|_, _| vec!["a".into(), "b".into()]).build().unwrap();
        let origin = Origin::open(1);
        for key in ["warm", KEY] {
            // Teaches the server the scripts and the node the tags of the shard, once.
            cache.put_with(&key.into(), write(&origin, 1)).await.unwrap();
            cache.put_with(&key.into(), write(&origin, 1)).await.unwrap();
        }
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.expect("there is a Redis");
        let monitor = Monitor::start(deployment.owner_of(&slot));
        cache.put_with(&KEY.into(), write(&origin, 2)).await.unwrap();
        let about_the_key = |command: &Vec<String>| command.iter().any(|word| word.ends_with(":e:k"));
        let commands: Vec<_> = monitor.commands_until_quiet().into_iter().filter(about_the_key).collect();
        let names: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
        assert_eq!(names, ["EVALSHA", "EVALSHA"], "{commands:?}");
        assert_eq!(served(&cache, &origin).await, (Some(2), Served::Near));
        cache.invalidate_tag("b").await.unwrap();
        assert_eq!(served(&cache, &origin).await, (Some(2), Served::Source), "it has its tags");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_write_reads_it_on_any_node() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(0);
        for n in 1..50 {
            served(&b, &origin).await;
            let at_least = a.put_with(&KEY.into(), write(&origin, n)).await.unwrap();
            let options = ReadOptions { at_least, ..ReadOptions::default() };
            let read = b.read_with(KEY, &options, origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&n), "{backend:?}: no wait, no luck needed");
        }
        // Not none: what is heard of earlier writes while a value is looked at can speak against it.
        assert!(origin.reads() < 10, "{backend:?}: {} of 50 were loaded", origin.reads());
    }
}

/// Whichever of two writers is done first, in the database and with its write: what remains is what the database has.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_at_once_neither_leaves_its_value() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let b = if backend == Backend::Memory { a.clone() } else { b };
        for inner_first in [true, false] {
            let origin = Origin::open(0);
            let (slow, has_begun, let_go) = held_write(&origin, 1);
            let outer = tokio::spawn({
                let a = a.clone();
                async move { a.put_with(&KEY.into(), slow).await }
            });
            has_begun.await.unwrap();
            let (second, second_begun, second_let_go) = held_write(&origin, 2);
            let inner = tokio::spawn({
                let b = b.clone();
                async move { b.put_with(&KEY.into(), second).await }
            });
            second_begun.await.unwrap();
            let order = if inner_first {
                [(second_let_go, inner), (let_go, outer)]
            } else {
                [(let_go, outer), (second_let_go, inner)]
            };
            let [(first_go, first), (last_go, last)] = order;
            first_go.send(()).unwrap();
            first.await.unwrap().unwrap();
            if backend != Backend::Memory {
                let shared = a.explain(&KEY.to_owned()).await.shared.unwrap();
                assert!(
                    matches!(shared, TierState::Blocked { .. }),
                    "{backend:?}: the other one is still at it, {shared:?}"
                );
            }
            last_go.send(()).unwrap();
            last.await.unwrap().unwrap();
            let now = if inner_first { 1 } else { 2 };
            for node in [&a, &b] {
                eventually("all read what the database has", SOON, || async {
                    served(node, &origin).await.0 == Some(now)
                })
                .await;
            }
            // And the key can be cached again, by a load and by a write.
            assert_ne!(served(&b, &origin).await.1, Served::Source, "{backend:?}");
            a.put_with(&KEY.into(), write(&origin, 7)).await.unwrap();
            let read = served(&a, &origin).await;
            assert_eq!(read.0, Some(7), "{backend:?}");
            assert_ne!(read.1, Served::Source, "{backend:?}");
            a.invalidate(KEY).await.unwrap();
        }
    }
}

/// Somebody's invalidation destroys the block of one writer, and another begins without seeing it: the first one's end, whose
/// write came last in the database, must keep the other's value out.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_write_whose_block_was_destroyed_keeps_the_value_of_another_out() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let b = if backend == Backend::Memory { a.clone() } else { b };
        for is_guarded in [true, false] {
            let origin = Origin::open(0);
            let (unprotected, has_begun, let_go) = held_write(&origin, 2);
            let ends_last_in_the_database = tokio::spawn({
                let b = b.clone();
                async move {
                    match is_guarded {
                        true => b.guarded_write(&[KEY], unprotected).await.map(drop).unwrap(),
                        false => b.put_with(&KEY.into(), unprotected).await.map(drop).unwrap(),
                    }
                }
            });
            has_begun.await.unwrap();
            a.invalidate(KEY).await.unwrap();
            let ((begun, has_begun), (let_end, may_end)) = (oneshot::channel(), oneshot::channel());
            let slow = {
                let (a, origin) = (a.clone(), origin.clone());
                let write = async move {
                    origin.write(1);
                    begun.send(()).unwrap();
                    may_end.await.unwrap();
                    Ok(Some(1))
                };
                tokio::spawn(async move { a.put_with(&KEY.into(), write).await.map(drop).unwrap() })
            };
            has_begun.await.unwrap();
            let_go.send(()).unwrap();
            ends_last_in_the_database.await.unwrap();
            let_end.send(()).unwrap();
            slow.await.unwrap();
            for node in [&a, &b] {
                let (value, _) = served(node, &origin).await;
                assert_eq!(value, Some(2), "{backend:?}, the other writer guarded: {is_guarded}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_at_the_same_time_keeps_the_value_out_as_well() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(0);
        let (slow, has_begun, let_go) = held_write(&origin, 1);
        let guarded = tokio::spawn(async move { b.guarded_write(&[KEY], slow).await });
        has_begun.await.unwrap();
        a.put_with(&KEY.into(), write(&origin, 2)).await.unwrap();
        let shared = a.explain(&KEY.to_owned()).await.shared.unwrap();
        assert!(matches!(shared, TierState::Blocked { .. }), "{backend:?}: {shared:?}");
        let_go.send(()).unwrap();
        guarded.await.unwrap().unwrap().1.unwrap();
        eventually("what the database has", SOON, || async { served(&a, &origin).await.0 == Some(1) }).await;
    }
}

/// What happens between the beginning and the end of a write, and means that its value must not be left.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_not_left_that_was_invalidated_while_it_was_written() {
    for backend in Backend::ALL {
        for what in ["key", "tag", "pattern", "all", "soft key", "soft tag", "soft pattern"] {
            let setup = Setup::new(backend);
            let policy = || lasting().stale_while_revalidate(SOON);
            let tagged =
                async || setup.builder(policy()).await.tags(|_, _| vec!["red".into()]).build().unwrap();
            let a = tagged().await;
            let b = if backend == Backend::Memory { a.clone() } else { tagged().await };
            let origin = Origin::open(0);
            // The tag is known, so that only its purge speaks against the value.
            a.put_with(&KEY.into(), write(&origin, 1)).await.unwrap();
            a.put_with(&KEY.into(), write(&origin, 1)).await.unwrap();
            assert_ne!(served(&a, &origin).await.1, Served::Source, "{backend:?}");
            if backend == Backend::Memory && matches!(what, "pattern" | "soft tag" | "soft pattern") {
                continue;
            }
            let during = async {
                origin.write(2);
                match what {
                    "key" => drop(b.invalidate(KEY).await.unwrap()),
                    "tag" => drop(b.invalidate_tag("red").await.unwrap()),
                    "pattern" => drop(b.invalidate_pattern("*").await.unwrap()),
                    "soft key" => drop(b.expire(&[KEY]).await.unwrap()),
                    "soft tag" => drop(b.expire_tags(&["red"]).await.unwrap()),
                    "soft pattern" => drop(b.expire_pattern("*").await.unwrap()),
                    _ => drop(b.clear().await.unwrap()),
                }
                // Written past Larder by somebody who then invalidated.
                origin.write(3);
                Ok(Some(2))
            };
            a.put_with(&KEY.into(), during).await.unwrap();
            let read = served(&a, &origin).await;
            assert_eq!(read, (Some(3), Served::Source), "{backend:?}: {what}");
            eventually("the other node as well", SOON, || async { served(&b, &origin).await.0 == Some(3) })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_during_a_write_are_answered_by_the_database_and_leave_nothing() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        served(&b, &origin).await;
        let during = async {
            eventually("the copy is gone", SOON, || async { served(&b, &origin).await.1 == Served::Source })
                .await;
            assert_eq!(served(&a, &origin).await, (Some(1), Served::Source), "{backend:?}");
            // One that insists holds the right to replace a value, and here there is none to replace.
            let insists = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
            b.read_with(KEY, &insists, origin.loader()).await.unwrap();
            let shared = b.explain(&KEY.to_owned()).await.shared.unwrap();
            assert!(matches!(shared, TierState::Blocked { .. }), "{backend:?}: {shared:?}");
            origin.write(2);
            Ok(Some(2))
        };
        a.put_with(&KEY.into(), during).await.unwrap();
        assert_eq!(served(&a, &origin).await, (Some(2), Served::Near), "{backend:?}");
        let loads = b.stats().loads;
        eventually("the other node has heard", SOON, || async { served(&b, &origin).await.0 == Some(2) })
            .await;
        assert_eq!(b.stats().loads, loads, "{backend:?}: it found the value in Redis");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_failed_or_was_dropped_the_next_read_asks_the_database() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::open(1);
        served(&cache, &origin).await;
        let failed = cache
            .put_with(&KEY.into(), async {
                origin.write(2);
                Err(Error::new(ErrorKind::Timeout, "perhaps it was done"))
            })
            .await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(served(&cache, &origin).await, (Some(2), Served::Source), "{backend:?}: it was");
        assert_ne!(served(&cache, &origin).await.1, Served::Source, "{backend:?}: and is cached");
        let (begun, has_begun) = oneshot::channel();
        let writer = tokio::spawn({
            let (cache, origin) = (cache.clone(), origin.clone());
            async move {
                let forever = async {
                    // A reader that comes in while it writes, and before it is dropped.
                    served(&cache, &origin).await;
                    origin.write(3);
                    begun.send(()).unwrap();
                    std::future::pending().await
                };
                cache.put_with(&KEY.into(), forever).await
            }
        });
        has_begun.await.unwrap();
        writer.abort();
        assert!(writer.await.unwrap_err().is_cancelled());
        assert_eq!(served(&cache, &origin).await.0, Some(3), "{backend:?}: what the dropped one did is seen");
        eventually("it is cached again", SOON, || async {
            served(&cache, &origin).await.1 != Served::Source
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_end_redis_does_not_acknowledge_leaves_nothing_that_anybody_believes() {
    for fault in [Fault::DropReplies, Fault::Silent] {
        for deployment in Deployment::each(&Options::default()) {
            let proxy = Front::start(&deployment).await;
            let node = async |url: String| {
                let redis = Redis::connect(url).await.unwrap();
                Cache::<String, u64>::builder("lost").redis(&redis).policy(lasting()).build().unwrap()
            };
            let a = node(proxy.url()).await;
            let b = node(deployment.url()).await;
            let origin = Origin::open(1);
            a.put_with(&KEY.into(), write(&origin, 1)).await.unwrap();
            let during = async {
                origin.write(2);
                proxy.set(fault);
                Ok(Some(2))
            };
            let error = a.put_with(&KEY.into(), during).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{fault:?}: {error}");
            assert_eq!(a.stats().invalidations_owed, 1);
            // Somebody else writes before it is known what became of ours.
            origin.write(3);
            assert_eq!(
                served(&a, &origin).await.0,
                Some(3),
                "{fault:?}: it does not believe Redis, nor itself"
            );
            proxy.set(Fault::Pass);
            eventually("nothing is owed", SOON, || async { a.stats().invalidations_owed == 0 }).await;
            for cache in [&a, &b] {
                eventually("all see the truth", SOON, || async { served(cache, &origin).await.0 == Some(3) })
                    .await;
            }
        }
    }
}

/// A block that Redis did not acknowledge may come into force later, when others have written: it must not be used.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_block_comes_into_force_too_late_leaves_nothing() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let node = async |url: String| {
            let redis = Redis::connect(url).await.unwrap();
            Cache::<String, u64>::builder("late").redis(&redis).policy(lasting()).build().unwrap()
        };
        let a = node(proxy.url()).await;
        let b = node(deployment.url()).await;
        let origin = Origin::open(1);
        a.put_with(&KEY.into(), write(&origin, 1)).await.unwrap();
        proxy.set(Fault::Silent);
        let during = async {
            origin.write(2);
            // All of another write, before the block is there.
            b.put_with(&KEY.into(), write(&origin, 3)).await.unwrap();
            proxy.set(Fault::Pass);
            eventually("the block is there", SOON, || async {
                matches!(b.explain(&KEY.to_owned()).await.shared, Some(TierState::Blocked { .. }))
            })
            .await;
            Ok(Some(2))
        };
        a.put_with(&KEY.into(), during).await.unwrap();
        for cache in [&a, &b] {
            eventually("all see the truth", SOON, || async { served(cache, &origin).await.0 == Some(3) })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_or_full_writes_go_on_and_leave_nothing_stale() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let cache = Cache::<String, u64>::builder("away").redis(&redis).policy(lasting()).build().unwrap();
        let origin = Origin::open(1);
        cache.put_with(&KEY.into(), write(&origin, 1)).await.unwrap();
        deployment.ask_all(&["CONFIG", "SET", "maxmemory", "1"]);
        cache.put_with(&KEY.into(), write(&origin, 2)).await.expect("forgetting needs no memory");
        assert_eq!(served(&cache, &origin).await, (Some(2), Served::Source));
        deployment.ask_all(&["CONFIG", "SET", "maxmemory", "0"]);
        cache.put_with(&KEY.into(), write(&origin, 3)).await.unwrap();
        assert_eq!(served(&cache, &origin).await, (Some(3), Served::Near));
        deployment.kill();
        let error = cache.put_with(&KEY.into(), write(&origin, 4)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert_eq!(served(&cache, &origin).await.0, Some(4), "the write was done");
        // With the value from before in it.
        deployment.restart();
        eventually("nothing is owed", SOON, || async { cache.stats().invalidations_owed == 0 }).await;
        eventually("it is cached again", SOON, || async {
            served(&cache, &origin).await == (Some(4), Served::Near)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_does_not_cache_is_written_and_not_left() {
    for backend in Backend::ALL {
        let (setup, table) = (Setup::new(backend), Table::new());
        let policy = Policy::ttl(SOON).negative_ttl(Duration::ZERO);
        let builder = setup.builder(policy).await.source(table.clone()).sink(table.clone());
        let short = |n: &u64| (*n == 2).then_some(Duration::ZERO);
        let cache = builder.ttl_from(short).write_through().build().unwrap();
        cache.put(&KEY.into(), &1).await.unwrap();
        cache.put(&KEY.into(), &2).await.unwrap();
        let read = cache.read(KEY, &ReadOptions::default()).await.unwrap();
        assert_eq!((read.value.as_deref(), read.served), (Some(&2), Served::Source), "{backend:?}");
        cache.put(&KEY.into(), &1).await.unwrap();
        cache.remove(&KEY.into()).await.unwrap();
        let read = cache.read(KEY, &ReadOptions::default()).await.unwrap();
        assert_eq!((read.value, read.served), (None, Served::Source), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_strict_consistency_no_node_reads_an_older_value_once_a_write_returns() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let strict = Consistency::Strict(Duration::from_secs(2));
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(setup.builder(lasting()).await.consistency(strict).build().unwrap());
        }
        let origin = Origin::open(0);
        for n in 1..20 {
            nodes[n as usize % 3].put_with(&KEY.into(), write(&origin, n)).await.unwrap();
            for node in &nodes {
                assert_eq!(served(node, &origin).await.0, Some(n), "{backend:?}");
            }
        }
        assert_eq!(origin.reads(), 0, "{backend:?}: nobody had to load");
    }
}

/// A sink that fails after it has written.
#[derive(Clone)]
struct Torn(Table);

impl Source<String, u64> for Torn {
    async fn load(&self, key: &String) -> larder::Result<Option<u64>> {
        self.0.load(key).await
    }
}

impl Sink<String, u64> for Torn {
    async fn put(&self, key: &String, value: &u64) -> larder::Result<()> {
        self.0.put(key, value).await?;
        Err(Error::new(ErrorKind::Unavailable, "the answer was lost"))
    }
    async fn remove(&self, key: &String) -> larder::Result<()> {
        self.0.remove(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails_is_reported_and_the_value_is_read_from_the_source() {
    for backend in Backend::ALL {
        let (setup, torn) = (Setup::new(backend), Torn(Table::new()));
        let builder = setup.builder(lasting()).await.source(torn.clone()).sink(torn.clone());
        let cache = builder.write_through().build().unwrap();
        assert!(cache.get(KEY).await.unwrap().is_none());
        let error = cache.put(&KEY.into(), &1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{backend:?}");
        let read = cache.read(KEY, &ReadOptions::default()).await.unwrap();
        assert_eq!((read.value.as_deref(), read.served), (Some(&1), Served::Source), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_through_is_refused() {
    let (redis, table) = (Backend::Redis.connect().await.unwrap(), Table::new());
    let builder = || Cache::<String, u64>::builder("refused").redis(&redis);
    for built in [
        builder().write_through().build(),
        builder().sink(table.clone()).write_through().write_behind(WriteBehind::default()).build(),
    ] {
        let error = built.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("write_through")), "{error}");
    }
    let behind = builder().sink(table).write_behind(WriteBehind::default()).build().unwrap();
    let error = behind.put_with(&KEY.into(), async { Ok(Some(1)) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
