//! Write-behind into a collection of MongoDB.

use larder::{
    Cache,
    document::{Database, IdType, Schema},
    source::{MongoSink, Source},
};
use larder_testkit::mongo;

use super::quick;
use crate::setup::{Backend, Setup, lasting};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_collection_with_its_version_after_a_flush() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let database = Database::mongo(&*mongo::shared().url(&mongo::database_name())).await.unwrap();
        let sink = MongoSink::<String, Cart>::new(&database, Schema::new("carts", IdType::String)).unwrap();
        let redis = setup.backend.connect().await.unwrap();
        let builder = Cache::<String, Cart>::builder(&*setup.name).redis(&redis).policy(lasting());
        let cache = builder.source(sink.clone()).sink(sink.clone()).write_behind(quick()).build().unwrap();
        for n in 0..60_u64 {
            let key = (n % 6).to_string();
            match n % 6 {
                5 if n > 50 => cache.remove(&key).await.unwrap(),
                _ => cache.put(&key, &Cart { items: vec![n] }).await.unwrap(),
            }
        }
        cache.behind().unwrap().flush().await.unwrap();
        for n in 0..5_u64 {
            let found = sink.load(&n.to_string()).await.unwrap();
            assert_eq!(found, Some(Cart { items: vec![54 + n] }), "{backend:?}");
        }
        assert_eq!(sink.load(&"5".into()).await.unwrap(), None, "{backend:?}: it was removed");
        let stats = cache.behind().unwrap().stats().await.unwrap();
        assert_eq!((stats.backlog, stats.dead_letters, stats.taken), (0, 0, 60), "{backend:?}");
    }
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Cart {
    items: Vec<u64>,
}
