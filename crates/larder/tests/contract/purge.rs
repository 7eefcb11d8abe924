//! Purges by pattern: in a cluster whose slots are on the move, and without Redis.

use std::time::{Duration, Instant};

use bson::doc;
use larder::{
    Cache, Error, ErrorKind,
    cache::{MAX_PATTERN_BYTES, ReadOptions, Served, TierState},
    document::{Database, Id, IdType, Schema},
    redis::{Breaker, Redis, RedisConfig},
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Proxy},
    redis::{Cluster, Deployment, Options, Reply, Server},
};
use tokio::task::block_in_place;

use crate::setup::{Backend, Origin, Setup, lasting};

const NAME: &str = "purged";
const KEYS: usize = 200;
/// Enough for a look through them to take longer than a slot on its way.
const STRANGERS: usize = 600_000;
/// As many of them as a server can take at once without being missed by the others.
const AT_ONCE: usize = 20_000;

async fn node(cluster: &Cluster) -> Cache<String, u64> {
    let redis = Redis::connect(cluster.url().as_str()).await.unwrap();
    let policy = lasting().stale_if_error(Duration::from_secs(60));
    Cache::builder(NAME).policy(policy).redis(&redis).build().unwrap()
}

fn key(number: usize) -> String {
    format!("k{number}")
}

/// The hash tag of a shard.
fn shard(number: u16) -> String {
    format!("{{larder.{NAME}.{number:02}}}")
}

async fn fill(cache: &Cache<String, u64>, origin: &Origin) {
    for number in 0..KEYS {
        assert_eq!(cache.get_with(&key(number), origin.loader()).await.unwrap().as_deref(), Some(&1));
    }
}

fn slots_of(server: &Server) -> Vec<String> {
    let Reply::Array(keys) = server.ask(&["KEYS", &format!("{{larder.{NAME}.*}}:v1:e:*")]) else {
        panic!("KEYS is a list")
    };
    keys.iter().filter_map(Reply::text).map(str::to_owned).collect()
}

/// Fills the server of a shard with keys that are nobody's.
fn settle_strangers(server: &Server, shard: &str) {
    let strangers = "for i = 1, ARGV[1] do redis.call('SET', KEYS[1] .. i, '') end";
    for some in 0..STRANGERS / AT_ONCE {
        let prefix = format!("{shard}stranger:{some}:");
        assert_eq!(server.ask(&["EVAL", strangers, "1", &prefix, &AT_ONCE.to_string()]), Reply::Nil);
    }
}

