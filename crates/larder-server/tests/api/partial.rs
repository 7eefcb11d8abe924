//! Parts of documents: `?fields=` answered from what is cached.

use crate::{items, larder::Larder};

const PRODUCTS: &str = r#"
[auth]
open = true

[[collection]]
name = "products"
id = "int"
field = [
    { path = "name", type = "string" },
    { path = "price", type = "int" },
    { path = "story", type = "string" },
]

[[collection.partial]]
name = "card"
fields = ["name", "price"]
"#;

#[tokio::test]
async fn asked_fields_are_cut_from_the_cached_document() {
    let larder = items().await;
    larder.post("/v1/items", r#"{"_id":7,"name":"Teapot","stock":3}"#).await;
    larder.get("/v1/items/7").await;
    let part = larder.get("/v1/items/7?fields=name").await;
    assert_eq!((part.status, part.text()), (200, r#"{"_id":7,"name":"Teapot"}"#));
    assert!(part.cache_status().starts_with("larder; hit;"), "{}", part.cache_status());
}

#[tokio::test]
async fn a_declared_part_is_cached_alone_and_forgotten_with_its_document() {
    let larder = Larder::start(PRODUCTS).await;
    larder.post("/v1/products", r#"{"_id":7,"name":"Teapot","price":12,"story":"long"}"#).await;
    let card = "/v1/products/7?fields=name";
    let miss = larder.get(card).await;
    assert_eq!((miss.status, miss.text()), (200, r#"{"_id":7,"name":"Teapot"}"#));
    assert!(miss.cache_status().contains("fwd=miss"), "{}", miss.cache_status());
    let hit = larder.get("/v1/products/7?fields=price,name").await;
    assert_eq!(hit.text(), r#"{"_id":7,"name":"Teapot","price":12}"#);
    assert!(hit.cache_status().contains("hit"), "{}", hit.cache_status());
    let whole = larder.get("/v1/products/7").await;
    assert!(whole.cache_status().contains("fwd=miss"), "only the part was there: {}", whole.cache_status());
    let cut = larder.get(card).await;
    assert_eq!(
        (cut.etag(), cut.text()),
        (miss.etag(), miss.text()),
        "one state, one tag, wherever it is from"
    );
    larder.patch("/v1/products/7", r#"{"name":"Kettle"}"#).await;
    assert_eq!(larder.get(card).await.text(), r#"{"_id":7,"name":"Kettle"}"#);
    let refreshed = larder.get_with(card, &[("cache-control", "no-cache")]).await;
    assert_eq!((refreshed.status, refreshed.text()), (200, r#"{"_id":7,"name":"Kettle"}"#));
    assert_eq!(larder.get("/v1/products/8?fields=name").await.status, 404);
    let stats = larder.get("/v1/_stats").await.json();
    let part = &stats["collections"][0]["parts"][0];
    assert_eq!((part["name"].as_str(), part["hits_near"].as_u64()), (Some("card"), Some(1)), "{part}");
    let metrics = larder.get("/metrics").await;
    let line = r#"larder_part_near_hits_total{collection="products",part="card"} 1"#;
    assert!(metrics.text().lines().any(|it| it == line), "{}", metrics.text());
}
