//! Writers and readers on three nodes, with faults on the way: no read that begins after an acknowledged invalidation may
//! return what was there before, on the same node never, elsewhere within the documented bound.

mod behind;
mod cluster;
mod shop;
mod sides;
mod watched;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use larder::{
    Cache,
    cache::{CacheBuilder, Consistency, Policy},
    redis::{Breaker, Redis, RedisConfig},
};
use larder_testkit::{
    history::{History, Verdict},
    lasting,
    proxy::{Fault, Front, Proxy},
    redis::{Deployment, Options, Server},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::{JoinSet, block_in_place};

use self::sides::{judge_both, sides_over};
use crate::setup::{Backend, LONG};

const NODES: usize = 3;
const KEYS: usize = 24;
const READERS_ON_EACH_NODE: usize = 3;
/// Several, because a strict write waits for a silent node until its time runs out.
const WRITERS_ON_EACH_NODE: usize = 4;
const BOUND: Duration = Duration::from_millis(500);
/// What a busy machine may add between a look at a clock and the next step.
const SLACK: Duration = Duration::from_millis(500);

/// A database of numbers that only grow, whose reads take a moment.
struct World {
    numbers: [AtomicU64; KEYS],
    history: History,
    /// How often each node was asked for a value.
    asked: [AtomicU64; NODES],
    /// Of a hundred writes that invalidate so many do it by a purge, which concerns every shard.
    purges_percent: u32,
    /// Whether writers wait.
    is_held: AtomicBool,
    is_over: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        Self::with_purges(30)
    }

    fn with_purges(purges_percent: u32) -> Arc<Self> {
        let numbers = std::array::from_fn(|_| AtomicU64::new(1));
        let history = History::new(KEYS);
        let (is_held, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { numbers, history, asked: Default::default(), purges_percent, is_held, is_over })
    }

    async fn read(self: Arc<Self>, key: usize, pause: Duration) -> larder::Result<Option<u64>> {
        let number = self.numbers[key].load(SeqCst);
        // Between the look and the answer: here an invalidation must be able to come.
        lasting(pause).await;
        Ok(Some(number))
    }
}

async fn read_on_and_on(world: Arc<World>, cache: Cache<String, u64>, node: usize, mut dice: StdRng) {
    while !world.is_over.load(Relaxed) {
        let key = dice.random_range(0..KEYS);
        let pause = Duration::from_micros(dice.random_range(0..3_000));
        let floor = world.history.floor(key, node);
        let (text, load) = (format!("k{key}"), world.clone().read(key, pause));
        world.asked[node].fetch_add(1, Relaxed);
        if let Ok(Some(number)) = cache.get_with(&*text, || load).await {
            world.history.has_read(floor, *number);
        }
        tokio::task::yield_now().await;
    }
}

async fn write_on_and_on(world: Arc<World>, cache: Cache<String, u64>, node: usize, mut dice: StdRng) {
    while !world.is_over.load(Relaxed) {
        lasting(Duration::from_micros(dice.random_range(1_000..8_000))).await;
        if world.is_held.load(Relaxed) {
            continue;
        }
        let key = dice.random_range(0..KEYS);
        let text = format!("k{key}");
        let grow = || world.numbers[key].fetch_add(1, SeqCst) + 1;
        let pause = Duration::from_micros(dice.random_range(0..2_000));
        let acknowledged = if dice.random_bool(0.25) {
            let write = async { Ok(grow()) };
            match cache.guarded_write(&[&*text], write).await {
                Ok((number, Ok(_))) => Some(number),
                _ => None,
            }
        } else if dice.random_bool(0.5) {
            let mut written = None;
            let write = async {
                let number = grow();
                written = Some(number);
                // Until the answer comes, others may write the same key.
                lasting(pause).await;
                Ok(Some(number))
            };
            let acknowledged = cache.put_with(&text, write).await.is_ok();
            written.filter(|_| acknowledged)
        } else {
            let number = grow();
            let forgotten = match dice.random_range(0..100) < world.purges_percent {
                true => purge(&cache, &text, dice.random_bool(0.2)).await,
                false => cache.invalidate(&*text).await.map(drop),
            };
            forgotten.ok().map(|()| number)
        };
        if let Some(number) = acknowledged {
            world.history.acknowledged(key, number, node);
        }
    }
}

/// Makes every node forget the key by its tag, or by a pattern that matches it.
async fn purge(cache: &Cache<String, u64>, key: &str, by_pattern: bool) -> larder::Result<()> {
    match by_pattern {
        true => cache.invalidate_pattern(&format!("{key}*")).await.map(drop),
        false => cache.invalidate_tag(&tag_of(key)).await.map(drop),
    }
}

fn tag_of(key: &str) -> String {
    format!("tag of {key}")
}

