//! The cache on the days when Redis is away, slow, full, or holds what it should not.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{
    Cache, ErrorKind,
    cache::{MissReason, ReadOptions, Served},
    redis::{Redis, RedisConfig},
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Cluster, Deployment, Monitor, Options, Reply},
};

use crate::setup::{Origin, lasting};

const KEY: &str = "k";
/// The deadline of one call to Redis, and what a busy machine may add to it.
const DEADLINE: Duration = Duration::from_millis(250);
const SLACK: Duration = Duration::from_millis(500);
/// How soon a Redis that answers again is asked again.
const BACK: Duration = Duration::from_secs(2);

async fn node(url: &str) -> Cache<String, u64> {
    node_with(RedisConfig::new(url)).await
}

async fn node_with(config: RedisConfig) -> Cache<String, u64> {
    let redis = Redis::connect(config).await.unwrap();
    Cache::builder("outage").redis(&redis).policy(lasting().near_ttl(Duration::ZERO)).build().unwrap()
}

async fn served(cache: &Cache<String, u64>, key: &str, origin: &Origin) -> Served {
    cache.read_with(key, &ReadOptions::default(), origin.loader()).await.unwrap().served
}

async fn hits_are_back(cache: &Cache<String, u64>, key: &str, origin: &Origin, within: Duration) {
    eventually("hits are back", within, || async { served(cache, key, origin).await == Served::Shared })
        .await;
}

/// What was sent about the key; the node's own looks at the sequences come besides, twice a second.
fn about_the_key(monitor: &Monitor) -> Vec<Vec<String>> {
    let about = |command: &Vec<String>| command.iter().any(|word| word.ends_with(":e:k"));
    monitor.commands_until_quiet().into_iter().filter(about).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_hit_is_one_command_and_a_miss_two() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let origin = Origin::open(1);
        // Teaches the server the scripts, once in its life.
        cache.get_with(KEY, origin.loader()).await.unwrap();
        cache.invalidate(KEY).await.unwrap();
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.unwrap();
        let monitor = Monitor::start(deployment.owner_of(&slot));
        cache.get_with(KEY, origin.loader()).await.unwrap();
        let commands = about_the_key(&monitor);
        let names: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
        assert_eq!(names, ["SET", "EVALSHA"], "a miss: {commands:?}");
        cache.get_with(KEY, origin.loader()).await.unwrap();
        let commands = about_the_key(&monitor);
        assert_eq!(commands.len(), 1, "a hit: {commands:?}");
        cache.invalidate(KEY).await.unwrap();
        let commands = about_the_key(&monitor);
        assert_eq!(commands.len(), 1, "an invalidation: {commands:?}");
        assert_eq!(origin.reads(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_readers_of_a_cold_key_on_two_nodes_cause_one_load() {
    for near in [Duration::ZERO, Duration::from_secs(1)] {
        for deployment in Deployment::each(&Options::default()) {
            let mut nodes = Vec::new();
            for _ in 0..2 {
                let redis = Redis::connect(deployment.url()).await.unwrap();
                let cache: Cache<String, u64> = Cache::builder("stampede")
                    .redis(&redis)
                    .policy(lasting().near_ttl(near))
                    .build()
                    .unwrap();
                nodes.push(cache);
            }
            let origin = Origin::held(1);
            let readers: Vec<_> = (0..10_000)
                .map(|reader| {
                    let (cache, load) = (nodes[reader % 2].clone(), origin.loader());
                    tokio::spawn(async move { cache.get_with(KEY, load).await })
                })
                .collect();
            origin.until_reading(1).await;
            origin.let_go(10_000);
            for reader in readers {
                assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1));
            }
            assert_eq!(origin.reads(), 1, "near tier for {near:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_while_redis_is_killed_and_hits_are_back_two_seconds_after_it() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let origin = Origin::open(1);
        assert_eq!(served(&cache, KEY, &origin).await, Served::Source);
        assert_eq!(served(&cache, KEY, &origin).await, Served::Shared);
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (cache, origin, stop) = (cache.clone(), origin.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut slowest = Duration::ZERO;
                    while !stop.load(SeqCst) {
                        let begun = Instant::now();
                        cache.get_with(KEY, origin.loader()).await.expect("the database can answer");
                        slowest = slowest.max(begun.elapsed());
                        tokio::task::yield_now().await;
                    }
                    slowest
                })
            })
            .collect();
        deployment.kill();
        eventually("reads go past the dead Redis", Duration::from_secs(5), || async {
            cache.stats().shared_errors > 0
        })
        .await;
        deployment.restart();
        let back = Instant::now();
        hits_are_back(&cache, KEY, &origin, Duration::from_secs(2)).await;
        assert!(back.elapsed() < Duration::from_secs(2));
        stop.store(true, SeqCst);
        for reader in readers {
            let slowest = reader.await.unwrap();
            assert!(slowest < 2 * DEADLINE + SLACK, "a read took {slowest:?}");
        }
        assert_eq!(cache.stats().read_errors, 0);
    }
}

