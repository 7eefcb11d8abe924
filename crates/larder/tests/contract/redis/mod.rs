//! The connection to Redis on bad days.

mod faults;

use std::time::{Duration, Instant};

use larder::{
    ErrorKind, Result,
    redis::{Redis, RedisConfig},
};
use larder_testkit::{
    eventually,
    proxy::Proxy,
    redis::{Options, Server},
};

const DEADLINE: Duration = Duration::from_millis(200);
/// What a busy machine may add to a deadline before a test calls it missed.
const SLACK: Duration = Duration::from_millis(600);
/// The promise: hits are back this soon after the server is.
const BACK_WITHIN: Duration = Duration::from_secs(2);

fn config(port: u16) -> RedisConfig {
    RedisConfig::new(format!("redis://127.0.0.1:{port}")).deadline(DEADLINE)
}

async fn connect(port: u16) -> Redis {
    let redis = Redis::connect(config(port).require_at_start(true)).await;
    redis.expect("the server is there")
}

/// A server, a proxy in front of it, and a handle that goes through the proxy.
async fn proxied() -> (Server, Proxy, Redis) {
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let redis = connect(proxy.port()).await;
    (server, proxy, redis)
}

/// Calls until one succeeds, each within its deadline.
async fn comes_back(redis: &Redis) {
    eventually("calls succeed again", BACK_WITHIN, || async { in_time(redis).await.is_ok() }).await;
}

/// One call, which must end within its deadline, well or not.
async fn in_time(redis: &Redis) -> Result<()> {
    let started = Instant::now();
    let outcome = redis.ping().await;
    let took = started.elapsed();
    assert!(took < DEADLINE + SLACK, "a call took {took:?}: {outcome:?}");
    outcome
}

fn kind(outcome: Result<()>) -> ErrorKind {
    outcome.expect_err("the call fails").kind()
}
