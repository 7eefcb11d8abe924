//! Declared parts of documents: answered from what is cached whole, cached alone, and forgotten with the document.

use std::time::Duration;

use bson::{Document, doc};
use larder::{
    ErrorKind, FakeClock, Policy,
    cache::{Consistency, MissReason, Read, ReadMode, ReadOptions, Served},
    document::{Collection, Database, Expect, Id, IdType, Schema, StoredDocument},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Cluster, Deployment, Options},
};

use super::{
    backend::Backend,
    world::{World, in_every_world},
};
use crate::setup::{Backend as Tier, DEAFEN, deaf};

const ID: Id = Id::Int(7);
const MINUTE: Duration = Duration::from_secs(60);

async fn node(world: &World) -> Collection {
    let mut builder = world
        .database
        .collection(world.schema())
        .policy(Policy::ttl(MINUTE).jitter(0.0))
        .partial("card", &["name", "maker.country"])
        .partial("price", &["price"])
        .clock(world.clock.clone());
    if let Some(redis) = world.tier.connect().await {
        builder = builder.redis(&redis);
    }
    builder.build().unwrap()
}

/// Runs a test over each database, which has one teapot, and each tier.
async fn check<Fut: Future<Output = ()>>(test: impl Fn(World) -> Fut) {
    in_every_world("parts", async |world| {
        world.past().insert(teapot("Teapot")).await.unwrap();
        test(world).await;
    })
    .await;
}

fn teapot(name: &str) -> Document {
    doc! { "_id": 7_i64, "name": name, "price": 12, "maker": { "country": "NL", "city": "Delft" } }
}

fn card(name: &str) -> Document {
    doc! { "_id": 7_i64, "name": name, "maker": { "country": "NL" } }
}

async fn read_card(node: &Collection) -> Read<StoredDocument> {
    node.read_partial("card", &ID, &ReadOptions::default()).await.unwrap()
}