/// Nobody takes its place, so the others refuse everything until it is back: their cluster asks for all slots.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_while_one_primary_of_a_cluster_is_away_and_hits_are_back_after_it() {
    let cluster = Cluster::start(3, false);
    let cache = node(&cluster.url()).await;
    let origin = Origin::open(1);
    let keys: Vec<String> = (0..30).map(|key| key.to_string()).collect();
    for key in &keys {
        assert_eq!(served(&cache, key, &origin).await, Served::Source);
        assert_eq!(served(&cache, key, &origin).await, Served::Shared);
    }
    cluster.primaries()[1].kill();
    let (killed, mut missed) = (Instant::now(), 0);
    while killed.elapsed() < Duration::from_secs(2) {
        for key in &keys {
            let begun = Instant::now();
            missed += usize::from(served(&cache, key, &origin).await == Served::Source);
            assert!(begun.elapsed() < 2 * DEADLINE + SLACK, "a read took {:?}", begun.elapsed());
        }
    }
    assert!(missed > 0, "some keys were of the one that is away");
    cluster.primaries()[1].restart();
    for key in &keys {
        // The cluster takes a few seconds to find itself well.
        hits_are_back(&cache, key, &origin, Duration::from_secs(10)).await;
    }
    assert_eq!(cache.stats().read_errors, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_costs_a_read_its_deadline_and_soon_nothing() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let origin = Origin::open(1);
        served(&cache, KEY, &origin).await;
        deployment.freeze();
        let frozen = Instant::now();
        let mut fast = 0;
        while fast < 20 {
            let begun = Instant::now();
            assert_eq!(served(&cache, KEY, &origin).await, Served::Source);
            // The look-up, and the wait for a lease that was never answered: each is cut off.
            assert!(begun.elapsed() < 2 * DEADLINE + SLACK, "a read took {:?}", begun.elapsed());
            fast = if begun.elapsed() < DEADLINE / 5 { fast + 1 } else { 0 };
            assert!(frozen.elapsed() < Duration::from_secs(20), "the breaker never opened");
        }
        deployment.thaw();
        hits_are_back(&cache, KEY, &origin, BACK + SLACK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_not_answered_a_read_is_not_asked_for_its_tags_as_well() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let redis = Redis::connect(RedisConfig::new(proxy.url())).await.unwrap();
        let builder = Cache::<String, u64>::builder("outage").redis(&redis).policy(lasting());
        let cache = builder.shards(NonZeroU16::MIN).tags(|key, _| vec![format!("of {key}")]).build().unwrap();
        let origin = Origin::open(1);
        assert_eq!(served(&cache, "first", &origin).await, Served::Source);
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.unwrap();
        let monitor = Monitor::start(deployment.owner_of(&slot));
        let asks_for_tags = |monitor: &Monitor| {
            let commands = monitor.commands_until_quiet();
            commands.iter().flatten().any(|word| word.contains(":t:"))
        };
        proxy.set(Fault::DropReplies);
        assert_eq!(served(&cache, KEY, &origin).await, Served::Source);
        assert!(!asks_for_tags(&monitor));
        proxy.set(Fault::Pass);
        hits_are_back(&cache, "first", &origin, BACK).await;
        assert_eq!(served(&cache, "last", &origin).await, Served::Source);
        assert!(asks_for_tags(&monitor), "Redis was asked, and was not seen to be asked");
    }
}

