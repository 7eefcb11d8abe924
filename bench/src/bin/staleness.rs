//! Stale reads after an acknowledged invalidation: writers and readers on three nodes, the same load for Larder and for
//! what people put together by hand.
//!
//! usage: `staleness quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::{
    env,
    error::Error,
    process::Command,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use hitbox::{Extractor, policy::PolicyConfig};
use hitbox_backend::Backend;
use hitbox_fn::{Arg, Args, FnExtractor, cached};
use hitbox_redis::{ConnectionMode, RedisBackend};
use larder::{Cache, Policy, cache::Consistency, redis::Redis};
use larder_bench::contender::peers;
use larder_testkit::history::{History, Verdict};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use tokio::{task::JoinSet, time::sleep};

const NODES: usize = 3;
const KEYS: usize = 50;
const READERS: usize = 4;
const TTL: Duration = Duration::from_secs(60);

/// One node's way to read and to invalidate.
#[derive(Clone)]
enum Node {
    Larder(Cache<String, u64>),
    /// Cache-aside by hand: `GET`, on a miss load and `SET … EX`; `DEL` after a write.
    ByHand(MultiplexedConnection),
    /// A function that hitbox remembers; its key is removed after a write.
    Hitbox(hitbox_fn::Cache<RedisBackend>),
}

const REMEMBERED: &str = "number";

#[cached(prefix = "number", skip(_world, _takes))]
async fn number(key: u64, _world: Arc<World>, _takes: Duration) -> u64 {
    _world.read(key as usize, _takes).await
}

/// A database of numbers that only grow.
struct World {
    numbers: [AtomicU64; KEYS],
    history: History,
    is_over: AtomicBool,
}

impl World {
    async fn read(self: Arc<Self>, key: usize, takes: Duration) -> u64 {
        let number = self.numbers[key].load(SeqCst);
        sleep(takes).await;
        number
    }
}

impl Node {
    async fn read(&mut self, world: &Arc<World>, key: usize, takes: Duration) -> Option<u64> {
        let (text, load) = (format!("k{key}"), world.clone().read(key, takes));
        match self {
            Self::Larder(cache) => {
                let read = cache.get_with(&*text, async move || Ok(Some(load.await))).await;
                read.ok()?.as_deref().copied()
            }
            Self::ByHand(connection) => {
                if let Some(number) = connection.get::<_, Option<u64>>(&text).await.ok()? {
                    return Some(number);
                }
                let number = load.await;
                connection.set_ex::<_, _, ()>(&text, number, TTL.as_secs()).await.ok()?;
                Some(number)
            }
            Self::Hitbox(cache) => Some(number(key as u64, world.clone(), takes).cache(&*cache).await),
        }
    }

    async fn invalidate(&mut self, key: usize) -> bool {
        let text = format!("k{key}");
        match self {
            Self::Larder(cache) => cache.invalidate(&*text).await.is_ok(),
            Self::ByHand(connection) => connection.del::<_, ()>(&text).await.is_ok(),
            Self::Hitbox(cache) => {
                let parts = FnExtractor::new(REMEMBERED).get(Args((Arg::new("key", key as u64),))).await;
                cache.backend().remove(&parts.into_cache_key().1).await.is_ok()
            }
        }
    }
}

/// The same sequence for every contender.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let lasts =
        Duration::from_secs(if arguments.first().is_some_and(|mode| mode == "full") { 15 } else { 3 });
    let url = arguments.get(1).ok_or("a Redis URL is missing")?.as_str();
    let bound = Duration::from_secs(1);
    for (name, consistency) in
        [("Larder bounded", Consistency::Bounded(bound)), ("Larder strict", Consistency::Strict(bound))]
    {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(larder(url, consistency).await?);
        }
        report(name, judge(nodes, lasts).await);
    }
    for (name, tracked) in [("cache-aside by hand", false), ("redis-rs client-side caching", true)] {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(by_hand(url, tracked).await?);
        }
        nodes[0].flush().await?;
        report(name, judge(nodes, lasts).await);
    }
    let nodes = (0..NODES).map(|_| hitbox(url)).collect::<Result<_, _>>()?;
    report("hitbox", judge(nodes, lasts).await);
    node_helper(url, lasts)
}

