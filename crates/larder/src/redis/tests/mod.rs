//! What crosses the wire, against a real server.

mod cluster;
mod lane;
mod least;
mod probe;
mod push;
mod sentinel;
mod tls;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use ::redis::{Value, cmd};
use larder_testkit::{
    eventually,
    proxy::{Fault, Proxy},
    redis::{Options, Server, single},
};

use super::{Breaker, BreakerState, Redis, RedisConfig, Script};
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

#[test]
fn a_call_ends_at_its_deadline_though_the_runtime_of_its_connection_stands_still() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, used) = (runtime(), runtime());
    let config = RedisConfig::new(single()).deadline(Duration::from_millis(100));
    let redis = idle.block_on(Redis::connect(config)).unwrap();
    let patience = Duration::from_secs(10);
    let answer = used.block_on(async { tokio::time::timeout(patience, redis.ping()).await });
    assert_eq!(answer.expect("it ends").unwrap_err().kind(), ErrorKind::Timeout);
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
    // Three calls, and two scripts in the pipeline, one of them twice.
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
    let primaries = redis.primaries();
    assert_eq!(primaries.len(), 1);
    assert!(primaries[0].connected && primaries[0].breaker == BreakerState::Closed);
    assert_eq!(primaries[0].address, Some(format!("127.0.0.1:{}", server.port())));
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

#[tokio::test]
async fn a_full_server_refuses_writes_and_stays_in_use() {
    let server =
        Server::start(&Options::default().with(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]));
    let redis = Redis::connect(patient(server.url())).await.unwrap();
    let value = "x".repeat(200_000);
    let mut refused = 0;
    for number in 0..40 {
        let key = format!("k{number}");
        if let Err(error) = redis.command(key.as_bytes(), cmd("SET").arg(&key).arg(&value)).await {
            assert_eq!(error.kind(), ErrorKind::Full);
            assert!(error.to_string().contains("maxmemory"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 20, "{refused}");
    assert_eq!(redis.breaker(), BreakerState::Closed);
    assert!(redis.command(b"k0", cmd("GET").arg("k0")).await.is_ok());
}

#[tokio::test]
async fn a_late_reply_never_answers_another_call() {
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let config =
        RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port())).deadline(Duration::from_millis(100));
    let redis = Redis::connect(
        config.breaker(Breaker::default().failures_in_a_row(u32::MAX).minimum_calls(u32::MAX)),
    )
    .await
    .unwrap();
    let echo = |text: String| {
        let redis = redis.clone();
        async move { redis.command(b"", cmd("ECHO").arg(&text)).await.map(|reply| (reply, text)) }
    };
    proxy.set(Fault::Delay(Duration::from_millis(300)));
    let mut late = tokio::task::JoinSet::new();
    for number in 0..20 {
        late.spawn(echo(format!("late-{number}")));
    }
    for outcome in late.join_all().await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Timeout);
    }
    proxy.set(Fault::Pass);
    let mut answered = 0;
    eventually("calls are answered", Duration::from_secs(5), || async {
        if let Ok((reply, text)) = echo(format!("early-{answered}")).await {
            assert_eq!(reply, bulk(&text));
            return true;
        }
        false
    })
    .await;
    while answered < 50 {
        let (reply, text) = echo(format!("after-{answered}")).await.unwrap();
        assert_eq!(reply, bulk(&text));
        answered += 1;
    }
}

#[tokio::test]
async fn a_demoted_primary_is_left_even_while_it_goes_on_answering_reads() {
    let server = Server::start(&Options::default());
    let redis = Redis::connect(patient(server.url())).await.unwrap();
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    eventually("reads are refused", Duration::from_secs(5), || async {
        redis
            .command(b"k", cmd("GET").arg("k"))
            .await
            .is_err_and(|error| error.kind() == ErrorKind::Unavailable)
    })
    .await;
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    eventually("it is used again", Duration::from_secs(2), || async { redis.ping().await.is_ok() }).await;
}

#[tokio::test]
async fn a_refused_write_leads_away_from_a_demoted_primary_at_once() {
    let server = Server::start(&Options::default());
    let config = patient(server.url()).probe_interval(Duration::from_secs(60));
    let redis = Redis::connect(config).await.unwrap();
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = redis.command(b"k", cmd("SET").arg("k").arg("v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    eventually("it is left", Duration::from_secs(2), || async { !redis.is_available() }).await;
}

#[tokio::test]
async fn a_restart_keeps_what_an_append_only_file_holds_and_nothing_else() {
    for append_only in [true, false] {
        let server = Server::start(&Options { append_only, ..Options::default() });
        let redis = Redis::connect(patient(server.url())).await.unwrap();
        redis.command(b"k", cmd("SET").arg("k").arg("v")).await.unwrap();
        server.restart();
        eventually("the server is used again", Duration::from_secs(5), || async {
            redis.ping().await.is_ok()
        })
        .await;
        let kept = redis.command(b"k", cmd("GET").arg("k")).await.unwrap();
        assert_eq!(kept, if append_only { bulk("v") } else { Value::Nil });
    }
}
