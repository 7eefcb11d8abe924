//! Hot keys that stand in several shards, and nodes that read them in different ones.

use std::{num::NonZeroU16, time::Duration};

use larder::{
    Cache, ErrorKind, Policy,
    cache::{CacheBuilder, Consistency, ReadMode, ReadOptions, Served, TierState, WriteBehind},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    redis::{Monitor, Options, Server},
};

use crate::{
    setup::{Backend, Origin, Setup, lasting},
    way::{KEY, Way},
};

const SOON: Duration = Duration::from_secs(10);
const REPLICAS: u16 = 4;

/// Two nodes to which one key is hot: one reads it at home, the other one elsewhere.
struct Two {
    home: Cache<String, u64>,
    away: Cache<String, u64>,
}

impl Two {
    async fn new(setup: &Setup, origin: &Origin, policy: Policy, consistency: Consistency) -> Self {
        let builder = async || setup.builder(policy.clone()).await.consistency(consistency);
        Self::of(origin, || setup.clock.advance(Duration::from_secs(1)), builder).await
    }

    /// Where a node reads hot keys is drawn when it is built.
    async fn of(
        origin: &Origin,
        a_second_later: impl Fn(),
        builder: impl AsyncFn() -> CacheBuilder<String, u64>,
    ) -> Self {
        let (mut home, mut away) = (None, None);
        while home.is_none() || away.is_none() {
            let builder = builder().await.hot_replicas(REPLICAS);
            let node = builder.tags(|_: &String, _: &u64| vec!["tag".to_owned()]).build().unwrap();
            let cold = slot(&node, KEY).await;
            for _ in 0..40 {
                value(&node, origin).await;
            }
            a_second_later();
            let place = if slot(&node, KEY).await == cold { &mut home } else { &mut away };
            place.get_or_insert(node);
        }
        let (home, away) = (home.expect("the loop has ended"), away.expect("the loop has ended"));
        let two = Self { home, away };
        // The one that was found first may have cooled down since.
        for _ in 0..10 {
            for node in two.nodes() {
                for _ in 0..100 {
                    value(node, origin).await;
                }
            }
            a_second_later();
        }
        assert_ne!(slot(&two.home, KEY).await, slot(&two.away, KEY).await);
        // What they have from before they knew that it is hot.
        two.home.invalidate(KEY).await.unwrap();
        two
    }

    fn nodes(&self) -> [&Cache<String, u64>; 2] {
        [&self.home, &self.away]
    }
}

async fn slot(node: &Cache<String, u64>, key: &str) -> String {
    node.explain(&key.to_owned()).await.slot_key.expect("there is a Redis")
}

async fn value(cache: &Cache<String, u64>, origin: &Origin) -> u64 {
    *cache.get_with(KEY, origin.loader()).await.unwrap().unwrap()
}

async fn served(cache: &Cache<String, u64>, origin: &Origin) -> Served {
    cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap().served
}

/// So that each read shows what Redis has.
fn far() -> Policy {
    lasting().near_ttl(Duration::ZERO).stale_if_error(Duration::from_secs(60))
}

fn near() -> Policy {
    lasting().stale_if_error(Duration::from_secs(60))
}

