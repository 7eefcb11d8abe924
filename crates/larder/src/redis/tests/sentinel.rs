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

#[tokio::test]
async fn a_sentinel_that_swallows_packets_does_not_hold_up_the_others() {
    let watched = Watched::start();
    let proxy = Proxy::start(watched.primary().port()).await;
    proxy.set(Fault::Silent);
    let silent = format!("redis-sentinel://127.0.0.1:{},", proxy.port());
    let url = watched.url().replace("redis-sentinel://", &silent);
    let config = RedisConfig::new(url).connect_deadline(Duration::from_secs(60)).require_at_start(true);
    let redis = tokio::time::timeout(Duration::from_secs(10), Redis::connect(config)).await.unwrap().unwrap();
    redis.ping().await.unwrap();
}

#[tokio::test]
async fn a_sentinel_may_ask_for_a_login_of_its_own() {
    let watched = Watched::start_with("s3same");
    let refused = Redis::connect(watched.url()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
    let config = patient(watched.url()).sentinel_login("", "s3same").require_at_start(true);
    assert!(!format!("{config:?}").contains("s3same"));
    Redis::connect(config).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_server_taken_for_a_sentinel_or_the_other_way_round_is_a_mistake_in_the_url() {
    let watched = Watched::start();
    let sentinel_as_server = watched.url().replace("redis-sentinel", "redis").replace("/mymaster", "");
    let server_as_sentinel = format!("redis-sentinel://127.0.0.1:{}/mymaster", watched.primary().port());
    for (url, fix) in [(sentinel_as_server, "use redis-sentinel://"), (server_as_sentinel, "use redis://")] {
        let error = Redis::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(fix), "{error}");
    }
}