/// Many at a time, each at a key of its own now and then and else at one that all read: whoever waits for another one's look-up
/// waits no longer than that one.
#[tokio::test(flavor = "multi_thread")]
async fn while_redis_hangs_no_reader_among_many_waits_longer_than_alone_and_hits_are_back_two_seconds_after_it()
 {
    // So long that two of them in one read could not be taken for what a busy machine adds to one.
    let deadline = Duration::from_secs(1);
    for deployment in Deployment::each(&Options::default()) {
        let cache = node_with(RedisConfig::new(deployment.url()).deadline(deadline)).await;
        let origin = Origin::open(1);
        served(&cache, KEY, &origin).await;
        deployment.freeze();
        let frozen = Instant::now();
        let readers: Vec<_> = (0..32)
            .map(|reader| {
                let (cache, origin) = (cache.clone(), origin.clone());
                tokio::spawn(async move {
                    let (mut reads, mut slowest) = (0, Duration::ZERO);
                    while frozen.elapsed() < Duration::from_secs(3) {
                        let key = if reads % 4 == 0 { format!("{reader} {reads}") } else { KEY.to_owned() };
                        let begun = Instant::now();
                        assert_eq!(served(&cache, &key, &origin).await, Served::Source);
                        slowest = slowest.max(begun.elapsed());
                        reads += 1;
                        tokio::task::yield_now().await;
                    }
                    (reads, slowest)
                })
            })
            .collect();
        let mut all = 0;
        for reader in readers {
            let (reads, slowest) = reader.await.unwrap();
            assert!(slowest < deadline + SLACK, "of {reads} reads one took {slowest:?}");
            all += reads;
        }
        // Had each read cost a deadline, there would be a few hundred.
        assert!(all > 2_000, "{all} reads: the breaker never opened");
        deployment.thaw();
        hits_are_back(&cache, KEY, &origin, BACK + SLACK).await;
        assert_eq!(cache.stats().read_errors, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_that_redis_missed_is_kept_respected_and_sent_later() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let (a, b) = (node(&deployment.url()).await, node(&deployment.url()).await);
        let origin = Origin::open(1);
        a.get_with(KEY, origin.loader()).await.unwrap();
        deployment.kill();
        eventually("the node has noticed", Duration::from_secs(5), || async {
            a.invalidate("probe").await.is_err()
        })
        .await;
        origin.write(2);
        let error = a.invalidate(KEY).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert!(a.stats().invalidations_owed >= 1);
        assert_eq!(a.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2));
        // Redis comes back with the old value in it.
        deployment.restart();
        let stop = Instant::now() + Duration::from_secs(5);
        while a.stats().invalidations_owed > 0 {
            let value = a.get_with(KEY, origin.loader()).await.unwrap();
            assert_eq!(value.as_deref(), Some(&2), "this node does not believe Redis about a key it owes");
            assert!(Instant::now() < stop, "the invalidation was never sent");
            tokio::task::yield_now().await;
        }
        eventually("the other node has its connection back", Duration::from_secs(5), || async {
            let read = b.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&2), "the old value is gone from Redis");
            read.served == Served::Shared
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_whose_reply_was_lost_is_sent_again() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let cache = node(&proxy.url()).await;
        let origin = Origin::open(1);
        // Teaches the server the script: else the lost reply would be that it does not know it.
        cache.invalidate(KEY).await.unwrap();
        cache.get_with(KEY, origin.loader()).await.unwrap();
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.unwrap();
        let sequence = slot.replace(":e:k", ":q");
        let number = || {
            let number = deployment.owner_of(&sequence).ask(&["GET", &sequence]);
            number.text().unwrap().parse::<u64>().unwrap()
        };
        let before = number();
        proxy.set(Fault::DropReplies);
        assert_eq!(cache.invalidate(KEY).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(number() > before, "the server has carried it out");
        let sent = number();
        proxy.set(Fault::Pass);
        eventually("nothing is owed", Duration::from_secs(10), || async {
            cache.stats().invalidations_owed == 0
        })
        .await;
        assert!(number() > sent, "it was sent again");
    }
}

/// What a foreign hand leaves in the numbers of a shard: no number, one too large, one of long ago.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_shard_that_are_of_no_use_are_made_anew() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.unwrap();
        for (round, (name, damage)) in (1..).zip([
            ("q", "damaged"),
            ("q", ""),
            ("q", "1.5"),
            ("q", "9223372036854775807"),
            ("q", "1"),
            ("ep", "short"),
            ("ep", "0000000000000000"),
            ("g", "damaged"),
            ("fe", "-1"),
        ]) {
            let origin = Origin::open(round);
            for _ in 0..3 {
                cache.invalidate(KEY).await.unwrap();
            }
            cache.get_with(KEY, origin.loader()).await.unwrap();
            let key = slot.replace(":e:k", &format!(":{name}"));
            deployment.owner_of(&key).ask(&["SET", &key, damage]);
            origin.write(100 + round);
            // One that Redis refuses is owed until it is carried out.
            let _ = cache.invalidate(KEY).await;
            let read = cache.get_with(KEY, origin.loader()).await.unwrap();
            assert_eq!(read.as_deref(), Some(&(100 + round)), "{name} {damage:?}");
            eventually("nothing is owed", Duration::from_secs(10), || async {
                cache.stats().invalidations_owed == 0
            })
            .await;
            cache.invalidate(KEY).await.unwrap_or_else(|error| panic!("{name} {damage:?}: {error}"));
            hits_are_back(&cache, KEY, &origin, Duration::from_secs(5)).await;
        }
    }
}

