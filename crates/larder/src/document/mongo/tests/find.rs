//! Finds against the model.

use bson::{Bson, Document, doc};
use mongodb::IndexModel;
use proptest::prelude::*;

use super::{
    collection,
    facts::{is_sound_order, keep_sound},
    fill,
};
use crate::{
    ErrorKind,
    document::{
        Filter, Find, Id, IndexUse, SortKey,
        aggregate::{Held, MAX_HELD_BYTES},
        sqlite::tests::{document, filter, model, schema, sort, walk},
        store::Store,
    },
};

fn with_ids(documents: Vec<Document>) -> Vec<Document> {
    let with_id = |(index, document): (usize, Document)| {
        let mut whole = doc! { "_id": index as i64 };
        whole.extend(document);
        whole
    };
    documents.into_iter().enumerate().map(with_id).collect()
}

/// Fills a collection of its own and compares what each query finds there with what the model finds.
fn check(documents: &[Document], queries: impl Iterator<Item = (Filter, Vec<SortKey>, u32)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let collection = collection(schema()).await;
        fill(&collection, documents).await;
        for (filter, sort, limit) in queries {
            let expected = model(documents, &filter, &sort);
            let find = Find { sort: sort.clone(), ..Find::new(filter.clone(), limit) };
            let text = format!("{filter:?} by {sort:?}");
            // NaN is not equal to itself, so documents are compared as text.
            assert_eq!(format!("{:?}", walk(&collection, find).await), format!("{expected:?}"), "{text}");
            assert_eq!(collection.count(&filter).await.unwrap(), expected.len() as u64, "{text}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_filter_finds_what_the_model_finds(
        mut documents in prop::collection::vec(document(), 1..25),
        mut filters in prop::collection::vec(filter(), 1..6),
    ) {
        keep_sound(&mut documents, &mut filters);
        check(&with_ids(documents), filters.into_iter().map(|filter| (filter, Vec::new(), 100)));
    }

    #[test]
    fn every_order_and_its_pages_are_the_models(
        mut documents in prop::collection::vec(document(), 1..25),
        orders in prop::collection::vec((sort(), 1_u32..6), 1..6),
    ) {
        keep_sound(&mut documents, &mut Vec::new());
        let sound = orders.into_iter().filter(|(sort, _)| is_sound_order(&documents, sort)).collect::<Vec<_>>();
        check(&with_ids(documents), sound.into_iter().map(|(sort, limit)| (Filter::All, sort, limit)));
    }
}

#[tokio::test]
async fn words_are_found_with_an_index_and_when_it_is_gone_again() {
    let collection = collection(schema()).await;
    let documents = [
        doc! { "_id": 0_i64, "s": "Red wool", "tags": ["a b", "c"] },
        doc! { "_id": 1_i64, "s": "wool, red!", "tags": "c-b" },
        doc! { "_id": 2_i64, "s": "reddish wool" },
        doc! { "_id": 3_i64, "s": 5, "tags": ["b"] },
    ];
    fill(&collection, &documents).await;
    let search = |path: &str, text: &str| Filter::Text { path: path.into(), text: text.into() };
    let searches = [
        (search("s", "RED wool"), &[0, 1][..]),
        (search("tags", "b c"), &[0, 1]),
        (search("s", "wool").and(search("tags", "a")), &[0]),
        (Filter::Or(vec![search("s", "reddish"), search("tags", "b")]), &[0, 1, 2, 3]),
        (search("s", "..."), &[]),
    ];
    let check = async |when: &str| {
        for (filter, expected) in &searches {
            let found = walk(&collection, Find::new(filter.clone(), 1)).await;
            let ids: Vec<i64> = found.iter().map(|document| document.get_i64("_id").unwrap()).collect();
            assert_eq!(ids, *expected, "{when}: {filter:?}");
            assert_eq!(collection.count(filter).await.unwrap(), expected.len() as u64, "{when}: {filter:?}");
        }
    };
    let Store::Mongo(mongo) = &collection else { panic!("it is MongoDB") };
    check("without an index").await;
    collection.ensure_indexes().await.unwrap();
    mongo.forget_words().await;
    check("with an index").await;
    // It is still taken to be there.
    mongo.driver().drop_indexes().await.unwrap();
    check("when the index is gone").await;
}

#[tokio::test]
async fn a_text_index_of_somebody_elses_is_left_alone_and_not_relied_on() {
    let collection = collection(schema()).await;
    let Store::Mongo(mongo) = &collection else { panic!("it is MongoDB") };
    mongo.driver().create_index(IndexModel::builder().keys(doc! { "s": "text" }).build()).await.unwrap();
    collection.ensure_indexes().await.unwrap();
    let lacking: Vec<_> =
        collection.index_report().await.unwrap().into_iter().filter(|it| it.index.is_none()).collect();
    assert_eq!(lacking.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["s", "tags"]);
    assert!(lacking.iter().all(|it| it.usage == IndexUse::Search), "{lacking:?}");
    let search = Filter::Text { path: "s".into(), text: "a".into() };
    assert!(collection.indexed_fields().await.unwrap().lacks(&search, &[]).is_some());
}

#[tokio::test]
async fn a_projection_hides_the_sort_keys_and_the_page_goes_on() {
    let collection = collection(schema()).await;
    let documents = [
        doc! { "_id": 0_i64, "n": 2.0, "o": { "n": 1, "x": 1 }, "s": "a" },
        doc! { "_id": 1_i64, "n": 1.0, "o": { "n": 2, "x": 2 }, "s": "b" },
    ];
    fill(&collection, &documents).await;
    let sort = vec![SortKey { path: "n".into(), direction: crate::document::Direction::Ascending }];
    let fields = Some(vec!["o.x".to_owned(), "s".to_owned()]);
    let found = walk(&collection, Find { sort, fields, ..Find::new(Filter::All, 1) }).await;
    let expected =
        [doc! { "_id": 1_i64, "o": { "x": 2 }, "s": "b" }, doc! { "_id": 0_i64, "o": { "x": 1 }, "s": "a" }];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn many_are_found_in_the_order_of_their_ids_with_one_command() {
    let collection = collection(schema()).await;
    fill(&collection, &[doc! { "_id": 0_i64 }, doc! { "_id": 1_i64 }]).await;
    let ids = [Id::Int(1), Id::Int(7), Id::Int(0), Id::Int(1)];
    let found = collection.get_many(&ids).await.unwrap();
    let ids: Vec<Option<i64>> =
        found.iter().map(|raw| raw.as_ref().map(|raw| raw.get_i64("_id").unwrap())).collect();
    assert_eq!(ids, [Some(1), None, Some(0), Some(1)]);
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_stored() {
    let collection = collection(schema()).await;
    let all = doc! {
        "_id": 0_i64, "int": 1, "long": 1_i64, "double": 1.0,
        "decimal": "1.10".parse::<bson::Decimal128>().unwrap(),
        "date": bson::DateTime::from_millis(-1), "id": bson::oid::ObjectId::new(), "null": Bson::Null, "yes": true,
        "text": "ä\0", "array": [1, [2.0], { "x": [] }], "empty": {},
        "bytes": Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0, 1] }),
        "time": Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }),
    };
    fill(&collection, std::slice::from_ref(&all)).await;
    let found = collection.get(&Id::Int(0)).await.unwrap().unwrap();
    assert_eq!(found.as_bytes(), all.to_vec().unwrap());
}

#[tokio::test]
async fn the_answer_of_a_pipeline_is_bounded_by_its_bytes() {
    let collection = collection(schema()).await;
    fill(&collection, &with_ids(vec![doc! { "n": 1 }, doc! { "n": 2 }])).await;
    let Store::Mongo(collection) = collection else { panic!("it is MongoDB's") };
    let all = collection.aggregate(&Filter::All, &[], 10).await.unwrap();
    let bytes: usize = all.iter().map(|document| document.as_bytes().len()).sum();
    for (room, is_enough) in [(bytes, true), (bytes - 1, false)] {
        let mut held = Held::default();
        held.add(MAX_HELD_BYTES - room).unwrap();
        let kind = collection.aggregate_beside(&[], 10, held).await.map_err(|error| error.kind());
        assert_eq!(kind.map(|documents| documents.len()), is_enough.then_some(2).ok_or(ErrorKind::TooLarge));
    }
}
