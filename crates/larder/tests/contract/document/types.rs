//! Every BSON type comes back as it went in.

use bson::{Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};
use larder::document::{Id, IdType, JsonForm, Schema, to_json};

use super::backend::{Backend, decimal, unique};

fn everything() -> Document {
    doc! {
        "_id": 1_i64,
        "int": 1_i32,
        "long": 1_i64,
        "big": i64::MIN,
        "double": 1.0,
        "small": f64::MIN_POSITIVE,
        "negative_zero": -0.0,
        "decimal": decimal("12.50"),
        "huge": decimal("9.999999999999999999999999999999999E+6144"),
        "text": "quotes \" and \\ and \u{0} and 日本 and \u{1F600}",
        "empty": "",
        "null": Bson::Null,
        "yes": true,
        "date": DateTime::from_millis(1_735_787_045_678),
        "long_ago": DateTime::from_millis(-62_135_596_800_000),
        "id": ObjectId::from_bytes([7; 12]),
        "bytes": bson::Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255, 10] },
        "array": [1_i32, 1_i64, 1.0, "x", Bson::Null, [[]], {}],
        "nested": { "a": { "b": { "c": [ { "d": 1 } ] } } },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_survives_a_write_and_a_read() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let schema = Schema::new(unique("all"), IdType::Int).strict(false);
        let writer = place.collection(schema.clone());
        let inserted = writer.insert(everything()).await.unwrap();
        // A collection of its own has a cache of its own: this read is the database's.
        let reader = place.collection(schema);
        let stored = reader.get(&Id::Int(1)).await.unwrap().unwrap();
        assert_eq!(Document::try_from(stored.raw()).unwrap(), everything(), "{backend:?}");
        assert_eq!(stored.raw().as_bytes(), inserted.document.raw().as_bytes(), "{backend:?}");
        assert_eq!(stored.etag(), inserted.document.etag(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_was_read_from_a_collection_can_be_written_to_it() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let schema = Schema::new(unique("json"), IdType::Int).strict(false);
        let collection = place.collection(schema.clone());
        collection.insert(everything()).await.unwrap();
        let stored = collection.get(&Id::Int(1)).await.unwrap().unwrap();
        let canonical = to_json(stored.raw(), JsonForm::Canonical).unwrap();
        assert_eq!(schema.read_raw(&canonical).unwrap().as_bytes(), stored.raw().as_bytes(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_documents_come_back_in_the_order_they_were_asked_for() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let wanted = [Id::Int(31), Id::Int(999), Id::Int(2), Id::Int(31)];
        let found = shop.get_many(&wanted).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|thing| thing.as_ref().map(|thing| thing.raw().get_i64("_id").unwrap()))
            .collect();
        assert_eq!(found, [Some(31), None, Some(2), Some(31)], "{backend:?}");
    }
}
