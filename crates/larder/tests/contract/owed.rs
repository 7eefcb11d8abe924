//! Invalidations that Redis has not acknowledged: what is owed to one shard concerns no other.

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use larder::{
    Cache, ErrorKind, Result,
    cache::{ReadOptions, Served},
    redis::{MAX_KEY_BYTES, Redis, RedisConfig},
    source::Sink,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Cluster, Deployment, Options},
};
use tokio::time::timeout;

use crate::{
    behind::Table,
    setup::{Backend, LONG, Origin, Setup, lasting},
};

/// The place of the primary that is away.
const AWAY: usize = 1;
const SOON: Duration = Duration::from_secs(20);

/// A cluster of three, of which one is about to hang, and a node with no near tier.
struct Scene {
    cluster: Cluster,
    redis: Redis,
    cache: Cache<String, u64>,
    origin: Origin,
    /// Keys of the primaries that stay, and of the other one.
    well: Vec<String>,
    away: Vec<String>,
    /// The sequences of the shards that stay, by their place and name.
    sequences: BTreeSet<(usize, String)>,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::start(3, false);
        for node in cluster.primaries() {
            // Else all of them refuse everything while one is away.
            node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        }
        let config = RedisConfig::new(cluster.url()).deadline(Duration::from_millis(200));
        let redis = Redis::connect(config).await.unwrap();
        let policy = lasting().near_ttl(Duration::ZERO);
        let cache: Cache<String, u64> = Cache::builder("owed")
            .redis(&redis)
            .policy(policy)
            .tags(|_, _| vec!["tea".into()])
            .build()
            .unwrap();
        let origin = Origin::open(1);
        let (mut well, mut away, mut sequences) = (Vec::new(), Vec::new(), BTreeSet::new());
        for key in (0..60).map(|key| key.to_string()) {
            cache.get_with(&key, origin.loader()).await.unwrap();
            let slot = cache.explain(&key).await.slot_key.unwrap();
            let place = cluster.place_of(&slot).0;
            if place == AWAY {
                away.push(key);
            } else {
                sequences.insert((place, slot.replace(&format!(":e:{key}"), ":q")));
                well.push(key);
            }
        }
        Self { cluster, redis, cache, origin, well, away, sequences }
    }

    async fn served(&self, key: &String) -> (u64, Served) {
        let read = self.cache.read_with(key, &ReadOptions::default(), self.origin.loader()).await.unwrap();
        (*read.value.unwrap(), read.served)
    }

    /// How many invalidations each shard that stays has seen.
    fn numbers(&self) -> Vec<String> {
        let number = |(place, key): &(usize, String)| {
            self.cluster.primaries()[*place].ask(&["GET", key]).text().unwrap().to_owned()
        };
        self.sequences.iter().map(number).collect()
    }

    /// While one primary hangs, the shards of the others have carried out the purge once, and are believed; when it is back, it is
    /// told, and nothing from before the purge is served.
    async fn is_owed_to_one_alone(&self) {
        let unavailable = self.redis.stats().unavailable;
        eventually("the purge is tried again and again", SOON, || async {
            self.redis.stats().unavailable > unavailable + 40
        })
        .await;
        let numbers = self.numbers();
        for key in &self.well {
            assert_eq!(self.served(key).await, (2, Served::Source), "{key}");
            assert_eq!(self.served(key).await, (2, Served::Shared), "{key}");
        }
        let unavailable = self.redis.stats().unavailable;
        eventually("it is tried some more", SOON, || async {
            self.redis.stats().unavailable > unavailable + 40
        })
        .await;
        assert!(self.cache.stats().invalidations_owed > 0);
        assert_eq!(self.numbers(), numbers, "the others have heard of it once");
        for key in &self.well {
            assert_eq!(self.served(key).await, (2, Served::Shared), "{key}");
        }
        self.cluster.primaries()[AWAY].thaw();
        eventually("it is told", SOON, || async {
            for key in &self.away {
                assert_eq!(self.served(key).await.0, 2, "{key}");
            }
            self.cache.stats().invalidations_owed == 0
        })
        .await;
        for key in &self.away {
            assert_eq!(self.served(key).await.0, 2, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_that_one_primary_has_not_heard_is_sent_to_it_alone() {
    let scene = Scene::new().await;
    scene.cluster.primaries()[AWAY].freeze();
    scene.origin.write(2);
    scene.cache.clear().await.unwrap_err();
    scene.is_owed_to_one_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_a_tag_that_one_primary_has_not_heard_is_sent_to_it_alone() {
    let scene = Scene::new().await;
    scene.cluster.primaries()[AWAY].freeze();
    scene.origin.write(2);
    scene.cache.invalidate_tag("tea").await.unwrap_err();
    scene.is_owed_to_one_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_owes_closes_all_the_same_while_redis_is_away() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(&*deployment.url()).await.unwrap();
        let cache: Cache<String, u64> = Cache::builder("owed").redis(&redis).build().unwrap();
        deployment.kill();
        cache.invalidate("key").await.unwrap_err();
        timeout(SOON, cache.close()).await.expect("it does not wait for a Redis that is away");
        assert_eq!(cache.stats().invalidations_owed, 1);
        deployment.restart();
        eventually("it is sent while there is a handle", SOON, || async {
            cache.stats().invalidations_owed == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_closed_sends_what_it_owes_to_a_redis_that_is_back() {
    let deployment = Deployment::each(&Options::default()).next().unwrap();
    let redis = Redis::connect(&*deployment.url()).await.unwrap();
    let cache: Cache<String, u64> = Cache::builder("owed").redis(&redis).build().unwrap();
    deployment.kill();
    cache.invalidate("key").await.unwrap_err();
    deployment.restart();
    eventually("the connection is back", SOON, || async { redis.ping().await.is_ok() }).await;
    cache.close().await;
    assert_eq!(cache.stats().invalidations_owed, 0);
}

/// Keys that have no slot: Redis would never acknowledge anything about them.
fn impossible() -> [String; 2] {
    [String::new(), "k".repeat(MAX_KEY_BYTES + 1)]
}

/// Every way to change a key or to invalidate it, and what came of each.
async fn each_way(
    cache: &Cache<String, u64>,
    table: &Table,
    key: &String,
) -> [(&'static str, Result<()>); 7] {
    let through = async { table.put(key, &1).await.map(|()| Some(1)) };
    [
        ("invalidate", cache.invalidate(key).await.map(drop)),
        ("invalidate_many", cache.invalidate_many(&["another", key.as_str()]).await.map(drop)),
        ("expire", cache.expire(&[key.as_str()]).await.map(drop)),
        ("guarded_write", cache.guarded_write(&[key.as_str()], table.put(key, &1)).await.map(drop)),
        ("put_with", cache.put_with(key, through).await.map(drop)),
        ("put", cache.put(key, &1).await),
        ("remove", cache.remove(key).await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_no_slot_is_refused_before_anything_is_written_or_owed() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        for writes_through in [false, true] {
            let policy = lasting().stale_while_revalidate(LONG);
            let builder = setup.builder(policy).await.sink(table.clone());
            let builder = if writes_through { builder.write_through() } else { builder };
            let cache = builder.build().unwrap();
            for key in impossible() {
                let origin = Origin::open(1);
                cache.get_with(&key, origin.loader()).await.unwrap();
                origin.write(2);
                for (way, refused) in each_way(&cache, &table, &key).await {
                    let error = refused.expect_err(way);
                    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("key")), "{way}");
                }
                assert_eq!((table.row(&key), cache.stats().invalidations_owed), (None, 0), "{backend:?}");
                let read = cache.get_with(&key, origin.loader()).await.unwrap();
                assert_eq!(read.as_deref(), Some(&2), "{backend:?}: what this node had of it is gone");
            }
            for (way, done) in each_way(&cache, &table, &"k".repeat(MAX_KEY_BYTES)).await {
                done.expect(way);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_no_slot_holds_up_no_other_after_an_outage() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(&*deployment.url()).await.unwrap();
        let builder = Cache::<String, u64>::builder("owed").redis(&redis);
        let cache = builder.shards(NonZeroU16::MIN).build().unwrap();
        deployment.kill();
        for key in impossible() {
            cache.invalidate(&key).await.unwrap_err();
        }
        cache.invalidate("key").await.unwrap_err();
        assert_eq!(cache.stats().invalidations_owed, 1, "{}", deployment.kind());
        deployment.restart();
        eventually("all that is owed is acknowledged", SOON, || async {
            cache.stats().invalidations_owed == 0
        })
        .await;
    }
}

/// The write was dropped before Redis could be told of it, and meanwhile another node has stored what there was before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_fetched_before_an_owed_invalidation_was_acknowledged_is_gone_after_it() {
    const KEY: &str = "k";
    const A_WHILE: Duration = Duration::from_millis(150);
    for deployment in Deployment::each(&Options::default()) {
        deployment.ask_all(&["ACL", "SETUSER", "dumb", "on", ">secret", "~*", "&*", "+@all"]);
        let open = async |url: String| {
            let redis = Redis::connect(RedisConfig::new(url)).await.unwrap();
            Cache::<String, u64>::builder("owed").redis(&redis).policy(lasting()).build().unwrap()
        };
        let url = deployment.url();
        let a = open(url.replacen("://", "://dumb:secret@", 1)).await;
        let (b, origin) = (open(url).await, Origin::held(1));
        let loading = tokio::spawn({
            let (b, load) = (b.clone(), origin.loader());
            async move { b.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        deployment.ask_all(&["ACL", "SETUSER", "dumb", "-evalsha", "-eval"]);
        let write = a.guarded_write(&[KEY], std::future::pending::<Result<()>>());
        let mut write = Box::pin(timeout(2 * A_WHILE, write));
        assert!(timeout(A_WHILE, &mut write).await.is_err(), "the block is refused, and the write goes on");
        let reading = tokio::spawn({
            let (a, load) = (a.clone(), Origin::open(2).loader());
            async move { a.get_with(KEY, load).await }
        });
        // The reader finds out meanwhile that another node is at it.
        assert!(write.await.is_err(), "it never ends, and is dropped here");
        origin.write(2);
        origin.let_go(1);
        loading.await.unwrap().unwrap();
        reading.await.unwrap().unwrap();
        deployment.ask_all(&["ACL", "SETUSER", "dumb", "+evalsha", "+eval"]);
        eventually("it is acknowledged", SOON, || async {
            !a.explain(&KEY.to_owned()).await.invalidation_owed
        })
        .await;
        assert_eq!(a.get_with(KEY, Origin::open(2).loader()).await.unwrap().as_deref(), Some(&2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_owed_until_redis_has_acknowledged_its_invalidation() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let config = RedisConfig::new(proxy.url()).deadline(Duration::from_millis(200));
        let redis = Redis::connect(config).await.unwrap();
        let cache = Cache::builder("tokens").redis(&redis).build().unwrap();
        let key = "k".to_owned();
        cache.invalidate(&key).await.unwrap();
        cache.get_with(&key, async || Ok(Some(1_u64))).await.unwrap();
        assert!(!cache.is_owed(&key));
        proxy.set(Fault::Refuse);
        proxy.cut();
        cache.invalidate(&key).await.unwrap_err();
        assert!(cache.is_owed(&key) && !cache.is_owed(&"other".to_owned()));
        proxy.set(Fault::Pass);
        eventually("it is acknowledged", SOON, || async { cache.stats().invalidations_owed == 0 }).await;
        assert!(!cache.is_owed(&key));
    }
}
