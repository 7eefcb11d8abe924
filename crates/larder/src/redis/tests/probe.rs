//! What the doctor is told.

use larder_testkit::redis::{Watched, cluster};

use super::*;
use crate::redis::DeploymentMode;

#[tokio::test]
async fn a_server_is_described_as_it_is_set_up() {
    let server = Server::start(&Options { append_only: true, ..Options::default() }.with(&[
        "--maxmemory",
        "64mb",
        "--maxmemory-policy",
        "allkeys-lru",
    ]));
    let redis = Redis::connect(patient(server.url())).await.unwrap();
    let before = redis.stats().round_trips;
    let probe = redis.probe().await.unwrap();
    assert_eq!(redis.stats().round_trips - before, 1);
    assert_eq!(probe.mode, DeploymentMode::Single);
    assert!(probe.can_evict() && probe.survives_restart());
    let [primary] = &probe.primaries[..] else { panic!("one primary: {probe:?}") };
    assert_eq!(primary.address, format!("127.0.0.1:{}", server.port()));
    assert!(
        primary.version.as_deref().is_some_and(|version| version.starts_with(['7', '8', '9'])),
        "{primary:?}"
    );
    assert_eq!(primary.max_memory_bytes, Some(64 << 20));
    assert_eq!(primary.max_memory_policy.as_deref(), Some("allkeys-lru"));
    assert_eq!(primary.append_fsync.as_deref(), Some("always"));
    assert_eq!(primary.replicas, Some(0));
    assert_eq!(primary.replication_id.as_ref().map(String::len), Some(40));
    assert!(primary.clock_offset_ms.is_some_and(|offset_ms| offset_ms.abs() < 1_000), "{primary:?}");
}

#[tokio::test]
async fn every_primary_of_a_cluster_is_described() {
    let redis = Redis::connect(patient(cluster())).await.unwrap();
    let probe = redis.probe().await.unwrap();
    assert_eq!(probe.mode, DeploymentMode::Cluster);
    assert_eq!(probe.primaries.len(), 3);
    assert!(!probe.can_evict() && !probe.survives_restart());
}

#[tokio::test]
async fn the_primary_that_sentinel_names_is_described_with_its_replicas() {
    let watched = Watched::start();
    let redis = Redis::connect(patient(watched.url())).await.unwrap();
    let probe = redis.probe().await.unwrap();
    assert_eq!(probe.mode, DeploymentMode::Sentinel);
    assert_eq!(probe.primaries[0].address, format!("127.0.0.1:{}", watched.primary().port()));
    assert_eq!(probe.primaries[0].replicas, Some(1));
}

#[tokio::test]
async fn a_user_who_may_not_read_the_configuration_gets_what_there_is() {
    let server = Server::start(
        &Options { credentials: Some(("kit".to_owned(), "pass".to_owned())), ..Options::default() }
            .with(&["--user", "kit", "on", ">pass", "~*", "&*", "+@all"])
            .with(&["--user", "low", "on", ">pw", "~*", "+ping", "+hello", "+info"])
            .with(&["--user", "default", "off"]),
    );
    let redis = Redis::connect(patient(format!("redis://low:pw@127.0.0.1:{}", server.port()))).await.unwrap();
    let probe = redis.probe().await.unwrap();
    assert_eq!(probe.primaries[0].append_fsync, None);
    assert_eq!(probe.primaries[0].clock_offset_ms, None);
    assert_eq!(probe.primaries[0].append_only, Some(false));
}