async fn cache_over(url: &str, consistency: Consistency) -> Cache<String, u64> {
    named_cache_over("history", url, consistency).await
}

async fn named_cache_over(name: &str, url: &str, consistency: Consistency) -> Cache<String, u64> {
    builder_over(name, url, consistency).await.build().unwrap()
}

async fn builder_over(name: &str, url: &str, consistency: Consistency) -> CacheBuilder<String, u64> {
    builder_on(name, &Redis::connect(url).await.unwrap(), consistency)
}

fn builder_on(name: &str, redis: &Redis, consistency: Consistency) -> CacheBuilder<String, u64> {
    let policy = Policy::ttl(LONG).near_ttl(LONG);
    let builder = Cache::builder(name).redis(redis).policy(policy).consistency(consistency);
    builder.tags(|key: &String, _| vec![tag_of(key)])
}

/// Nodes of a cache whose hot keys stand in several shards, not all of which read them in the same one. In a history every key
/// is hot.
async fn nodes_with_replicas(name: &str, url: &str, consistency: Consistency) -> Vec<Cache<String, u64>> {
    const KEY: &str = "k0";
    let (mut nodes, mut slots): (Vec<Cache<String, u64>>, _) = (Vec::new(), BTreeSet::new());
    while nodes.len() < NODES {
        let node = builder_over(name, url, consistency).await.hot_replicas(3).build().unwrap();
        for _ in 0..100 {
            node.get_with(KEY, || async { Ok(Some(1)) }).await.unwrap();
        }
        let is_new = slots.insert(node.explain(&KEY.to_owned()).await.slot_key);
        if nodes.len() + 1 < NODES || slots.len() > 1 || is_new {
            nodes.push(node);
        }
    }
    nodes[0].clear().await.unwrap();
    assert!(slots.len() > 1, "{slots:?}");
    nodes
}

/// Runs all nodes until `meanwhile` ends, and judges what they read.
async fn judge(nodes: &[Cache<String, u64>], seed: u64, meanwhile: impl Future<Output = ()>) -> Verdict {
    judge_in(&World::new(), nodes, seed, meanwhile).await
}

