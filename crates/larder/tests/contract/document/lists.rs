//! Cached lists: each for what decides it, until anything in the collection is written.

use std::{collections::BTreeMap, time::Duration};

use bson::{Bson, RawDocumentBuf, doc};
use larder::{
    ErrorKind, Policy,
    cache::{Consistency, Read, ReadMode, ReadOptions, Served},
    document::{
        Collection, CollectionBuilder, CompareOp, Direction, Expect, FieldType, Filter, Find, Id, Listing,
        MergePatch, Pipeline, Position, SortKey, Variable,
    },
    redis::Redis,
};
use larder_testkit::redis::{Reply, ask};

use super::world::{World, in_every_world};
use crate::{round_trips::quiet, setup::Backend as Tier};

const MINUTE: Duration = Duration::from_secs(60);

fn builder(world: &World) -> CollectionBuilder {
    let at_least = doc! { "$match": { "n": { "$gte": { "$var": "n" } } } };
    let n = Variable { name: "n".into(), field_type: FieldType::Int, default: None };
    let pipeline =
        Pipeline::new("at_least", vec![at_least, doc! { "$sort": { "_id": 1 } }], vec![n]).unwrap();
    world
        .database
        .collection(world.schema().pipeline(pipeline))
        .policy(Policy::ttl(MINUTE).jitter(0.0).stale_if_error(MINUTE))
        .cache_lists(Policy::ttl(MINUTE).jitter(0.0))
}

/// A node whose round trips are those of what it is asked: its own looks at the sequences come every half minute.
async fn node(world: &World) -> (Collection, Option<Redis>) {
    let builder = builder(world).consistency(Consistency::Bounded(MINUTE));
    match world.tier.connect().await {
        Some(redis) => (builder.redis(&redis).build().unwrap(), Some(redis)),
        None => (builder.build().unwrap(), None),
    }
}

/// Ten documents, with numbers that are their ids.
async fn check<Fut: Future<Output = ()>>(test: impl Fn(World) -> Fut) {
    in_every_world("lists", async |world| {
        let documents: Vec<_> = (0..10_i64).map(|n| doc! { "_id": n, "n": n, "odd": n % 2 == 1 }).collect();
        for inserted in world.past().insert_many(&documents).await.unwrap() {
            inserted.unwrap();
        }
        test(world).await;
    })
    .await;
}

fn at_least(n: i64) -> Filter {
    Filter::Compare { path: "n".into(), op: CompareOp::Gte, value: n.into() }
}

fn values(n: i64) -> BTreeMap<String, Bson> {
    BTreeMap::from([("n".to_owned(), n.into())])
}

/// A page, its count, and a query that finds the same.
async fn all_kinds(node: &Collection, options: &ReadOptions) -> [Read<Listing>; 3] {
    [
        node.read_page(&Find::new(at_least(5), 100), options).await.unwrap(),
        node.read_count(&at_least(5), options).await.unwrap(),
        node.within(&Filter::All).read_aggregate("at_least", &values(5), options).await.unwrap(),
    ]
}

async fn served(node: &Collection) -> [Served; 3] {
    all_kinds(node, &ReadOptions::default()).await.map(|read| read.served)
}

/// What the database has, past every cache.
async fn expected(world: &World) -> [Listing; 3] {
    let (plain, find) = (builder(world).build().unwrap(), Find::new(at_least(5), 100));
    let count = Some(plain.count(&find.filter).await.unwrap());
    let items = plain.aggregate("at_least", &values(5)).await.unwrap();
    [
        Listing { items: plain.find(&find).await.unwrap().items, ..Listing::default() },
        Listing { count, ..Listing::default() },
        Listing { items, ..Listing::default() },
    ]
}

fn listed(reads: [Read<Listing>; 3]) -> [Listing; 3] {
    reads.map(|read| (*read.value.expect("a list is always there")).clone())
}

/// To read, on another node, what this one has written or anything later.
fn after_writes_of(node: &Collection) -> ReadOptions {
    let token = node.lists_token();
    assert!(token.as_ref().is_none_or(|token| node.concerns_lists(token)));
    ReadOptions { at_least: token, ..ReadOptions::default() }
}

