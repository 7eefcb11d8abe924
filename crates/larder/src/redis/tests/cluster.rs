//! The same calls over Redis Cluster, and what only a cluster can do to them.

use larder_testkit::redis::{Cluster, Reply, cluster};
use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::redis::slot::slot_of;

/// A key whose slot belongs to the primary at `index` of three.
pub(super) fn key_at(index: usize) -> String {
    (0..)
        .map(|number| format!("{{k{number}}}"))
        .find(|key| usize::from(slot_of(key.as_bytes())) * 3 / 16_384 == index)
        .expect("some key falls into every third")
}

async fn set(redis: &Redis, key: &str, value: &str) -> crate::Result<Value> {
    redis.command(key.as_bytes(), cmd("SET").arg(key).arg(value)).await
}

async fn get(redis: &Redis, key: &str) -> crate::Result<Value> {
    redis.command(key.as_bytes(), cmd("GET").arg(key)).await
}

#[test]
fn slots_are_those_that_the_server_computes() {
    let server = Server::start(&Options::default().with(&["--cluster-enabled", "yes"]));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(500));
    let key = prop_oneof!["[ -~]{0,40}", "[{}a-c]{0,12}", "\\PC{0,12}"];
    runner
        .run(&key, |key| {
            let theirs = server.ask(&["CLUSTER", "KEYSLOT", &key]);
            prop_assert_eq!(Reply::Int(slot_of(key.as_bytes()).into()), theirs);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn every_key_goes_straight_to_its_primary() {
    let redis = Redis::connect(patient(cluster())).await.unwrap();
    let before = redis.stats().round_trips;
    for number in 0..60 {
        let key = format!("straight-{number}");
        set(&redis, &key, "v").await.unwrap();
        assert_eq!(get(&redis, &key).await.unwrap(), bulk("v"));
    }
    assert_eq!(redis.stats().round_trips - before, 120);
    assert!(redis.is_available());
    redis.ping().await.unwrap();
}

#[tokio::test]
async fn scripts_and_pipelines_work_on_every_primary() {
    let redis = Redis::connect(patient(cluster())).await.unwrap();
    for index in 0..3 {
        let key = format!("{}:{}", key_at(index), tag());
        let key = key.as_bytes();
        assert_eq!(redis.eval(&COUNT_UP, &[key], &[b"2"]).await.unwrap(), Value::Int(2));
        let outcomes = redis
            .pipeline(key, vec![COUNT_UP.command(&[key], &[b"3"]), cmd("GET").arg(key).take()])
            .await
            .unwrap();
        assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Value::Int(5), bulk("5")]);
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_then_known() {
    let cluster = Cluster::start(3, false);
    let redis = Redis::connect(patient(cluster.url())).await.unwrap();
    let key = key_at(0);
    set(&redis, &key, "before").await.unwrap();
    cluster.begin_move(slot_of(key.as_bytes()), 0, 2).finish();

    assert_eq!(get(&redis, &key).await.unwrap(), bulk("before"));
    let outcomes = redis
        .pipeline(key.as_bytes(), vec![cmd("GET").arg(&key).take(), COUNT_UP.command(&[b"{k}"], &[b"1"])])
        .await;
    assert_eq!(outcomes.unwrap_err().kind(), ErrorKind::Config, "the slot check comes first");
    let outcomes = redis
        .pipeline(key.as_bytes(), vec![cmd("GET").arg(&key).take(), ECHO.command(&[key.as_bytes()], &[b"x"])])
        .await
        .unwrap();
    assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [bulk("before"), bulk("x")]);

    eventually("the new owner is known", Duration::from_secs(5), || async {
        let before = redis.stats().round_trips;
        get(&redis, &key).await.unwrap();
        redis.stats().round_trips - before == 1
    })
    .await;
}

#[tokio::test]
async fn a_slot_on_the_move_is_asked_for_at_both_ends() {
    let cluster = Cluster::start(3, false);
    let redis = Redis::connect(patient(cluster.url())).await.unwrap();
    let key = key_at(1);
    let (gone, stays) = (format!("{key}gone"), format!("{key}stays"));
    set(&redis, &gone, "1").await.unwrap();
    set(&redis, &stays, "2").await.unwrap();
    cluster.begin_move(slot_of(key.as_bytes()), 1, 0).take(&gone);

    assert_eq!(get(&redis, &gone).await.unwrap(), bulk("1"));
    assert_eq!(get(&redis, &stays).await.unwrap(), bulk("2"));
    let reads = [&gone, &stays, &gone].map(|key| cmd("GET").arg(key).take()).to_vec();
    let outcomes = redis.pipeline(key.as_bytes(), reads).await.unwrap();
    assert_eq!(
        outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [bulk("1"), bulk("2"), bulk("1")]
    );
}

#[tokio::test]
async fn a_primary_is_asked_before_it_has_its_first_slot() {
    let cluster = Cluster::start_with_newcomer(3);
    let redis = Redis::connect(patient(cluster.url())).await.unwrap();
    let key = key_at(1);
    let (gone, stays) = (format!("{key}gone"), format!("{key}stays"));
    set(&redis, &gone, "1").await.unwrap();
    set(&redis, &stays, "2").await.unwrap();
    let moving = cluster.begin_move(slot_of(key.as_bytes()), 1, 3);
    moving.take(&gone);

    // Many at once find it missing, and each is answered.
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (redis, gone) = (redis.clone(), gone.clone());
            tokio::spawn(async move { get(&redis, &gone).await })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), bulk("1"));
    }
    assert_eq!(get(&redis, &stays).await.unwrap(), bulk("2"));
    // A look of the supervisor's may come between.
    eventually("it is connected to, and asked at once", Duration::from_secs(5), || async {
        let before = redis.stats().round_trips;
        get(&redis, &gone).await.unwrap();
        redis.stats().round_trips - before == 2
    })
    .await;

    moving.finish();
    eventually("the new owner is known", Duration::from_secs(5), || async {
        let before = redis.stats().round_trips;
        get(&redis, &gone).await.unwrap();
        redis.stats().round_trips - before == 1
    })
    .await;
}