async fn judge_in(
    world: &Arc<World>,
    nodes: &[Cache<String, u64>],
    seed: u64,
    meanwhile: impl Future<Output = ()>,
) -> Verdict {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut tasks = JoinSet::new();
    let asked = |node: &Cache<String, u64>| node.stats().reads() + node.stats().read_errors;
    let before: Vec<u64> = nodes.iter().map(asked).collect();
    let copies = |node: &Cache<String, u64>| (node.stats().near_hits, node.stats().shared_hits);
    let copies_before: Vec<(u64, u64)> = nodes.iter().map(copies).collect();
    for (node, cache) in nodes.iter().enumerate() {
        for _ in 0..READERS_ON_EACH_NODE {
            let dice = StdRng::from_rng(&mut dice);
            tasks.spawn(read_on_and_on(world.clone(), cache.clone(), node, dice));
        }
        for _ in 0..WRITERS_ON_EACH_NODE {
            let dice = StdRng::from_rng(&mut dice);
            tasks.spawn(write_on_and_on(world.clone(), cache.clone(), node, dice));
        }
    }
    meanwhile.await;
    world.is_over.store(true, Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for ((counted, before), node) in world.asked.iter().zip(before).zip(nodes) {
        let stats = node.stats();
        assert_eq!(asked(node) - before, counted.load(Relaxed), "each read is counted once");
        assert_eq!(stats.misses.iter().sum::<u64>(), stats.source_reads, "each miss has a reason");
    }
    for ((near, shared), node) in copies_before.into_iter().zip(nodes) {
        let (near, shared) = (copies(node).0 - near, copies(node).1 - shared);
        // What the source answers shows nothing.
        assert!(near > 20 && shared > 20, "{near} near copies and {shared} of Redis were served");
    }
    let verdict = world.history.verdict();
    assert!(verdict.reads > 200 && verdict.writes > 20, "something must have happened: {verdict:?}");
    verdict
}

fn check(verdict: Verdict, consistency: Consistency, what: &str) {
    verdict.say(&format!("{what}, {consistency:?}"));
    assert_eq!(verdict.stale_here, 0, "{what}, {consistency:?}: on the same node: {verdict:?}");
    match consistency {
        Consistency::Strict(_) => assert_eq!(verdict.stale_elsewhere, 0, "{what}: {verdict:?}"),
        _ => assert!(verdict.oldest_elsewhere <= BOUND + SLACK, "{what}: {verdict:?}"),
    }
}

const MODES: [Consistency; 2] = [Consistency::Bounded(BOUND), Consistency::Strict(BOUND)];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation() {
    for backend in Backend::SHARED {
        for consistency in MODES {
            let url = match backend {
                Backend::Cluster => larder_testkit::redis::cluster(),
                _ => larder_testkit::redis::single(),
            };
            let mut nodes = Vec::new();
            for _ in 0..NODES {
                nodes.push(cache_over(&url, consistency).await);
            }
            let verdict = judge(&nodes, 1, lasting(Duration::from_secs(2))).await;
            check(verdict, consistency, &format!("{backend:?}"));
            nodes[0].clear().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_of_a_key_that_is_hot() {
    for url in [larder_testkit::redis::single(), larder_testkit::redis::cluster()] {
        for consistency in MODES {
            let nodes = nodes_with_replicas("history-hot", &url, consistency).await;
            let verdict = judge(&nodes, 4, lasting(Duration::from_secs(2))).await;
            check(verdict, consistency, "hot keys");
            nodes[0].clear().await.unwrap();
        }
    }
}

/// Makes trouble on the way of one node after the other to one server or to all, for so long. In the end all is well.
async fn fail_now_and_then(fronts: &[Front], dice: &mut StdRng, lasts: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        let proxies = fronts[dice.random_range(0..fronts.len())].proxies();
        let first = dice.random_range(0..proxies.len());
        // One way to one server, or all the ways of the node.
        let proxies = if dice.random() { proxies } else { &proxies[first..=first] };
        let (fault, is_cut) = match dice.random_range(0..5) {
            0 => (Fault::Pass, true),
            1 => (Fault::Silent, false),
            2 => (Fault::DropReplies, false),
            3 => (Fault::Delay(Duration::from_millis(dice.random_range(1..60))), false),
            _ => (Fault::Refuse, true),
        };
        for proxy in proxies {
            proxy.set(fault);
            if is_cut {
                proxy.cut();
            }
        }
        lasting(Duration::from_millis(dice.random_range(20..400))).await;
        proxies.iter().for_each(|proxy| proxy.set(Fault::Pass));
    }
}

/// Each node has a way of its own to each server, which fails now and then, for itself or by the server's own end.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_while_the_network_fails() {
    for deployment in Deployment::each(&Options::default()) {
        let mut fronts = Vec::new();
        for _ in 0..NODES {
            fronts.push(Front::start(&deployment).await);
        }
        let ways: Vec<String> = fronts.iter().map(Front::url).collect();
        // While one way fails a purge is owed to the shards behind it, and what is owed is not read from Redis: few of them.
        let sides = sides_over(&ways, || World::with_purges(2)).await;
        let mut dice = StdRng::seed_from_u64(2);
        let trouble = fail_now_and_then(&fronts, &mut dice, Duration::from_secs(6));
        judge_both(&sides, 2, &format!("network, {}", deployment.kind()), trouble).await;
    }
}

/// What the judging is worth: nodes that promise nothing are found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_a_node_that_serves_what_is_stale_is_told() {
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let far = format!("redis://127.0.0.1:{}", proxy.port());
    // Its writers make it forget what they write. A breaker that opens would let them do so without a pause.
    let breaker = Breaker::default().minimum_calls(u32::MAX).failures_in_a_row(u32::MAX);
    let patient = RedisConfig::new(far).deadline(BOUND / 4).breaker(breaker);
    let far = builder_on("history", &Redis::connect(patient).await.unwrap(), Consistency::Local);
    let nodes = [far.build().unwrap(), cache_over(&server.url(), Consistency::Local).await];
    let trouble = async {
        lasting(Duration::from_secs(1)).await;
        proxy.set(Fault::Silent);
        lasting(BOUND * 2).await;
        proxy.set(Fault::Pass);
        lasting(Duration::from_secs(1)).await;
    };
    // Without purges, for which it would forget everything.
    let verdict = judge_in(&World::with_purges(0), &nodes, 5, trouble).await;
    assert!(verdict.stale_elsewhere > 0 && verdict.oldest_elsewhere > BOUND / 2, "{verdict:?}");
}

/// A server that comes back with what it had on its disk has forgotten invalidations that it had acknowledged. Of a cluster it
/// is one of them, and then all.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_what_a_restarted_server_brings_back_from_its_disk() {
    for deployment in Deployment::each(&Options::default()) {
        let sides = sides_over(&vec![deployment.url(); NODES], World::new).await;
        // A server of a cluster takes writes two seconds after its start at the soonest.
        let rounds = if deployment.servers().len() == 1 { 4 } else { 2 };
        let trouble = async {
            for round in 1..=rounds {
                lasting(Duration::from_millis(700)).await;
                deployment.ask_all(&["SAVE"]);
                lasting(Duration::from_millis(300)).await;
                block_in_place(|| {
                    if round < rounds {
                        deployment.restart_one(0);
                    } else {
                        deployment.restart();
                    }
                });
            }
            lasting(Duration::from_millis(700)).await;
        };
        judge_both(&sides, 3, &format!("an old snapshot, {}", deployment.kind()), trouble).await;
    }
}