async fn write(node: &Collection, step: usize) {
    let id = Id::Int(7);
    match step {
        0 => drop(node.insert(doc! { "_id": 20_i64, "n": 20_i64 }).await.unwrap()),
        1 => drop(node.put(&id, doc! { "n": 21_i64 }).await.unwrap()),
        2 => drop(node.replace(&id, doc! { "n": 22_i64 }, &Expect::Present).await.unwrap()),
        3 => {
            let patch = MergePatch::new(doc! { "n": 23_i64 }).unwrap();
            drop(node.patch(&id, &patch, &Expect::Any).await.unwrap());
        }
        4 => drop(node.delete(&id, &Expect::Any).await.unwrap()),
        5 => drop(node.insert_many(&[doc! { "_id": 25_i64, "n": 25_i64 }]).await.unwrap()),
        _ => {
            let document = RawDocumentBuf::try_from(&doc! { "_id": 8_i64, "n": 26_i64 }).unwrap();
            drop(node.put_many_raw(vec![document]).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_asked_of_the_database_once_until_anything_is_written() {
    check(|world| async move {
        let tier = world.tier;
        let ((writer, _), (other, _)) = (node(&world).await, node(&world).await);
        for step in 0..7 {
            writer.clear_lists().await.unwrap();
            assert_eq!(served(&writer).await, [Served::Source; 3], "{tier:?}, step {step}");
            assert_eq!(served(&writer).await, [Served::Near; 3], "{tier:?}, step {step}");
            if tier != Tier::Memory {
                let read = all_kinds(&other, &after_writes_of(&writer)).await;
                assert_eq!(read.map(|read| read.served), [Served::Shared; 3], "{tier:?}, step {step}");
            }
            write(&writer, step).await;
            let expected = expected(&world).await;
            if tier != Tier::Memory {
                let read = all_kinds(&other, &after_writes_of(&writer)).await;
                assert_eq!(listed(read), expected, "{tier:?}, step {step}");
            }
            let read = all_kinds(&writer, &ReadOptions::default()).await;
            assert_eq!(listed(read), expected, "{tier:?}, step {step}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_leaves_the_lists() {
    check(|world| async move {
        let (node, _) = node(&world).await;
        served(&node).await;
        let taken = node.insert(doc! { "_id": 7_i64 }).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Conflict);
        assert_eq!(node.invalidate(&Id::string("x").unwrap()).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(served(&node).await, [Served::Near; 3], "{:?}", world.tier);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_purge_of_documents_forgets_the_lists_too() {
    check(|world| async move {
        let (node, _) = node(&world).await;
        let (id, tier) = (Id::Int(7), world.tier);
        for step in 0..8 {
            served(&node).await;
            world.past().put(&id, doc! { "n": 100 + step }).await.unwrap();
            assert_eq!(served(&node).await, [Served::Near; 3], "{tier:?}: nobody has told of it");
            match step {
                0 => drop(node.invalidate(&id).await.unwrap()),
                1 => drop(node.invalidate_many(&[&id]).await.unwrap()),
                2 => drop(node.expire(&[&id]).await.unwrap()),
                3 => drop(node.invalidate_tag("x").await.unwrap()),
                4 => drop(node.invalidate_pattern("7*").await.unwrap()),
                5 => drop(node.expire_pattern("7*").await.unwrap()),
                6 => drop(node.expire_tags(&["x"]).await.unwrap()),
                _ => drop(node.clear().await.unwrap()),
            }
            let read = all_kinds(&node, &ReadOptions::default()).await;
            assert_eq!(listed(read), expected(&world).await, "{tier:?}, step {step}");
        }
    })
    .await;
}

/// Finds of which no two are the same, though some find the same documents.
fn finds() -> Vec<Find> {
    let sorted = |path: &str, direction| SortKey { path: path.into(), direction };
    let first = Find::new(Filter::All, 3);
    let odd = Filter::Compare { path: "odd".into(), op: CompareOp::Eq, value: true.into() };
    vec![
        first.clone(),
        Find { limit: 4, ..first.clone() },
        Find { offset: 3, ..first.clone() },
        Find { offset: 4, ..first.clone() },
        Find { after: Some(Position(vec![3_i64.into()])), ..first.clone() },
        Find { after: Some(Position(vec![4_i64.into()])), ..first.clone() },
        Find { sort: vec![sorted("n", Direction::Ascending)], ..first.clone() },
        Find { sort: vec![sorted("n", Direction::Descending)], ..first.clone() },
        Find { sort: vec![sorted("_id", Direction::Descending)], ..first.clone() },
        Find { fields: Some(vec![]), ..first.clone() },
        Find { fields: Some(vec!["n".into()]), ..first.clone() },
        Find { fields: Some(vec!["n".into(), "odd".into()]), ..first.clone() },
        Find { filter: odd.clone(), ..first.clone() },
        Find { filter: odd.clone().and(at_least(4)), ..first.clone() },
        Find { filter: Filter::Or(vec![odd, at_least(4)]), ..first.clone() },
        Find { filter: at_least(4), ..first.clone() },
        Find { filter: at_least(5), ..first },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_differ_in_anything_are_kept_apart() {
    check(|world| async move {
        let (node, tier) = (node(&world).await.0, world.tier);
        let finds = finds();
        for round in 0..2 {
            for find in &finds {
                let read = node.read_page(find, &ReadOptions::default()).await.unwrap();
                assert_eq!(read.served == Served::Near, round == 1, "{tier:?}: {find:?}");
                let page = Listing::from(node.find(find).await.unwrap());
                assert_eq!(read.value.as_deref(), Some(&page), "{tier:?}: {find:?}");
            }
            for (rows, n) in [(Filter::All, 2), (Filter::All, 5), (at_least(3), 2), (at_least(3), 5)] {
                let (within, values) = (node.within(&rows), values(n));
                let options = ReadOptions::default();
                let read = within.read_aggregate("at_least", &values, &options).await.unwrap();
                assert_eq!(read.served == Served::Near, round == 1, "{tier:?}: {rows:?} {n}");
                let items = within.aggregate("at_least", &values).await.unwrap();
                assert_eq!(read.value.unwrap().items, items, "{tier:?}: {rows:?} {n}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_costs_one_more_round_trip_and_a_list_as_many_as_a_document() {
    check(|world| async move {
        let (Tier::Redis | Tier::Cluster) = world.tier else { return };
        let (node, redis) = node(&world).await;
        let redis = redis.unwrap();
        let page = |mode, limit| {
            let options = ReadOptions { mode, ..ReadOptions::default() };
            let (node, find) = (node.clone(), Find::new(Filter::All, limit));
            async move { node.read_page(&find, &options).await.unwrap().served }
        };
        page(ReadMode::Cached, 3).await;
        node.put(&Id::Int(7), doc! { "n": 7_i64 }).await.unwrap();
        quiet(&redis, async || drop(node.clear_lists().await.unwrap())).await;
        let trips = || redis.stats().round_trips;
        let before = trips();
        assert_eq!((page(ReadMode::Cached, 4).await, trips() - before), (Served::Source, 2));
        assert_eq!((page(ReadMode::Cached, 4).await, trips() - before), (Served::Near, 2));
        assert_eq!((page(ReadMode::Bypass, 4).await, trips() - before), (Served::Source, 2));
        assert_eq!(page(ReadMode::Cached, 3).await, Served::Source);
        assert_eq!(trips() - before, 2 + 3, "what is in Redis was forgotten by its number");
        node.put(&Id::Int(7), doc! { "n": 8_i64 }).await.unwrap();
        assert_eq!(trips() - before, 5 + 3, "a guarded write is two");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_is_acknowledged_every_node_lists_what_the_database_has() {
    check(|world| async move {
        let tier = world.tier;
        let a = node(&world).await.0;
        let b = if tier == Tier::Memory { a.clone() } else { node(&world).await.0 };
        for round in 0..25 {
            let writing = async {
                a.put(&Id::Int(7), doc! { "n": 100 + round }).await.unwrap();
                b.delete(&Id::Int(8), &Expect::Any).await.unwrap();
                b.put(&Id::Int(8), doc! { "n": 200 + round }).await.unwrap();
            };
            let reading = async {
                for node in [&a, &b, &a, &b, &a, &b] {
                    served(node).await;
                }
            };
            tokio::join!(writing, reading);
            let expected = expected(&world).await;
            for node in [&a, &b] {
                let read = all_kinds(node, &after_writes_of(&b)).await;
                assert_eq!(listed(read), expected, "{tier:?}, round {round}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_list_in_redis_is_a_miss() {
    check(|world| async move {
        let (Tier::Redis, Some(url)) = (world.tier, world.tier.url()) else { return };
        served(&node(&world).await.0).await;
        let pattern = format!("{{larder.{}:lists.*}}:v1:e:*", world.name);
        let script = "local keys = redis.call('KEYS', ARGV[1]) \
                      for _, key in ipairs(keys) do redis.call('SETRANGE', key, redis.call('STRLEN', key) - 9, ARGV[2]) end \
                      return #keys";
        let damaged = ask(&url, &["EVAL", script, "0", &pattern, "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t"]);
        assert!(matches!(damaged, Reply::Int(3)), "{pattern}: {damaged:?}");
        let (other, expected) = (node(&world).await.0, expected(&world).await);
        assert_eq!(listed(all_kinds(&other, &ReadOptions::default()).await), expected);
        assert_eq!(other.list_stats().unwrap().loads, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_large_to_be_kept_is_answered_and_others_are_kept() {
    check(|world| async move {
        // A page of five documents is larger; a count is not.
        let small = Policy::ttl(MINUTE).max_entry_bytes(64);
        let builder = builder(&world).cache_lists(small);
        let node = match world.tier.connect().await {
            Some(redis) => builder.redis(&redis).build().unwrap(),
            None => builder.build().unwrap(),
        };
        for is_first in [true, false] {
            let reads = all_kinds(&node, &ReadOptions::default()).await;
            let from_source = reads.each_ref().map(|read| read.served == Served::Source);
            assert_eq!(from_source, [true, is_first, true], "{}", world.name);
            assert_eq!(listed(reads), expected(&world).await, "{}", world.name);
        }
    })
    .await;
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused_and_without_any_the_database_is_asked() {
    let database = larder::document::Database::sqlite_in_memory().await.unwrap();
    let schema = || larder::document::Schema::new("things", larder::document::IdType::Int).strict(false);
    let wrong = Policy::ttl(Duration::ZERO);
    let error = database.collection(schema()).cache_lists(wrong).build().unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("ttl")));
    assert!(error.to_string().contains("lists"), "{error}");
    let things = database.collection(schema()).build().unwrap();
    for _ in 0..2 {
        let read = things.read_page(&Find::new(Filter::All, 3), &ReadOptions::default()).await.unwrap();
        assert_eq!((read.served, read.reason), (Served::Source, None));
    }
    assert!(!things.caches_lists() && things.list_stats().is_none() && things.lists_token().is_none());
}