#[tokio::test]
async fn a_script_over_a_slot_that_is_split_waits_until_it_is_whole_again() {
    let cluster = Cluster::start(3, false);
    let redis = Redis::connect(patient(cluster.url())).await.unwrap();
    let key = key_at(0);
    let (here, nowhere) = (format!("{key}here"), format!("{key}nowhere"));
    let keys = [here.as_bytes(), nowhere.as_bytes()];
    set(&redis, &here, "1").await.unwrap();
    let moving = cluster.begin_move(slot_of(key.as_bytes()), 0, 1);

    let hasty = redis.with_deadline(Duration::from_millis(50));
    for _ in 0..20 {
        let error = hasty.eval(&ECHO, &keys, &[b"x"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert_eq!(redis.breaker(), BreakerState::Closed, "nothing is wrong with the servers");

    let patient = tokio::spawn({
        let (redis, key) = (redis.clone(), key.clone());
        async move {
            let keys = [format!("{key}here"), format!("{key}nowhere")];
            redis.eval_when_whole(&ECHO, &[keys[0].as_bytes(), keys[1].as_bytes()], &[b"x"]).await
        }
    });
    let refused = redis.stats().round_trips;
    eventually("it was refused", Duration::from_secs(5), || async { redis.stats().round_trips > refused })
        .await;
    moving.finish();
    assert_eq!(patient.await.unwrap().unwrap(), bulk("x"));
}

#[tokio::test]
async fn a_frozen_primary_stops_the_calls_to_its_own_slots_only() {
    let cluster = Cluster::start(3, false);
    let config = RedisConfig::new(cluster.url()).deadline(Duration::from_millis(200));
    let redis = Redis::connect(config).await.unwrap();
    // The other nodes answer `CLUSTERDOWN` when one is missing, unless told that part of the slots will do.
    for node in cluster.primaries() {
        node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    cluster.primaries()[1].freeze();
    let (sick, well) = (key_at(1), key_at(0));
    eventually("calls to the frozen primary fail at once", Duration::from_secs(10), || async {
        let error = get(&redis, &sick).await.unwrap_err();
        assert!(get(&redis, &well).await.is_ok(), "the other primaries go on");
        error.kind() == ErrorKind::Unavailable
    })
    .await;
    assert!(!redis.is_available() || redis.breaker() != crate::redis::BreakerState::Closed);
    cluster.primaries()[1].thaw();
    eventually("it is used again", Duration::from_secs(5), || async { get(&redis, &sick).await.is_ok() })
        .await;
}

#[tokio::test]
async fn after_a_failover_the_replica_that_took_over_is_used() {
    let cluster = Cluster::start(3, true);
    let config = RedisConfig::new(cluster.url()).deadline(Duration::from_millis(200));
    let redis = Redis::connect(config).await.unwrap();
    let key = key_at(2);
    set(&redis, &key, "v").await.unwrap();
    cluster.primaries()[2].kill();
    eventually("the replica serves the slots", Duration::from_secs(20), || async {
        set(&redis, &key, "w").await.is_ok()
    })
    .await;
    assert_eq!(get(&redis, &key).await.unwrap(), bulk("w"));
}
