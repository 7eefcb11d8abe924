//! A primary found through Sentinel.

use larder_testkit::redis::Watched;

use super::*;

#[tokio::test]
async fn after_a_failover_the_new_primary_is_found() {
    let watched = Watched::start();
    let config = RedisConfig::new(watched.url()).deadline(Duration::from_millis(200));
    let redis = Redis::connect(config.require_at_start(true)).await.unwrap();
    let write = || async { redis.command(b"k", cmd("SET").arg("k").arg("v")).await };
    write().await.unwrap();
    assert_eq!(watched.primary().ask(&["GET", "k"]).text(), Some("v"));

    watched.primary().kill();
    eventually("writes succeed again", Duration::from_secs(20), || async { write().await.is_ok() }).await;
    watched.replica().ask(&["SET", "seen", "by the new primary"]);
    assert_eq!(redis.command(b"seen", cmd("GET").arg("seen")).await.unwrap(), bulk("by the new primary"));
}

#[tokio::test]
async fn a_service_no_sentinel_knows_is_a_mistake_in_the_url() {
    let watched = Watched::start();
    let url = watched.url().replace("mymaster", "nobody");
    let error = Redis::connect(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("nobody"), "{error}");
}
