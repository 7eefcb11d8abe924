//! What crosses the wire, against a real server.

mod cluster;
mod sentinel;
mod tls;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use ::redis::{Value, cmd};
use larder_testkit::{
    eventually,
    redis::{Options, Server, single},
};

use super::{Redis, RedisConfig, Script};
use crate::ErrorKind;

static COUNT_UP: Script = Script::new("count_up", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
static ECHO: Script = Script::new("echo", "return ARGV[1]");

/// Generous, because the machine that runs the tests may be busy with other things.
fn patient(url: String) -> RedisConfig {
    RedisConfig::new(url).deadline(Duration::from_secs(10))
}

async fn shared() -> Redis {
    Redis::connect(patient(single())).await.unwrap()
}

/// A hash tag that no other test uses.
fn tag() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{{test-{}-{}}}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

#[tokio::test]
async fn a_command_is_one_round_trip() {
    let redis = shared().await;
    let key = tag();
    let before = redis.stats().round_trips;
    redis.command(key.as_bytes(), cmd("SET").arg(&key).arg("v")).await.unwrap();
    assert_eq!(redis.command(key.as_bytes(), cmd("GET").arg(&key)).await.unwrap(), bulk("v"));
    assert_eq!(redis.stats().round_trips - before, 2);
}

#[tokio::test]
async fn a_pipeline_is_one_round_trip_and_each_command_has_its_own_outcome() {
    let redis = shared().await;
    let key = tag();
    let before = redis.stats().round_trips;
    let outcomes = redis
        .pipeline(
            key.as_bytes(),
            vec![
                cmd("SET").arg(&key).arg("text").take(),
                cmd("HGET").arg(&key).arg("field").take(),
                cmd("GET").arg(&key).take(),
            ],
        )
        .await
        .unwrap();
    assert_eq!(redis.stats().round_trips - before, 1);
    assert_eq!(outcomes[0].as_ref().unwrap(), &Value::Okay);
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(outcomes[2].as_ref().unwrap(), &bulk("text"));
}

#[tokio::test]
async fn a_forgotten_script_heals_alone_and_inside_a_pipeline() {
    let server = Server::start(&Options::default());
    let redis = Redis::connect(patient(server.url())).await.unwrap();
    let key = b"{a}n".as_slice();
    for expected in 1..4 {
        assert_eq!(redis.eval(&COUNT_UP, &[key], &[b"1"]).await.unwrap(), Value::Int(expected));
        server.ask(&["SCRIPT", "FLUSH"]);
    }
    let outcomes = redis
        .pipeline(
            key,
            vec![
                COUNT_UP.command(&[key], &[b"10"]),
                cmd("EXISTS").arg(key).take(),
                ECHO.command(&[key], &[b"hello"]),
                COUNT_UP.command(&[key], &[b"not a number"]),
            ],
        )
        .await
        .unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap(), &Value::Int(13));
    assert_eq!(outcomes[1].as_ref().unwrap(), &Value::Int(1));
    assert_eq!(outcomes[2].as_ref().unwrap(), &bulk("hello"));
    assert_eq!(outcomes[3].as_ref().unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(redis.stats().scripts_healed, 3 + 3);
}

#[tokio::test]
async fn keys_of_two_slots_are_refused_before_they_are_sent() {
    let redis = shared().await;
    let before = redis.stats().round_trips;
    let error = redis.eval(&COUNT_UP, &[b"{a}1", b"{b}1"], &[b"1"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = redis.pipeline(b"{a}1", vec![cmd("GET").arg("{b}1").take()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(redis.stats().round_trips, before);
}

#[tokio::test]
async fn while_the_server_is_away_calls_fail_at_once_and_after_its_return_they_succeed_again() {
    let server = Server::start(&Options::default());
    let redis = Redis::connect(patient(server.url())).await.unwrap();
    server.kill();
    eventually("the loss is noticed", Duration::from_secs(5), || async { !redis.is_available() }).await;
    let started = Instant::now();
    assert_eq!(redis.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_millis(100));

    server.restart();
    eventually("the server is used again", Duration::from_secs(2), || async { redis.ping().await.is_ok() })
        .await;
    assert_eq!(redis.generation(), 2);
}

#[tokio::test]
async fn a_handle_is_made_without_a_server_unless_one_is_required() {
    let server = Server::start(&Options::default());
    server.kill();
    let redis = Redis::connect(server.url()).await.unwrap();
    assert!(!redis.is_available());
    let error = Redis::connect(RedisConfig::new(server.url()).require_at_start(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    server.restart();
    eventually("the server is found", Duration::from_secs(2), || async { redis.ping().await.is_ok() }).await;
}
