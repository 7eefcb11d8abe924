//! Which threads answer: as few as keep up.

use larder_testkit::eventually;

use crate::{ITEMS, Larder, larder::PATIENCE};

async fn in_use(larder: &Larder) -> u32 {
    let metrics = larder.get("/metrics").await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("larder_threads_in_use "));
    line.expect("the figure is told").parse().expect("a number")
}

#[tokio::test]
async fn what_comes_to_a_calm_server_is_kept_together_on_few_threads() {
    let larder = Larder::start(&format!("threads = 3\n{ITEMS}")).await;
    eventually("one thread takes what comes", PATIENCE, || async { in_use(&larder).await == 1 }).await;
    assert_eq!(larder.put("/v1/items/1", r#"{"name":"a"}"#).await.status, 201);
    assert_eq!(larder.get("/v1/items/1").await.status, 200);
}
