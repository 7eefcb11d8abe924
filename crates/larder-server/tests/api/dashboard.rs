//! The first page, and the figures it shows.

use crate::{items, larder::Larder};

async fn stats(server: &Larder) -> serde_json::Value {
    server.get("/v1/_stats").await.json()
}

#[tokio::test]
async fn the_page_and_its_files_are_served_and_take_nothing_from_elsewhere() {
    let server = items().await;
    let page = server.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let files = page.text().split('"').filter(|part| part.starts_with("/_dashboard/")).collect::<Vec<_>>();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let file = server.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert_eq!(server.get("/_dashboard/nothing.js").await.status, 404);
}

#[tokio::test]
async fn every_figure_that_the_page_shows_is_told() {
    let server = items().await;
    server.post("/v1/items", r#"{"_id":1,"name":"a"}"#).await;
    for _ in 0..3 {
        server.get("/v1/items/1").await;
    }
    server.patch("/v1/items/1", r#"{"name":"b"}"#).await;
    server.get("/v1/items/1").await;
    let stats = stats(&server).await;
    for path in [
        "/uptime_ms",
        "/node/redis",
        "/node/database",
        "/totals/requests",
        "/totals/hits_near",
        "/totals/hits_shared",
        "/totals/misses",
        "/totals/stale_served",
        "/totals/invalidations_owed",
        "/totals/source_loads",
        "/window/seconds",
        "/window/p50_us",
        "/window/p99_us",
        "/misses/cold",
        "/misses/asked",
        "/collections/0/name",
        "/collections/0/hits_near",
        "/collections/0/hits_shared",
        "/collections/0/misses",
        "/collections/0/asked",
        "/collections/0/near_entries",
        "/collections/0/near_bytes",
        "/collections/0/hit_rate/level",
    ] {
        assert!(stats.pointer(path).is_some_and(|value| !value.is_null()), "{path}: {stats}");
    }
    assert_eq!(stats["totals"]["hits_near"], 2, "{stats}");
    assert_eq!(
        (&stats["misses"]["cold"], &stats["misses"]["invalidated"]),
        (&1.into(), &1.into()),
        "{stats}"
    );
}