async fn change(way: Way, cache: &Cache<String, u64>, origin: &Origin, number: u64) {
    if let Some(taken) = way.change(cache, origin, number).await.unwrap() {
        assert_eq!(taken, 1, "one key, wherever it stands");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_read_a_hot_key_in_different_shards_and_others_at_home() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, far(), Consistency::default()).await;
        let before = origin.reads();
        for node in two.nodes() {
            assert_eq!(served(node, &origin).await, Served::Source, "{backend:?}: once for each shard");
            assert_eq!(served(node, &origin).await, Served::Shared, "{backend:?}");
        }
        assert_eq!(origin.reads() - before, 2);
        let (home, away) = (slot(&two.home, KEY).await, slot(&two.away, KEY).await);
        assert!(
            home != away && home.ends_with(":e:tenant:k") && away.ends_with(":e:tenant:k"),
            "{home} {away}"
        );
        for slot in [home, away] {
            assert_eq!(setup.ask(&["EXISTS", &slot]), larder_testkit::redis::Reply::Int(1), "{slot}");
        }
        assert_eq!(slot(&two.home, "another").await, slot(&two.away, "another").await, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_hot_key_in_whatever_way_nobody_finds_the_old_value_in_any_shard() {
    for backend in Backend::SHARED {
        for (policy, has_near) in [(far(), false), (near(), true)] {
            let (setup, origin) = (Setup::new(backend), Origin::open(1));
            let two = Two::new(&setup, &origin, policy, Consistency::default()).await;
            let mut number = 1;
            for way in Way::ALL {
                for (writer, other) in [(&two.home, &two.away), (&two.away, &two.home)] {
                    for node in two.nodes() {
                        eventually("both have it", SOON, || async {
                            value(node, &origin).await == number
                                && served(node, &origin).await != Served::Source
                        })
                        .await;
                    }
                    number += 1;
                    change(way, writer, &origin, number).await;
                    assert_eq!(value(writer, &origin).await, number, "{backend:?}: {way:?}");
                    if has_near {
                        eventually("the other one has heard", SOON, || async {
                            value(other, &origin).await == number
                        })
                        .await;
                    } else {
                        assert_eq!(value(other, &origin).await, number, "{backend:?}: {way:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_from_before_an_invalidation_fills_no_replica() {
    for backend in Backend::SHARED {
        for way in Way::ALL {
            let (setup, origin) = (Setup::new(backend), Origin::open(1));
            let two = Two::new(&setup, &origin, far(), Consistency::default()).await;
            // A database whose answer is on its way while the key is changed.
            let slow = Origin::held(1);
            let reader = tokio::spawn({
                let (node, load) = (two.away.clone(), slow.loader());
                async move { node.get_with(KEY, load).await }
            });
            slow.until_reading(1).await;
            assert!(
                matches!(two.away.explain(&KEY.to_owned()).await.shared, Some(TierState::Leased { .. })),
                "{backend:?}: it loads for the replica"
            );
            match way {
                // There is nothing to be found that it could count.
                Way::Pattern => drop(two.home.invalidate_pattern("tenant:*").await.unwrap()),
                _ => change(way, &two.home, &origin, 2).await,
            }
            origin.write(2);
            slow.let_go(1);
            assert_eq!(
                reader.await.unwrap().unwrap().as_deref(),
                Some(&1),
                "who asked before may be told so"
            );
            for node in two.nodes() {
                assert_eq!(value(node, &origin).await, 2, "{backend:?}: {way:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_token_sees_the_write_also_where_the_key_is_read_elsewhere() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, near(), Consistency::default()).await;
        for number in 2..40 {
            value(&two.away, &origin).await;
            origin.write(number);
            let token = two.home.invalidate(KEY).await.unwrap().expect("there is a Redis");
            assert!(
                two.away.read_with(KEY, &at_least(token), origin.loader()).await.unwrap().value.as_deref()
                    == Some(&number),
                "{backend:?}: {number}"
            );
        }
    }
}

/// A node that does not know of replicas stands for a write that has reached the home shard and no other yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_home_shard_is_not_answered_by_what_a_replica_still_has() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, near(), Consistency::default()).await;
        let writer = setup.node(near()).await;
        assert_eq!(value(&two.away, &origin).await, 1);
        origin.write(2);
        let token = writer.invalidate(KEY).await.unwrap().expect("there is a Redis");
        eventually("the node has applied it", SOON, || async {
            two.away.explain(&KEY.to_owned()).await.near == TierState::Empty
        })
        .await;
        assert_eq!(value(&two.away, &origin).await, 1, "{backend:?}: its replica is yet to be told");
        let read = two.away.read_with(KEY, &at_least(token), origin.loader()).await.unwrap();
        assert_eq!(read.value.as_deref(), Some(&2), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_follow_the_shard_of_a_replica_stops_serving_its_copy() {
    let server = Server::start(&Options::default());
    let user = |rules: &[&str]| {
        let done = server.ask(&[&["ACL", "SETUSER", "reader"], rules].concat());
        assert_eq!(done.text(), Some("OK"), "{done:?}");
    };
    user(&["on", ">pw", "~*", "&*", "+@all"]);
    let (origin, clock) = (Origin::open(1), larder::FakeClock::default());
    let builder = async || {
        let redis = Redis::connect(server.url().replace("://", "://reader:pw@")).await.unwrap();
        // Nothing here is to be cut off by a busy machine.
        let redis = redis.with_deadline(SOON);
        Cache::builder("cut-off").redis(&redis).policy(near()).clock(clock.clone())
    };
    let two = Two::of(&origin, || clock.advance(Duration::from_secs(1)), builder).await;
    value(&two.away, &origin).await;
    origin.write(2);
    assert_eq!(value(&two.away, &origin).await, 1, "nobody has told it");

    let shard = |slot: &str| slot.split('}').next().and_then(|tag| tag.rsplit('.').next().map(str::to_owned));
    let (home, away) = (shard(&slot(&two.home, KEY).await), shard(&slot(&two.away, KEY).await));
    let (home, away) = home.zip(away).expect("a slot names its shard");
    let mut neighbour = String::new();
    for number in 0.. {
        neighbour = format!("neighbour {number}");
        if shard(&slot(&two.away, &neighbour).await).as_ref() == Some(&home) {
            break;
        }
    }
    let others: Vec<String> = (0..16)
        .map(|shard| format!("{shard:02}"))
        .filter(|shard| *shard != away)
        .map(|shard| format!("~{{larder.cut-off.{shard}}}*"))
        .collect();
    let rules: Vec<&str> = ["resetkeys"].into_iter().chain(others.iter().map(String::as_str)).collect();
    user(&rules);
    clock.advance(Duration::from_secs(2));
    // Brings the node up to date with the home shard.
    two.away.get_with(&*neighbour, origin.loader()).await.unwrap();
    assert_eq!(value(&two.away, &origin).await, 2, "its copy is past the bound: it asks the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_key_is_written_nothing_is_stored_in_any_of_its_shards() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, far(), Consistency::default()).await;
        let is_blocked = async || {
            for node in two.nodes() {
                value(node, &origin).await;
                let shared = node.explain(&KEY.to_owned()).await.shared;
                assert!(matches!(shared, Some(TierState::Blocked { .. })), "{backend:?}: {shared:?}");
            }
            Ok(Some(2))
        };
        two.home.put_with(&KEY.to_owned(), is_blocked()).await.unwrap();
        two.home.guarded_write(&[KEY], is_blocked()).await.unwrap().1.unwrap();
    }
}

fn at_least(token: larder::cache::Token) -> ReadOptions {
    ReadOptions { at_least: Some(token), ..ReadOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_invalidation_waits_for_the_copies_of_every_shard() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, near(), Consistency::Strict(Duration::from_secs(1))).await;
        for number in 2..40 {
            for node in two.nodes() {
                value(node, &origin).await;
            }
            let writer = two.nodes()[number as usize % 2];
            origin.write(number);
            writer.invalidate(KEY).await.unwrap();
            for node in two.nodes() {
                assert_eq!(value(node, &origin).await, number, "{backend:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_and_a_peek_are_of_the_shard_that_the_node_reads() {
    for backend in Backend::SHARED {
        let (setup, origin) = (Setup::new(backend), Origin::open(1));
        let two = Two::new(&setup, &origin, far(), Consistency::default()).await;
        value(&two.away, &origin).await;
        origin.write(2);
        let refresh = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
        two.away.read_with(KEY, &refresh, origin.loader()).await.unwrap();
        assert_eq!(value(&two.away, &origin).await, 2, "{backend:?}");
        let peeked = two.away.peek(&KEY.to_owned()).await.unwrap().expect("it is there");
        assert_eq!((peeked.value.as_deref(), peeked.served), (Some(&2), Served::Shared), "{backend:?}");
        assert!(
            two.home.peek(&KEY.to_owned()).await.unwrap().is_none(),
            "{backend:?}: nobody has read it at home"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_costs_one_script_for_each_shard_and_a_hit_one_command() {
    let server = Server::start(&Options::default());
    let origin = Origin::open(1);
    let clock = larder::FakeClock::default();
    let builder = async || {
        let redis = Redis::connect(server.url()).await.unwrap();
        Cache::builder("replicas").redis(&redis).policy(far()).clock(clock.clone())
    };
    let two = Two::of(&origin, || clock.advance(Duration::from_secs(1)), builder).await;
    // Teaches the server the scripts, once in its life.
    change(Way::Guarded, &two.home, &origin, 2).await;
    change(Way::Through, &two.home, &origin, 2).await;
    value(&two.away, &origin).await;
    let monitor = Monitor::start(&server);
    let names = || {
        let about = |command: &Vec<String>| command.iter().any(|word| word.ends_with(":e:tenant:k"));
        let commands = monitor.commands_until_quiet().into_iter().filter(about);
        commands.map(|command| command[0].clone()).collect::<Vec<_>>()
    };
    names();
    value(&two.away, &origin).await;
    assert_eq!(names(), ["SET"], "a hit");
    two.home.invalidate(KEY).await.unwrap();
    assert_eq!(names(), ["EVALSHA"; REPLICAS as usize], "an invalidation");
    value(&two.away, &origin).await;
    assert_eq!(names(), ["SET", "EVALSHA"], "a miss");
    change(Way::Guarded, &two.away, &origin, 3).await;
    assert_eq!(names(), ["EVALSHA"; 2 * REPLICAS as usize], "a guarded write");
    change(Way::Through, &two.away, &origin, 4).await;
    assert_eq!(names(), ["EVALSHA"; 2 * REPLICAS as usize], "a write-through");
}

#[tokio::test]
async fn replicas_that_cannot_work_are_refused() {
    let setup = Setup::new(Backend::Redis);
    for (shards, replicas) in [(16, 0), (16, 17), (3, 4)] {
        let builder = setup.builder(far()).await.shards(NonZeroU16::new(shards).unwrap());
        let error = builder.hot_replicas(replicas).build().unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (ErrorKind::Config, Some("hot_replicas")),
            "{shards} {replicas}"
        );
    }
    let behind =
        setup.builder(far()).await.sink(crate::behind::Table::new()).write_behind(WriteBehind::default());
    let error = behind.hot_replicas(2).build().unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("hot_replicas")));
    for replicas in 1..=3 {
        let builder = setup.builder(far()).await.shards(NonZeroU16::new(3).unwrap());
        builder.hot_replicas(replicas).build().unwrap();
    }
}