/// How many steps through the keys of a server there have been.
fn scans(server: &Server) -> u64 {
    let Reply::Text(stats) = server.ask(&["INFO", "commandstats"]) else { panic!("INFO is a text") };
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("calls are counted"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_misses_no_key_of_a_shard_that_moves_while_it_is_looked_for() {
    let cluster = Cluster::start(3, false);
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    let origin = Origin::open(1);
    fill(&a, &origin).await;
    fill(&b, &origin).await;
    // The server of the first shard is looked through first.
    let (first, _) = cluster.place_of(&shard(0));
    let mut places = (0..16).map(|number| cluster.place_of(&shard(number)));
    let (last, slot) = places.rfind(|(place, _)| *place != first).expect("there are three servers");
    block_in_place(|| settle_strangers(&cluster.primaries()[first], &shard(0)));

    origin.write(2);
    let purge = tokio::spawn({
        let a = a.clone();
        async move { a.invalidate_pattern("k*").await }
    });
    let server = |place: usize| &cluster.primaries()[place];
    eventually("the purge looks", Duration::from_secs(10), || async { scans(server(first)) > 0 }).await;
    // The other node makes a copy of a value that is not there any more when its turn comes.
    let evicted = slots_of(server(last)).pop().expect("every server has some");
    let (_, copied) = evicted.rsplit_once(':').expect("the key is the end of the slot");
    eventually("the other node has heard", Duration::from_secs(10), || async {
        let explain = b.explain(&copied.to_owned()).await;
        explain.near == TierState::Empty
    })
    .await;
    assert_eq!(b.get_with(copied, origin.loader()).await.unwrap().as_deref(), Some(&1));
    assert_eq!(server(last).ask(&["DEL", &evicted]), Reply::Int(1));
    block_in_place(|| cluster.begin_move(slot, last, first).finish());
    assert_eq!(scans(server(last)), 0, "the shard was away before it was looked for where it had been");
    assert!(purge.await.unwrap().unwrap() >= KEYS as u64 - 1);

    for place in 0..3 {
        assert_eq!(slots_of(server(place)), [""; 0], "server {place}");
    }
    for number in 0..KEYS {
        assert_eq!(a.get_with(&key(number), origin.loader()).await.unwrap().as_deref(), Some(&2));
        eventually("the other node has heard", Duration::from_secs(10), || async {
            b.get_with(&key(number), origin.loader()).await.unwrap().as_deref() == Some(&2)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_from_before_a_pattern_fills_nothing_where_was_looked_already() {
    let cluster = Cluster::start(3, false);
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    // The servers are looked through in the order of their first shards.
    let places: Vec<usize> = (0..16).map(|number| cluster.place_of(&shard(number)).0).collect();
    let first = places[0];
    let second = *places.iter().find(|place| **place != first).expect("there are three servers");
    let number = places.iter().position(|place| ![first, second].contains(place)).expect("there is a third");
    let last = places[number];
    block_in_place(|| settle_strangers(&cluster.primaries()[last], &shard(number as u16)));
    let mut key = String::new();
    for number in 0..KEYS {
        key = format!("k{number}");
        let slot = a.explain(&key).await.slot_key.expect("there is a Redis");
        if cluster.place_of(&slot).0 == first {
            break;
        }
    }
    let slow = Origin::held(1);
    let reader = tokio::spawn({
        let (b, key, load) = (b.clone(), key.clone(), slow.loader());
        async move { b.get_with(&key, load).await }
    });
    slow.until_reading(1).await;
    // The lease would be found, and the fill refused for want of it.
    let purge = tokio::spawn({
        let a = a.clone();
        async move { a.expire_tags(&["none"]).await }
    });
    let server = |place: usize| &cluster.primaries()[place];
    eventually("the last server is looked through", Duration::from_secs(10), || async {
        scans(server(last)) > 0
    })
    .await;
    assert!(!purge.is_finished());
    slow.let_go(1);
    reader.await.unwrap().unwrap();
    assert_eq!(slots_of(server(first)), [""; 0], "the load began before the purge");
    assert_eq!(purge.await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_not_said_to_be_purged_while_a_shard_is_at_two_places() {
    let cluster = Cluster::start(3, false);
    let cache = node(&cluster).await;
    let origin = Origin::open(1);
    fill(&cache, &origin).await;
    let (place, slot) = cluster.place_of(&shard(3));
    let moving = block_in_place(|| cluster.begin_move(slot, place, (place + 1) % 3));
    assert!(block_in_place(|| moving.step()));
    let error = cache.invalidate_pattern("k*").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    block_in_place(|| moving.finish());
    cache.invalidate_pattern("k*").await.unwrap();
    for server in cluster.primaries() {
        assert_eq!(slots_of(server), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_one_step_are_purged_at_the_same_time() {
    const TRIP: Duration = Duration::from_millis(150);
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let patience = Duration::from_secs(5);
    let config = RedisConfig::new(url).deadline(patience).breaker(Breaker::default().slow_call(patience));
    let redis = Redis::connect(config).await.unwrap();
    let policy = lasting().stale_if_error(Duration::from_secs(60));
    let builder = Cache::<String, u64>::builder(NAME).policy(policy).redis(&redis);
    let cache = builder.tags(|_, _| vec!["tag".to_owned()]).build().unwrap();
    let origin = Origin::open(1);
    for way in ["a hard purge", "a soft purge of a tag", "a soft purge"] {
        proxy.set(Fault::Pass);
        fill(&cache, &origin).await;
        proxy.set(Fault::Delay(TRIP));
        let begun = Instant::now();
        let purged = match way {
            "a hard purge" => cache.invalidate_pattern("k*").await,
            "a soft purge" => cache.expire_pattern("k*").await,
            _ => cache.expire_tags(&["tag"]).await,
        };
        assert_eq!(purged.unwrap(), KEYS as u64, "{way}");
        // Sixteen shards one after the other take longer than that for their keys alone.
        assert!(begun.elapsed() < TRIP * 16, "{way} took {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_looked_for_in_bounded_steps_and_never_at_once() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let cache = Cache::<String, u64>::builder(NAME).policy(lasting()).redis(&redis).build().unwrap();
        fill(&cache, &Origin::open(1)).await;
        // More than one step has room for.
        let strangers = "for i = 1, 2000 do redis.call('SET', KEYS[1] .. i, '') end";
        let prefix = format!("{}stranger:", shard(0));
        deployment.owner_of(&prefix).ask(&["EVAL", strangers, "1", &prefix]);
        cache.invalidate_pattern("k*").await.unwrap();
        let calls = |command: &str| -> usize {
            let named = format!("cmdstat_{command}:calls=");
            let told = deployment.ask_all(&["INFO", "commandstats"]);
            let counts = told.iter().filter_map(|told| {
                let line = told.text()?.lines().find_map(|line| line.strip_prefix(&named))?;
                line.split(',').next()?.parse::<usize>().ok()
            });
            counts.sum()
        };
        assert_eq!(calls("keys"), 0, "it would hold up everybody else");
        assert!(calls("scan") >= 4, "{} steps", calls("scan"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_pattern_makes_stale_what_it_matches_and_nothing_else() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting().stale_if_error(Duration::from_secs(60))).await;
        let origin = Origin::open(1);
        for key in ["a:1", "a:2", "b:1"] {
            cache.get_with(key, origin.loader()).await.unwrap();
        }
        assert_eq!(cache.expire_pattern("a:*").await.unwrap(), 2, "{backend:?}");
        let fails = || async { Err(Error::new(ErrorKind::Source, "away")) };
        for (key, stale, served) in
            [("a:1", true, None), ("a:2", true, None), ("b:1", false, Some(Served::Source))]
        {
            let read = cache.read_with(key, &ReadOptions::default(), fails).await.unwrap();
            assert_eq!((read.value.as_deref(), read.stale), (Some(&1), stale), "{backend:?}: {key}");
            assert_ne!(Some(read.served), served, "{backend:?}: {key}");
        }
        origin.write(2);
        for (key, number) in [("a:1", 2), ("b:1", 1)] {
            let read = cache.get_with(key, origin.loader()).await.unwrap();
            assert_eq!(read.as_deref(), Some(&number), "{backend:?}: {key}");
        }
        assert_eq!(cache.expire_pattern("").await.unwrap_err().field(), Some("pattern"));
        let bare = Setup::new(backend).node(lasting()).await;
        assert_eq!(bare.expire_pattern("*").await.unwrap_err().field(), Some("policy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_pattern_takes_what_it_matches_and_what_is_under_way() {
    let cache = Setup::new(Backend::Memory).node(lasting()).await;
    let origin = Origin::open(1);
    for key in ["a:1", "a:2", "b:1"] {
        cache.get_with(key, origin.loader()).await.unwrap();
    }
    let slow = Origin::held(1);
    let reader = tokio::spawn({
        let (cache, load) = (cache.clone(), slow.loader());
        async move { cache.get_with("a:new", load).await }
    });
    slow.until_reading(1).await;
    assert_eq!(cache.invalidate_pattern("a:*").await.unwrap(), 2);
    origin.write(2);
    slow.let_go(1);
    assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1), "who waited has the answer");
    for (key, number) in [("a:1", 2), ("a:2", 2), ("a:new", 2), ("b:1", 1)] {
        assert_eq!(cache.get_with(key, origin.loader()).await.unwrap().as_deref(), Some(&number), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_pattern_takes_the_parts_of_documents_along() {
    let database = Database::sqlite_in_memory().await.unwrap();
    let schema = Schema::new("things", IdType::String).strict(false);
    let policy = lasting().stale_while_revalidate(Duration::from_secs(60));
    let things = database.collection(schema).policy(policy).partial("card", &["name"]).build().unwrap();
    let id = |id: &str| Id::String(id.to_owned());
    for one in ["a:1", "b:1"] {
        things.insert(doc! { "_id": one, "name": "old" }).await.unwrap();
        things.read_partial("card", &id(one), &ReadOptions::default()).await.unwrap();
    }
    for softly in [false, true] {
        match softly {
            false => things.invalidate_pattern("a:*").await.unwrap(),
            true => things.expire_pattern("a:*").await.unwrap(),
        };
        for (one, is_loaded) in [("a:1", true), ("b:1", false)] {
            let read = things.read_partial("card", &id(one), &ReadOptions::default()).await.unwrap();
            assert_eq!(read.served == Served::Source, is_loaded, "{one}, softly: {softly}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_counts_each_key_that_had_an_entry_once() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let policy = lasting().stale_if_error(Duration::from_secs(60));
        let database = Database::sqlite_in_memory().await.unwrap();
        let builder = database.collection(Schema::new(&setup.name, IdType::Int).strict(false));
        let builder = builder.policy(policy.clone()).partial("card", &["name"]).partial("price", &["price"]);
        let things = match backend.connect().await {
            Some(redis) => builder.redis(&redis).build().unwrap(),
            None => builder.build().unwrap(),
        };
        let id = Id::Int(1);
        things.insert(doc! { "_id": 1_i64, "name": "cup", "price": 2 }).await.unwrap();
        for part in ["card", "price"] {
            things.read_partial(part, &id, &ReadOptions::default()).await.unwrap();
        }
        things.get(&id).await.unwrap();
        assert_eq!(things.expire_pattern("*").await.unwrap(), 1, "{backend:?}: the document and two parts");
        assert_eq!(things.expire_pattern("*").await.unwrap(), 0, "{backend:?}: it was stale already");

        let cache = setup.node(policy).await;
        let slow = Origin::held(1);
        let reader = tokio::spawn({
            let (cache, load) = (cache.clone(), slow.loader());
            async move { cache.get_with("k", load).await }
        });
        slow.until_reading(1).await;
        assert_eq!(
            cache.expire_pattern("*").await.unwrap(),
            0,
            "{backend:?}: the lease of a load is no entry"
        );
        slow.let_go(1);
        reader.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_refused_forgets_nothing() {
    let database = Database::sqlite_in_memory().await.unwrap();
    let schema = Schema::new("things", IdType::Int).strict(false);
    let things = database.collection(schema).policy(lasting()).partial("card", &["name"]).build().unwrap();
    things.insert(doc! { "_id": 1_i64, "name": "cup" }).await.unwrap();
    let card = async || things.read_partial("card", &Id::Int(1), &ReadOptions::default()).await.unwrap();
    card().await;
    let long = "*".repeat(MAX_PATTERN_BYTES + 1);
    for (refused, field) in [
        (things.invalidate_pattern(&long).await, "pattern"),
        (things.expire_pattern(&long).await, "pattern"),
        (things.expire_pattern("*").await, "policy"),
        (things.expire_tags(&["tag"]).await, "policy"),
    ] {
        assert_eq!(refused.unwrap_err().field(), Some(field));
        assert_eq!(card().await.served, Served::Near, "{field}");
    }
    assert_eq!(things.expire_tags(&[]).await.unwrap(), 0);
    assert_eq!(card().await.served, Served::Near, "without tags nothing is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_of_tags_makes_their_entries_stale_and_nothing_else() {
    for (backend, near) in [
        (Backend::Memory, true),
        (Backend::Redis, true),
        (Backend::Cluster, true),
        (Backend::Redis, false),
        (Backend::Cluster, false),
    ] {
        let setup = Setup::new(backend);
        let node = async || {
            let policy = lasting().stale_if_error(Duration::from_secs(60));
            let builder =
                setup.builder(policy).await.tags(|key: &String, _| vec![key[..1].to_owned(), "all".into()]);
            if near { builder.build() } else { builder.near_capacity(0).build() }.unwrap()
        };
        let (a, b) = (node().await, node().await);
        let origin = Origin::open(1);
        for key in ["a:1", "a:2", "b:1", "c:1"] {
            a.get_with(key, origin.loader()).await.unwrap();
            b.get_with(key, origin.loader()).await.unwrap();
        }
        let what = format!("{backend:?}, near tier: {near}");
        assert_eq!(a.expire_tags(&["a", "c"]).await.unwrap(), 3, "{what}");
        assert_eq!(a.expire_tags(&["none"]).await.unwrap(), 0, "{what}");
        assert_eq!(a.expire_tags(&[]).await.unwrap(), 0, "{what}");
        let nodes: &[_] = if backend == Backend::Memory { &[&a] } else { &[&a, &b] };
        for (node, (key, is_stale)) in nodes.iter().flat_map(|node| {
            [("a:1", true), ("a:2", true), ("b:1", false), ("c:1", true)].map(|expected| (node, expected))
        }) {
            let fails = || async { Err(Error::new(ErrorKind::Source, "away")) };
            eventually("the node has heard", Duration::from_secs(10), || async {
                let read = node.read_with(key, &ReadOptions::default(), fails).await.unwrap();
                assert_eq!(read.value.as_deref(), Some(&1), "{what}: {key}");
                assert!(is_stale || !read.stale, "{what}: {key}");
                read.stale == is_stale
            })
            .await;
        }
        // A hard purge takes what a soft one has left.
        a.invalidate_tag("all").await.unwrap();
        origin.write(2);
        for key in ["a:1", "b:1"] {
            assert_eq!(a.get_with(key, origin.loader()).await.unwrap().as_deref(), Some(&2), "{what}: {key}");
        }
    }
}
