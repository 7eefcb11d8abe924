//! Silence, delay, cuts, kills: what the network and the server do to a connection.

use larder::redis::BreakerState;
use larder_testkit::proxy::Fault;
use tokio::{task::JoinSet, time::timeout};

use super::*;

#[tokio::test]
async fn every_call_ends_within_its_deadline_whatever_the_network_does_and_succeeds_soon_after() {
    let faults = [Fault::Silent, Fault::Delay(Duration::from_secs(1)), Fault::DropReplies];
    for fault in faults {
        let (_server, proxy, redis) = proxied().await;
        proxy.set(fault);
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let redis = redis.clone();
            calls.spawn(async move { in_time(&redis).await });
        }
        for outcome in calls.join_all().await {
            assert_eq!(kind(outcome), ErrorKind::Timeout, "{fault:?}");
        }
        proxy.set(Fault::Pass);
        comes_back(&redis).await;
    }
}

#[tokio::test]
async fn a_cut_connection_is_replaced() {
    let (_server, proxy, redis) = proxied().await;
    proxy.set(Fault::Silent);
    let waiting = tokio::spawn({
        let redis = redis.clone();
        async move { redis.ping().await }
    });
    eventually("the call is on its way", BACK_WITHIN, || async { redis.stats().round_trips > 0 }).await;
    proxy.cut();
    assert_eq!(kind(waiting.await.unwrap()), ErrorKind::Unavailable);
    proxy.set(Fault::Pass);
    comes_back(&redis).await;
    assert!(redis.generation() > 1);
}

#[tokio::test]
async fn a_reply_cut_in_the_middle_is_a_lost_connection_and_no_answer() {
    let (_server, proxy, redis) = proxied().await;
    proxy.set(Fault::CutAfter(3));
    assert_eq!(kind(in_time(&redis).await), ErrorKind::Unavailable);
    proxy.set(Fault::Pass);
    comes_back(&redis).await;
}

#[tokio::test]
async fn while_connections_are_refused_calls_fail_without_waiting() {
    let (_server, proxy, redis) = proxied().await;
    proxy.set(Fault::Refuse);
    proxy.cut();
    eventually("the loss is noticed", BACK_WITHIN, || async { !redis.is_available() }).await;
    for _ in 0..100 {
        assert_eq!(kind(in_time(&redis).await), ErrorKind::Unavailable);
    }
    assert_eq!(redis.stats().timeouts, 0);
    proxy.set(Fault::Pass);
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_silent_connection_is_noticed_even_if_nobody_calls() {
    let (_server, proxy, redis) = proxied().await;
    proxy.set(Fault::Silent);
    eventually("the silence is noticed", BACK_WITHIN, || async { !redis.is_available() }).await;
    proxy.set(Fault::Pass);
    eventually("the connection is back", BACK_WITHIN, || async { redis.is_available() }).await;
}

#[tokio::test]
async fn a_call_under_way_fails_when_its_connection_is_given_up_long_before_its_deadline() {
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let config = config(proxy.port()).deadline(Duration::from_secs(60));
    let redis = Redis::connect(config.require_at_start(true)).await.unwrap();
    proxy.set(Fault::Silent);
    let outcome = timeout(BACK_WITHIN, redis.ping()).await.expect("nobody waits for a server that is silent");
    assert_eq!(kind(outcome), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_frozen_server_under_load_opens_the_breaker_within_a_second_and_a_probe_closes_it() {
    let server = Server::start(&Options::default());
    // The liveness probe is slow here, so that it is the breaker and not the probe that is seen to act.
    let config = config(server.port()).probe_interval(Duration::from_secs(60));
    let redis = Redis::connect(config.require_at_start(true)).await.unwrap();
    let mut load = JoinSet::new();
    for _ in 0..16 {
        let redis = redis.clone();
        load.spawn(async move {
            loop {
                let _ = in_time(&redis).await;
                tokio::task::yield_now().await;
            }
        });
    }
    eventually("the load is on", BACK_WITHIN, || async { redis.stats().round_trips > 1_000 }).await;
    server.freeze();
    eventually("the breaker opens", Duration::from_secs(1), || async {
        redis.breaker() == BreakerState::Open
    })
    .await;
    server.thaw();
    eventually("the breaker closes", BACK_WITHIN, || async { redis.breaker() == BreakerState::Closed }).await;
    load.abort_all();
    while let Some(ended) = load.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a call missed its deadline");
    }
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_killed_server_is_used_again_when_it_is_back() {
    let (server, _proxy, redis) = proxied().await;
    for _ in 0..2 {
        server.kill();
        eventually("the loss is noticed", BACK_WITHIN, || async { !redis.is_available() }).await;
        assert_eq!(kind(in_time(&redis).await), ErrorKind::Unavailable);
        server.restart();
        comes_back(&redis).await;
    }
}

#[tokio::test]
async fn a_connection_the_server_kills_is_replaced() {
    let (server, _proxy, redis) = proxied().await;
    let before = redis.generation();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("a new connection is made", BACK_WITHIN, || async { redis.generation() > before }).await;
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_paused_server_costs_a_call_its_deadline_and_no_more() {
    let (server, _proxy, redis) = proxied().await;
    server.ask(&["CLIENT", "PAUSE", "60000", "ALL"]);
    assert_eq!(kind(in_time(&redis).await), ErrorKind::Timeout);
    // `CLIENT UNPAUSE` would be paused as well.
    server.restart();
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left_and_one_that_becomes_primary_again_is_taken() {
    let (server, _proxy, redis) = proxied().await;
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("the connection is lost", BACK_WITHIN, || async { !redis.is_available() }).await;
    eventually("the replica is recognised", BACK_WITHIN, || async {
        let error = redis.ping().await.expect_err("no call goes to a replica");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        error.to_string().contains("replica")
    })
    .await;
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    comes_back(&redis).await;
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let (server, _proxy, redis) = proxied().await;
    let connections = |server: &Server| match server.ask(&["CLIENT", "LIST", "TYPE", "normal"]).text() {
        Some(list) => list
            .lines()
            .filter(|client| client.contains("lib-name=larder") || client.contains("resp=3"))
            .count(),
        None => 0,
    };
    assert_eq!(connections(&server), 1);
    let clone = redis.clone();
    drop(redis);
    clone.ping().await.unwrap();
    drop(clone);
    eventually("the connection is closed", BACK_WITHIN, || async { connections(&server) == 0 }).await;
}