/// A node that talks to Redis through a proxy, and one that does not; each has read the value that the origin has since replaced.
struct Apart {
    _deployment: Deployment,
    proxy: Front,
    cut_off: Cache<String, u64>,
    other: Cache<String, u64>,
    origin: Origin,
}

impl Apart {
    async fn start(deployment: Deployment, fault: Fault) -> Self {
        let proxy = Front::start(&deployment).await;
        let (cut_off, other) = (node(&proxy.url()).await, node(&deployment.url()).await);
        let origin = Origin::open(1);
        for cache in [&cut_off, &other] {
            assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&1));
        }
        origin.write(2);
        proxy.set(fault);
        Self { _deployment: deployment, proxy, cut_off, other, origin }
    }

    /// An invalidation of the key that has begun, of which nothing came yet.
    async fn begun_invalidation(&self) -> impl Future + '_ {
        let mut invalidation = Box::pin(self.cut_off.invalidate(KEY));
        assert!(futures_util::poll!(&mut invalidation).is_pending());
        invalidation
    }

    async fn until_the_other_sees_it(&self) {
        self.proxy.set(Fault::Pass);
        eventually("the other node sees the new value", Duration::from_secs(10), || async {
            self.other.get_with(KEY, self.origin.loader()).await.unwrap().as_deref() == Some(&2)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_invalidation_happens_all_the_same() {
    for deployment in Deployment::each(&Options::default()) {
        let apart = Apart::start(deployment, Fault::Silent).await;
        drop(apart.begun_invalidation().await);
        apart.until_the_other_sees_it().await;
    }
}

#[test]
fn an_invalidation_that_is_dropped_outside_of_the_runtime_happens_all_the_same() {
    for deployment in Deployment::each(&Options::default()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let apart = runtime.block_on(Apart::start(deployment, Fault::Silent));
        drop(runtime.block_on(apart.begun_invalidation()));
        runtime.block_on(apart.until_the_other_sees_it());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_invalidations_than_are_kept_none_is_lost_for_the_other_nodes() {
    for deployment in Deployment::each(&Options::default()) {
        let apart = Apart::start(deployment, Fault::Refuse).await;
        apart.proxy.cut();
        eventually("the node has noticed", Duration::from_secs(5), || async {
            apart.cut_off.invalidate("probe").await.is_err()
        })
        .await;
        let many: Vec<String> = (0..100_001).map(|number| format!("other {number}")).collect();
        let keys: Vec<&str> = many.iter().map(String::as_str).chain([KEY]).collect();
        apart.cut_off.invalidate_many(&keys).await.unwrap_err();
        apart.proxy.set(Fault::Pass);
        eventually("nothing is owed", Duration::from_secs(20), || async {
            apart.cut_off.stats().invalidations_owed == 0
        })
        .await;
        for cache in [&apart.other, &apart.cut_off] {
            assert_eq!(cache.get_with(KEY, apart.origin.loader()).await.unwrap().as_deref(), Some(&2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_damaged_values_are_misses_and_are_replaced() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let slot = cache.explain(&KEY.to_owned()).await.slot_key.unwrap();
        let spoil: [&[&str]; 5] = [
            &["SET", &slot, "somebody else's value"],
            &["SET", &slot, ""],
            &["SET", &slot, "L\u{2}"],
            // All of the checksum: one byte of it is an `x` now and then.
            &["SETRANGE", &slot, "24", "xxxx"],
            &["HSET", &slot, "a", "hash"],
        ];
        for (round, command) in spoil.into_iter().enumerate() {
            let origin = Origin::open(round as u64);
            if command[0] == "HSET" {
                deployment.ask(&["DEL", &slot]);
            }
            deployment.ask(command);
            let read = cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
            assert_eq!(
                (read.value.as_deref(), read.reason),
                (Some(&(round as u64)), Some(MissReason::Corrupt)),
                "{command:?}"
            );
            assert_eq!(cache.stats().corrupt, round as u64 + 1);
            assert_eq!(served(&cache, KEY, &origin).await, Served::Shared, "{command:?}: it was replaced");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_still_serves_what_it_has() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let origin = Origin::open(1);
        cache.get_with(KEY, origin.loader()).await.unwrap();
        deployment.ask_all(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(served(&cache, KEY, &origin).await, Served::Shared);
        let keys = [KEY.to_owned(), "nowhere".to_owned()];
        let many =
            cache.get_many_with(&keys, async |keys: Vec<String>| Ok(keys.iter().map(|_| Some(7)).collect()));
        let many: Vec<_> = many.await.unwrap().into_iter().map(|value| value.as_deref().copied()).collect();
        assert_eq!(many, [Some(1), Some(7)], "what is there is not loaded, alone or among others");
        assert_eq!(served(&cache, "other", &origin).await, Served::Source);
        cache.invalidate(KEY).await.expect("forgetting needs no memory");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_costs_misses_and_nothing_else() {
    for deployment in Deployment::each(&Options::default()) {
        let cache = node(&deployment.url()).await;
        let origin = Origin::open(1);
        cache.get_with(KEY, origin.loader()).await.unwrap();
        for command in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"]] {
            deployment.ask_all(command);
            hits_are_back(&cache, KEY, &origin, Duration::from_secs(5)).await;
            // The flushed epoch cost the fill under it, once.
            assert!(origin.reads() <= 3, "{command:?}: {} loads", origin.reads());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_was_not_answered_in_time_leaves_no_lease_for_which_others_wait() {
    for deployment in Deployment::each(&Options::default()) {
        for (key, is_batch) in [("alone", false), ("among others", true)] {
            let proxy = Front::start(&deployment).await;
            let cache = node(&proxy.url()).await;
            // Teaches the server the script that gives a lease back.
            let fails = async || Err(larder::Error::new(ErrorKind::Source, "on fire"));
            cache.get_with(key, fails).await.unwrap_err();
            let slot = cache.explain(&key.to_owned()).await.slot_key.unwrap();
            proxy.set(Fault::DropReplies);
            if is_batch {
                let load = async |keys: Vec<String>| Ok(keys.iter().map(|_| Some(1)).collect());
                cache.get_many_with(&[key.to_owned()], load).await.unwrap();
            } else {
                assert_eq!(served(&cache, key, &Origin::open(1)).await, Served::Source);
            }
            // Half of the time that a lease has.
            eventually("the lease is given back", Duration::from_millis(1_500), || async {
                deployment.owner_of(&slot).ask(&["EXISTS", &slot]) == Reply::Int(0)
            })
            .await;
        }
    }
}

/// A node that dies with a lease in its hand holds the others up for the lease's few seconds, not for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_a_dead_node_runs_out() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let (dying, other) = (node(&proxy.url()).await, node(&deployment.url()).await);
        let held = Origin::held(1);
        let reader = tokio::spawn({
            let load = held.loader();
            async move { dying.get_with(KEY, load).await }
        });
        held.until_reading(1).await;
        proxy.set(Fault::Silent);
        let begun = Instant::now();
        let value = other.get_with(KEY, Origin::open(2).loader()).await.unwrap();
        assert_eq!(value.as_deref(), Some(&2));
        assert!(begun.elapsed() < Duration::from_secs(5), "waited {:?} for a dead node", begun.elapsed());
        reader.abort();
    }
}