fn document(read: &Read<StoredDocument>) -> Option<Document> {
    read.value.as_ref().map(|document| Document::try_from(document.raw()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_cached_alone_when_the_whole_is_not() {
    check(|world| async move {
        let (a, b) = (node(&world).await, node(&world).await);
        let miss = read_card(&a).await;
        assert_eq!((document(&miss), miss.reason), (Some(card("Teapot")), Some(MissReason::Cold)));
        let hit = read_card(&a).await;
        assert_eq!((document(&hit), hit.served), (Some(card("Teapot")), Served::Near), "{:?}", world.tier);
        if world.tier != Tier::Memory {
            assert_eq!(read_card(&b).await.served, Served::Shared, "{:?}", world.tier);
        }
        assert_eq!(a.stats().loads, 0, "the whole document was never asked for");
        let price = a.read_partial("price", &ID, &ReadOptions::default()).await.unwrap();
        assert_eq!(document(&price), Some(doc! { "_id": 7_i64, "price": 12 }), "parts do not mix");
        let none = a.read_partial("card", &Id::Int(8), &ReadOptions::default()).await.unwrap();
        assert!(none.value.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_comes_from_the_cached_whole_without_asking_the_database() {
    check(|world| async move {
        let (a, b) = (node(&world).await, node(&world).await);
        a.get(&ID).await.unwrap();
        // Only the cache still knows the old name.
        world.past().put(&ID, teapot("Kettle")).await.unwrap();
        assert_eq!(document(&read_card(&a).await), Some(card("Teapot")), "{:?}: near", world.tier);
        if world.tier == Tier::Memory {
            return;
        }
        world.clock.advance(Duration::from_secs(50));
        assert_eq!(document(&read_card(&b).await), Some(card("Teapot")), "{:?}: in Redis", world.tier);
        let kept = read_card(&b).await;
        assert_eq!(kept.served, Served::Near);
        assert!(kept.ttl <= Duration::from_secs(10), "no fresher than what it was cut from: {:?}", kept.ttl);
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(document(&read_card(&b).await), Some(card("Kettle")), "{:?}: both are over", world.tier);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_of_the_document_takes_its_parts_on_every_node() {
    check(|world| async move {
        let (a, b) = (node(&world).await, node(&world).await);
        let nodes = if world.tier == Tier::Memory { vec![&a] } else { vec![&a, &b] };
        for write in 0..3 {
            for node in &nodes {
                read_card(node).await;
                assert_eq!(read_card(node).await.served, Served::Near);
            }
            let name = format!("number {write}");
            match write {
                0 => drop(a.put(&ID, teapot(&name)).await.unwrap()),
                1 => {
                    world.past().put(&ID, teapot(&name)).await.unwrap();
                    a.invalidate(&ID).await.unwrap();
                }
                _ => {
                    world.past().put(&ID, teapot(&name)).await.unwrap();
                    a.clear().await.unwrap();
                }
            }
            assert_eq!(document(&read_card(&a).await), Some(card(&name)), "{:?}, write {write}", world.tier);
            if world.tier != Tier::Memory {
                let at_least = a.token(&ID);
                assert!(at_least.is_some());
                let options = ReadOptions { at_least, ..ReadOptions::default() };
                let read = b.read_partial("card", &ID, &options).await.unwrap();
                assert_eq!(document(&read), Some(card(&name)), "{:?}, write {write}", world.tier);
                eventually("the other node has heard", Duration::from_secs(10), || async {
                    document(&read_card(&b).await) == Some(card(&name))
                })
                .await;
            }
        }
        a.delete(&ID, &Expect::Any).await.unwrap();
        assert!(read_card(&a).await.value.is_none());
    })
    .await;
}

/// A node's own copy may be from before an invalidation that it has not heard of: it may answer, and must not be shared.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_an_invalidation_shares_no_part_from_before_it() {
    for deployment in Deployment::each(&Options::default()) {
        deployment.ask_all(&DEAFEN);
        let database = Database::sqlite_in_memory().await.unwrap();
        let node = async |url: String| {
            let redis = Redis::connect(&*url).await.unwrap();
            let things = database.collection(Schema::new("things", IdType::Int).strict(false));
            let things = things.policy(Policy::ttl(MINUTE)).partial("card", &["name", "maker.country"]);
            // The deaf one looks twice a minute.
            things.redis(&redis).consistency(Consistency::Bounded(MINUTE)).build().unwrap()
        };
        let (writer, missed) = (node(deployment.url()).await, node(deaf(&deployment.url())).await);
        writer.put(&ID, teapot("Teapot")).await.unwrap();
        missed.get(&ID).await.unwrap();
        let old = missed.token(&ID);
        assert!(old.is_some(), "it is in step");
        writer.put(&ID, teapot("Kettle")).await.unwrap();
        let options = ReadOptions { at_least: old, ..ReadOptions::default() };
        missed.read_partial("card", &ID, &options).await.unwrap();
        let late = node(deployment.url()).await;
        assert_eq!(document(&read_card(&late).await), Some(card("Kettle")), "{}", deployment.kind());
    }
}

/// A hot document stands in several shards, and some of them may have heard of a write that others have not.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_cut_from_a_whole_that_stands_in_its_own_shard() {
    let deployment = Deployment::Cluster(Cluster::start(3, false));
    let front = Front::start(&deployment).await;
    let (database, clock) = (Database::sqlite_in_memory().await.unwrap(), FakeClock::default());
    let node = async |url: String| {
        let redis = Redis::connect(&*url).await.unwrap();
        let things = database.collection(Schema::new("things", IdType::Int).strict(false));
        // Without copies of its own, so that each read shows what Redis has.
        let things = things.redis(&redis).near_bytes(0).clock(clock.clone());
        things.hot_replicas(4).partial("card", &["name", "maker.country"]).build().unwrap()
    };
    let server_of = async |node: &Collection| {
        let slot = node.explain(&ID).await.slot_key.expect("there is a Redis");
        deployment.owner_of(&slot).port()
    };
    let writer = node(front.url()).await;
    writer.put(&ID, teapot("Teapot")).await.unwrap();
    // Where a node reads hot documents is drawn when it is built.
    let (reader, away) = loop {
        let reader = node(deployment.url()).await;
        let home = server_of(&reader).await;
        for _ in 0..40 {
            reader.get(&ID).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        reader.get(&ID).await.unwrap();
        let server = server_of(&reader).await;
        if server != home {
            break (reader, server);
        }
    };
    let servers = deployment.servers().iter().zip(front.proxies());
    let (_, proxy) = servers.into_iter().find(|(server, _)| server.port() == away).unwrap();
    proxy.set(Fault::Silent);
    writer.put(&ID, teapot("Kettle")).await.unwrap();
    assert!(writer.stats().invalidations_owed > 0, "one server has not heard of it");
    let options = ReadOptions { at_least: writer.token(&ID), ..ReadOptions::default() };
    let read = reader.read_partial("card", &ID, &options).await.unwrap();
    assert_eq!(document(&read), Some(card("Kettle")), "its own shard has heard of it");
    proxy.set(Fault::Pass);
    eventually("all have heard of it", Duration::from_secs(10), || async {
        writer.stats().invalidations_owed == 0
    })
    .await;
    let late = node(deployment.url()).await;
    assert_eq!(
        document(&read_card(&late).await),
        Some(card("Kettle")),
        "and no shard was left with an old part"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_read_asks_the_database() {
    check(|world| async move {
        let node = node(&world).await;
        read_card(&node).await;
        world.past().put(&ID, teapot("Kettle")).await.unwrap();
        for mode in [ReadMode::Bypass, ReadMode::Refresh] {
            let options = ReadOptions { mode, ..ReadOptions::default() };
            let read = node.read_partial("card", &ID, &options).await.unwrap();
            assert_eq!(document(&read), Some(card("Kettle")), "{:?}, {mode:?}", world.tier);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_part_that_has_the_fields_is_found() {
    let place = Backend::SqliteMemory.place().await;
    let of = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let things = place
        .database
        .collection(Schema::new("things", IdType::Int))
        .partial("wide", &["name", "price", "maker"])
        .partial("card", &["name", "price"])
        .build()
        .unwrap();
    for (fields, part) in [
        (of(&["name"]), Some("card")),
        (of(&["price", "_id"]), Some("card")),
        (of(&["maker.country"]), Some("wide")),
        (of(&["names"]), None),
        (of(&["name", "stock"]), None),
    ] {
        assert_eq!(things.partial_with(&fields), part, "{fields:?}");
    }
    let error = things.read_partial("other", &ID, &ReadOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("other")));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_cannot_work_are_refused() {
    let place = Backend::SqliteMemory.place().await;
    let builder = || place.database.collection(Schema::new("things", IdType::Int));
    let nine = (0..9).fold(builder(), |builder, number| builder.partial(format!("p{number}"), &["name"]));
    for wrong in [
        builder().partial("a:b", &["name"]),
        builder().partial("", &["name"]),
        builder().partial("card", &[]),
        builder().partial("card", &[""]),
        builder().partial("card", &["name"]).partial("card", &["price"]),
        nine,
    ] {
        let error = wrong.build().unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("partial")), "{error}");
    }
}
