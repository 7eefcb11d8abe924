//! Collections that write through: what a write of one document made of it is in the cache, unless anything speaks against it.

use std::time::Duration;

use bson::{Document, doc};
use larder::{
    Policy,
    cache::{Consistency, Read, ReadOptions, Served},
    document::{Collection, Expect, Id, MergePatch, StoredDocument, Written},
    redis::Redis,
};

use super::world::{World, in_every_world};
use crate::{round_trips::quiet, setup::Backend as Tier};

const ID: Id = Id::Int(7);
const MINUTE: Duration = Duration::from_secs(60);

/// A node whose round trips are those of what it is asked: its own looks at the sequences come every half minute.
async fn node(world: &World, policy: Policy) -> (Collection, Option<Redis>) {
    let builder = world.database.collection(world.schema()).policy(policy.jitter(0.0)).write_through();
    let builder = builder.partial("card", &["name"]).consistency(Consistency::Bounded(MINUTE));
    match world.tier.connect().await {
        Some(redis) => (builder.redis(&redis).build().unwrap(), Some(redis)),
        None => (builder.build().unwrap(), None),
    }
}

async fn check<Fut: Future<Output = ()>>(test: impl Fn(World) -> Fut) {
    in_every_world("through", test).await;
}

async fn read(node: &Collection) -> Read<StoredDocument> {
    node.read(&ID, &ReadOptions::default()).await.unwrap()
}

fn document(read: &Read<StoredDocument>) -> Option<Document> {
    read.value.as_ref().map(|document| Document::try_from(document.raw()).unwrap())
}

fn trips_so_far(redis: Option<&Redis>) -> u64 {
    redis.map_or(0, |redis| redis.stats().round_trips)
}

fn patch(changes: Document) -> MergePatch {
    MergePatch::new(changes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_leaves_the_new_document_for_two_round_trips() {
    check(|world| async move {
        let tier = world.tier;
        let (writer, redis) = node(&world, Policy::ttl(MINUTE)).await;
        let (other, _) = node(&world, Policy::ttl(MINUTE)).await;
        // Teaches the server the scripts and follows the shard.
        writer.put(&ID, doc! { "n": 0 }).await.unwrap();
        writer.delete(&ID, &Expect::Any).await.unwrap();
        if let Some(redis) = &redis {
            quiet(redis, async || _ = writer.invalidate(&Id::Int(8)).await.unwrap()).await;
        }
        for step in 0..4 {
            let before = trips_so_far(redis.as_ref());
            match step {
                0 => drop(writer.insert(doc! { "_id": 7_i64, "n": 0 }).await.unwrap()),
                1 => drop(writer.put(&ID, doc! { "n": 1 }).await.unwrap()),
                2 => drop(writer.replace(&ID, doc! { "n": 2, "x": "y" }, &Expect::Present).await.unwrap()),
                _ => drop(writer.patch(&ID, &patch(doc! { "n": 3 }), &Expect::Any).await.unwrap()),
            }
            let took = trips_so_far(redis.as_ref()) - before;
            assert_eq!(took, if tier == Tier::Memory { 0 } else { 2 }, "{tier:?}, step {step}");
            let loads = writer.stats().loads;
            let hit = read(&writer).await;
            assert_eq!(hit.served, Served::Near, "{tier:?}, step {step}");
            assert_eq!(document(&hit).unwrap().get_i32("n").unwrap(), step, "{tier:?}");
            assert_eq!(
                (writer.stats().loads, trips_so_far(redis.as_ref()) - before),
                (loads, took),
                "a hit, {tier:?}"
            );
            if tier != Tier::Memory {
                let there = read(&other).await;
                assert_eq!((document(&there), there.served), (document(&hit), Served::Shared), "{tier:?}");
                other.invalidate(&Id::Int(8)).await.unwrap();
            }
            let card = writer.read_partial("card", &ID, &ReadOptions::default()).await.unwrap();
            assert_eq!(document(&card).unwrap(), doc! { "_id": 7_i64 }, "a part comes from it as well");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_happen_or_is_not_known_is_not_left() {
    check(|world| async move {
        let tier = world.tier;
        let (node, _) = node(&world, Policy::ttl(MINUTE).negative_ttl(MINUTE)).await;
        node.put(&ID, doc! { "n": 1 }).await.unwrap();
        let old = read(&node).await.value.unwrap();
        // Nobody has told this node.
        world.past().put(&ID, doc! { "n": 2 }).await.unwrap();
        let expect = Expect::Etag(old.etag().clone());
        let changed = node.replace(&ID, doc! { "n": 3 }, &expect).await.unwrap();
        assert!(matches!(changed, Written::Changed), "{tier:?}");
        let loaded = read(&node).await;
        assert_eq!(
            (document(&loaded).unwrap(), loaded.served),
            (doc! { "_id": 7_i64, "n": 2 }, Served::Source)
        );

        node.insert(doc! { "_id": 7_i64, "n": 4 }).await.unwrap_err();
        assert_eq!(read(&node).await.served, Served::Source, "{tier:?}: the id was taken");

        let filled_in = bson::Timestamp { time: 0, increment: 0 };
        node.put(&ID, doc! { "at": filled_in }).await.unwrap();
        assert_eq!(read(&node).await.served, Served::Source, "{tier:?}: the database has its own idea of it");

        node.delete(&ID, &Expect::Any).await.unwrap();
        let gone = read(&node).await;
        assert_eq!(
            (document(&gone), gone.served),
            (None, Served::Near),
            "{tier:?}: that it is gone is known"
        );
        node.insert_many(&[doc! { "_id": 7_i64, "n": 5 }]).await.unwrap().pop().unwrap().unwrap();
        let loaded = read(&node).await;
        assert_eq!(
            (document(&loaded).unwrap(), loaded.served),
            (doc! { "_id": 7_i64, "n": 5 }, Served::Source)
        );
    })
    .await;
}

/// Writes through one node, beside writes past all nodes that another node then invalidates.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_is_acknowledged_every_node_reads_what_the_database_has() {
    check(|world| async move {
        let tier = world.tier;
        // Without near copies every node reads what the last acknowledgement left in Redis.
        let policy = || {
            if tier == Tier::Memory {
                Policy::ttl(MINUTE)
            } else {
                Policy::ttl(MINUTE).near_ttl(Duration::ZERO)
            }
        };
        let (a, _) = node(&world, policy()).await;
        let b = if tier == Tier::Memory { a.clone() } else { node(&world, policy()).await.0 };
        let past = world.past();
        for round in 0..25 {
            let through = async { a.put(&ID, doc! { "n": 2 * round }).await.map(drop) };
            let around = async {
                past.put(&ID, doc! { "n": 2 * round + 1 }).await?;
                b.invalidate(&ID).await.map(drop)
            };
            let reading = async {
                for node in [&a, &b, &a, &b] {
                    read(node).await;
                }
                Ok(())
            };
            let (through, around, reading) = tokio::join!(through, around, reading);
            through.and(around).and(reading).unwrap();
            past.invalidate(&ID).await.unwrap();
            let expected = document(&read(&past).await);
            for node in [&a, &b] {
                assert_eq!(document(&read(node).await), expected, "{tier:?}, round {round}");
            }
        }
    })
    .await;
}
