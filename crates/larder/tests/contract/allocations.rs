//! What a near hit takes from the allocator: nothing.

use std::time::Duration;

use allocation_counter::measure;
use futures_util::FutureExt;
use larder::{
    Cache, Result,
    cache::{ReadOptions, Served},
    document::{Database, Field, FieldType, Id, IdType, Schema},
    source::Source,
};
use larder_testkit::eventually;

use crate::setup::{Backend, Origin, Setup, lasting};

const READS: usize = 100;

/// How often memory was taken by reads that are ready at the first look. A thread counts for itself alone.
fn taken(read: impl Fn() -> Option<bool>) -> u64 {
    let counted = measure(|| {
        for _ in 0..READS {
            assert_eq!(read(), Some(true), "it is a near hit, and ready at once");
        }
    });
    counted.count_total
}

struct Numbers(Origin);

impl Source<String, u64> for Numbers {
    async fn load(&self, _: &String) -> Result<Option<u64>> {
        self.0.read().await
    }
}

/// Waits until what is cached of this key is in the near tier.
async fn comes_near(cache: &Cache<String, u64>, key: &String, options: &ReadOptions, origin: &Origin) {
    eventually("it is near", Duration::from_secs(10), || async {
        cache.read_with(key, options, origin.loader()).await.unwrap().served == Served::Near
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_hit_allocates_nothing() {
    for backend in Backend::ALL {
        let origin = Origin::open(7);
        let setup = Setup::new(backend);
        let cache = setup.builder(lasting()).await.source(Numbers(origin.clone())).build().unwrap();
        let (plain, tagged) = ("plain".to_owned(), "tagged".to_owned());
        let tags = ["a", "b", "c"].map(Into::into).to_vec();
        let with_tags = ReadOptions { tags, ..ReadOptions::default() };
        comes_near(&cache, &plain, &ReadOptions::default(), &origin).await;
        comes_near(&cache, &tagged, &with_tags, &origin).await;
        let options = ReadOptions::default();
        for key in [&plain, &tagged] {
            let got = || cache.get(key).now_or_never().map(|read| read.unwrap().as_deref() == Some(&7));
            assert_eq!(taken(got), 0, "{backend:?}: `get` of {key}");
            let load = || async { Ok(Some(8)) };
            let got =
                || cache.get_with(key, load).now_or_never().map(|read| read.unwrap().as_deref() == Some(&7));
            assert_eq!(taken(got), 0, "{backend:?}: `get_with` of {key}");
            let got = || {
                let read = cache.read_with(key, &options, load).now_or_never();
                read.map(|read| read.unwrap().served == Served::Near)
            };
            assert_eq!(taken(got), 0, "{backend:?}: `read_with` of {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_hit_of_a_document_allocates_nothing_its_text_and_tag_included() {
    let schema = Schema::new("products", IdType::Int).field(Field::new("name", FieldType::String));
    let products = Database::sqlite_in_memory().await.unwrap().collection(schema).build().unwrap();
    let cup = products.schema().read_document(br#"{"_id":1,"name":"Cup"}"#).unwrap();
    products.insert(cup).await.unwrap();
    let id = Id::Int(1);
    // Makes the text and the tag that all readers share.
    let first = products.get(&id).await.unwrap().unwrap();
    let (text, tag) = (first.json().clone(), first.etag().clone());
    let got = || {
        let document = products.get(&id).now_or_never()?.unwrap().unwrap();
        Some(*document.json() == text && *document.etag() == tag)
    };
    assert_eq!(taken(got), 0);
    let options = ReadOptions::default();
    let got = || Some(products.read(&id, &options).now_or_never()?.unwrap().served == Served::Near);
    assert_eq!(taken(got), 0);
}