async fn larder(url: &str, consistency: Consistency) -> Result<Node, Box<dyn Error>> {
    let redis = Redis::connect(url).await?;
    let policy = Policy::ttl(TTL).near_ttl(TTL);
    let cache = Cache::builder("staleness").redis(&redis).policy(policy).consistency(consistency);
    Ok(Node::Larder(cache.build()?))
}

async fn by_hand(url: &str, tracked: bool) -> Result<Node, Box<dyn Error>> {
    let client = Client::open(format!("{url}/?protocol=resp3"))?;
    let mut config = AsyncConnectionConfig::new();
    if tracked {
        config = config.set_cache_config(redis::caching::CacheConfig::default());
    }
    Ok(Node::ByHand(client.get_multiplexed_async_connection_with_config(&config).await?))
}

fn hitbox(url: &str) -> Result<Node, Box<dyn Error>> {
    let backend = RedisBackend::builder().connection(ConnectionMode::single(url)).build()?;
    let cache = hitbox_fn::Cache::builder().backend(backend);
    Ok(Node::Hitbox(cache.policy(PolicyConfig::builder().ttl(TTL).build()).build()))
}

impl Node {
    async fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        if let Self::ByHand(connection) = self {
            redis::cmd("FLUSHALL").query_async::<()>(connection).await?;
        }
        Ok(())
    }
}

async fn judge(nodes: Vec<Node>, lasts: Duration) -> Verdict {
    let numbers = std::array::from_fn(|_| AtomicU64::new(1));
    let world = Arc::new(World { numbers, history: History::new(KEYS), is_over: AtomicBool::new(false) });
    let mut tasks = JoinSet::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for (index, node) in nodes.into_iter().enumerate() {
        for reader in 0..=READERS {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (world, node, dice) = (world.clone(), node.clone(), Dice(seed | 1));
            match reader {
                READERS => tasks.spawn(write_on_and_on(world, node, index, dice)),
                _ => tasks.spawn(read_on_and_on(world, node, index, dice)),
            };
        }
    }
    sleep(lasts).await;
    world.is_over.store(true, Relaxed);
    while tasks.join_next().await.is_some() {}
    world.history.verdict()
}

async fn read_on_and_on(world: Arc<World>, mut node: Node, index: usize, mut dice: Dice) {
    while !world.is_over.load(Relaxed) {
        let (key, takes) = (dice.below(KEYS as u64) as usize, Duration::from_micros(dice.below(3_000)));
        let floor = world.history.floor(key, index);
        if let Some(number) = node.read(&world, key, takes).await {
            world.history.has_read(floor, number);
        }
        // A pace, so that a contender with faster hits does not get a larger share of them into the count.
        sleep(Duration::from_millis(1)).await;
    }
}

async fn write_on_and_on(world: Arc<World>, mut node: Node, index: usize, mut dice: Dice) {
    while !world.is_over.load(Relaxed) {
        let key = dice.below(KEYS as u64) as usize;
        let number = world.numbers[key].fetch_add(1, SeqCst) + 1;
        if node.invalidate(key).await {
            world.history.acknowledged(key, number, index);
        }
        sleep(Duration::from_micros(2_000 + dice.below(6_000))).await;
    }
}

fn report(name: &str, verdict: Verdict) {
    let oldest = verdict.oldest_here.max(verdict.oldest_elsewhere).as_secs_f64() * 1e3;
    println!("staleness,{name}: reads,{},", verdict.reads);
    println!("staleness,{name}: stale reads on the node that invalidated,{},", verdict.stale_here);
    println!("staleness,{name}: stale reads on other nodes,{},", verdict.stale_elsewhere);
    println!("staleness,{name}: stale in a million,{:.0},", verdict.stale_per_million());
    println!("staleness,{name}: the longest after an acknowledgement,{oldest:.1},ms");
}

/// The same load in JavaScript over a helper with two tiers; it prints lines of the same form.
fn node_helper(url: &str, lasts: Duration) -> Result<(), Box<dyn Error>> {
    let arguments = [url.to_owned(), lasts.as_secs().to_string()];
    let output = Command::new("node").current_dir(peers()).arg("staleness.js").args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
