//! The first command of the README: a server on embedded parts, with the sample shop.

use tempfile::TempDir;

use crate::Larder;

#[tokio::test]
async fn a_first_start_loads_the_shop_and_a_second_one_finds_it() {
    let folder = TempDir::new().expect("a temporary folder");
    let larder = Larder::start_in(folder, &[]).await;
    let greeting = larder.output();
    let urls: Vec<&str> =
        greeting.split_whitespace().filter_map(|word| word.strip_prefix(larder.url())).collect();
    assert!(urls.len() >= 5, "it says what to try: {greeting}");
    for path in urls {
        assert_eq!(larder.get(path).await.status, 200, "{path} of {greeting}");
    }

    // What the printed curl line asks for, on a document that nothing has read yet.
    assert!(greeting.contains("curl -sI"), "{greeting}");
    let first = larder.client().send("HEAD", "/v1/products/2", &[], "").await;
    assert!(first.cache_status().starts_with("larder; fwd=miss"), "{first:?}");
    let second = larder.client().send("HEAD", "/v1/products/2", &[], "").await;
    assert!(second.cache_status().starts_with("larder; hit"), "{second:?}");
    let document = larder.get("/v1/products/2").await.body;
    let products = larder.get_with("/v1/products?limit=1", &[("prefer", "count=exact")]).await;
    assert_eq!(products.json()["count"], 20_000);

    let folder = larder.stop().await;
    let larder = Larder::start_in(folder, &[]).await;
    assert_eq!(larder.get("/v1/products/2").await.body, document);
    assert!(!larder.output().contains("The sample shop is loaded"), "it was there already");
}
