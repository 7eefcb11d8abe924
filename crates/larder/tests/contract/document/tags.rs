//! Tags that documents get from their fields: a purge takes the documents of the tag, whole and in part, and no others.

use std::time::Duration;

use bson::doc;
use larder::{
    ErrorKind, Policy,
    cache::{Read, ReadOptions, Served},
    document::{
        Collection, CollectionBuilder, Expect, Field, FieldType, Id, MAX_DOCUMENT_TAGS, StoredDocument,
    },
};

use super::world::{World, in_every_world};

const TEA: Id = Id::Int(1);
const COFFEE: Id = Id::Int(2);

async fn builder(world: &World) -> CollectionBuilder {
    let labels = FieldType::Array(Box::new(FieldType::String));
    let schema =
        world.schema().field(Field::new("category", FieldType::String)).field(Field::new("labels", labels));
    let builder = world
        .database
        .collection(schema)
        .policy(Policy::ttl(Duration::from_secs(60)).jitter(0.0))
        .clock(world.clock.clone());
    match world.tier.connect().await {
        Some(redis) => builder.redis(&redis),
        None => builder,
    }
}

async fn node(world: &World) -> Collection {
    let tags = ["category:{category}", "{labels}"];
    builder(world).await.tags(&tags).partial("card", &["name", "category", "labels"]).build().unwrap()
}

async fn check<Fut: Future<Output = ()>>(test: impl Fn(World) -> Fut) {
    in_every_world("tags", async |world| {
        let past = world.past();
        for (id, category) in [(1_i64, "tea"), (2, "coffee")] {
            let document = doc! { "_id": id, "name": "x", "category": category, "labels": ["new", category] };
            past.insert(document).await.unwrap();
        }
        test(world).await;
    })
    .await;
}

async fn read(node: &Collection, id: &Id) -> Read<StoredDocument> {
    node.read(id, &ReadOptions::default()).await.unwrap()
}

async fn card(node: &Collection, id: &Id) -> Read<StoredDocument> {
    node.read_partial("card", id, &ReadOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_the_documents_whose_fields_give_the_tag() {
    check(|world| async move {
        let node = node(&world).await;
        for (tag, coffee_stays) in [("category:tea", true), ("tea", true), ("new", false)] {
            for id in [&TEA, &COFFEE] {
                read(&node, id).await;
                assert_ne!(read(&node, id).await.served, Served::Source, "{:?} {tag}", world.tier);
            }
            node.invalidate_tag(tag).await.unwrap();
            let (tea, coffee) = (read(&node, &TEA).await, read(&node, &COFFEE).await);
            assert_eq!(tea.served, Served::Source, "{:?} {tag}", world.tier);
            assert_eq!(coffee.served != Served::Source, coffee_stays, "{:?} {tag}", world.tier);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_cached_alone_goes_with_the_tag_of_its_document() {
    check(|world| async move {
        let node = node(&world).await;
        for id in [&TEA, &COFFEE] {
            card(&node, id).await;
            assert_ne!(card(&node, id).await.served, Served::Source, "{:?}", world.tier);
        }
        node.invalidate_tag("category:tea").await.unwrap();
        assert_eq!(card(&node, &TEA).await.served, Served::Source, "{:?}", world.tier);
        assert_ne!(card(&node, &COFFEE).await.served, Served::Source, "{:?}", world.tier);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_left_has_the_tags_of_the_new_fields() {
    check(|world| async move {
        let node = builder(&world).await.tags(&["category:{category}"]).write_through().build().unwrap();
        // Has the node follow the shard.
        read(&node, &TEA).await;
        node.replace(&TEA, doc! { "category": "herbs" }, &Expect::Any).await.unwrap();
        assert_ne!(read(&node, &TEA).await.served, Served::Source, "{:?}: the write left it", world.tier);
        node.invalidate_tag("category:tea").await.unwrap();
        assert_ne!(read(&node, &TEA).await.served, Served::Source, "{:?}: it was tea before", world.tier);
        node.invalidate_tag("category:herbs").await.unwrap();
        assert_eq!(read(&node, &TEA).await.served, Served::Source, "{:?}", world.tier);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_too_many_tags_is_read_but_not_cached() {
    check(|world| async move {
        let node = node(&world).await;
        for (count, cached) in [(MAX_DOCUMENT_TAGS, true), (MAX_DOCUMENT_TAGS + 1, false)] {
            let labels: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let id = Id::Int(count as i64 + 100);
            node.insert(doc! { "_id": count as i64 + 100, "labels": labels }).await.unwrap();
            for read in [read(&node, &id).await, read(&node, &id).await] {
                assert!(read.value.is_some(), "{:?} {count}", world.tier);
            }
            let cards = [card(&node, &id).await, card(&node, &id).await];
            assert!(cards.iter().all(|card| card.value.is_some()), "{:?} {count}", world.tier);
            assert_eq!(cards[1].served != Served::Source, cached, "{:?} {count}", world.tier);
            let again = read(&node, &id).await.served;
            assert_eq!(again != Served::Source, cached, "{:?} {count}", world.tier);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_without_the_fields_of_the_tags_is_refused() {
    check(|world| async move {
        let built = builder(&world).await.tags(&["category:{category}"]).partial("card", &["name"]).build();
        let error = built.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("partial")), "{error}");
        assert!(error.to_string().contains("\"card\" needs the field \"category\" too"), "{error}");
        let error = builder(&world).await.tags(&["category:{categroy}"]).build().unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("categroy")), "{error}");
    })
    .await;
}
