//! Listening and waiting on connections of their own.

use larder_testkit::redis::Cluster;

use super::*;
use crate::redis::{Channel, PushEvent, Subscriber, blocking::BlockingReader, slot::slot_of};

const SOON: Duration = Duration::from_secs(10);

async fn heard(subscriber: &mut Subscriber) -> PushEvent {
    tokio::time::timeout(SOON, subscriber.next()).await.expect("an event comes soon").expect("it never ends")
}

fn channel(name: &str) -> Channel {
    name.as_bytes().into()
}

fn message(name: &str, payload: &str) -> PushEvent {
    PushEvent::Message { channel: channel(name), payload: payload.into() }
}

async fn proxied() -> (Server, Proxy, Redis) {
    let server = Server::start(&Options::default());
    let proxy = Proxy::start(server.port()).await;
    let redis = Redis::connect(patient(format!("redis://127.0.0.1:{}", proxy.port()))).await.unwrap();
    (server, proxy, redis)
}

#[tokio::test]
async fn messages_arrive_in_order_after_the_word_that_they_will() {
    let (server, _proxy, redis) = proxied().await;
    let mut subscriber = redis.subscribe([channel("{a}")]);
    assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel("{a}")));
    for number in 0..300 {
        server.ask(&["SPUBLISH", "{a}", &number.to_string()]);
        assert_eq!(heard(&mut subscriber).await, message("{a}", &number.to_string()));
    }
}

#[tokio::test]
async fn every_gap_is_told_and_then_messages_arrive_again() {
    let (server, proxy, redis) = proxied().await;
    let mut subscriber = redis.subscribe([channel("{a}")]);
    heard(&mut subscriber).await;
    let gaps: [(&str, &dyn Fn()); 4] = [
        ("cut", &|| proxy.cut()),
        ("silence", &|| proxy.set(Fault::Silent)),
        ("killed client", &|| drop(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]))),
        ("restart", &|| server.restart()),
    ];
    for (what, make_gap) in gaps {
        make_gap();
        assert_eq!(heard(&mut subscriber).await, PushEvent::Lost(channel("{a}")), "{what}");
        proxy.set(Fault::Pass);
        assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel("{a}")), "{what}");
        server.ask(&["SPUBLISH", "{a}", what]);
        assert_eq!(heard(&mut subscriber).await, message("{a}", what));
    }
}

#[tokio::test]
async fn an_owner_too_slow_is_told_that_it_missed_something() {
    let (server, _proxy, redis) = proxied().await;
    let mut subscriber = redis.subscribe([channel("{a}")]);
    heard(&mut subscriber).await;
    let sent = 5_000;
    // One script publishes them all, faster than anybody is listening.
    server.ask(&[
        "EVAL",
        "for i = 1, tonumber(ARGV[1]) do redis.call('SPUBLISH', KEYS[1], i) end",
        "1",
        "{a}",
        &sent.to_string(),
    ]);
    let mut expected = 1;
    loop {
        match heard(&mut subscriber).await {
            PushEvent::Message { payload, .. } => {
                assert_eq!(payload, expected.to_string().into_bytes(), "no hole before the loss is told");
                expected += 1;
            }
            PushEvent::Lost(_) => break,
            PushEvent::Subscribed(_) => panic!("subscribed without a loss"),
        }
    }
    assert!(expected <= sent);
    assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel("{a}")));
}

#[tokio::test]
async fn dropping_the_subscriber_closes_its_connection() {
    let (server, _proxy, redis) = proxied().await;
    let mut subscriber = redis.subscribe([channel("{a}")]);
    heard(&mut subscriber).await;
    drop(subscriber);
    eventually("nobody listens", SOON, || async {
        server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).text() == Some("")
    })
    .await;
}

/// A cluster, a channel at each of its primaries, and who listens to all of them.
async fn heard_everywhere() -> (Cluster, Redis, Vec<String>, Subscriber) {
    let cluster = Cluster::start(3, false);
    let redis = Redis::connect(patient(cluster.url())).await.unwrap();
    let names: Vec<String> = (0..3).map(super::cluster::key_at).collect();
    let mut subscriber = redis.subscribe(names.iter().map(|name| channel(name)));
    for _ in &names {
        assert!(matches!(heard(&mut subscriber).await, PushEvent::Subscribed(_)));
    }
    (cluster, redis, names, subscriber)
}

#[tokio::test]
async fn in_a_cluster_channels_are_heard_at_their_primaries_and_followed_when_they_move() {
    let (cluster, _redis, names, mut subscriber) = heard_everywhere().await;
    for (node, name) in cluster.primaries().iter().zip(&names) {
        node.ask(&["SPUBLISH", name, "here"]);
        assert_eq!(heard(&mut subscriber).await, message(name, "here"));
    }
    let moving = &names[0];
    cluster.begin_move(slot_of(moving.as_bytes()), 0, 1).finish();
    assert_eq!(heard(&mut subscriber).await, PushEvent::Lost(channel(moving)));
    assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel(moving)));
    cluster.primaries()[1].ask(&["SPUBLISH", moving, "there"]);
    assert_eq!(heard(&mut subscriber).await, message(moving, "there"));
}

#[tokio::test]
async fn while_a_primary_is_away_the_channels_of_the_others_are_heard_again_after_a_loss() {
    let (cluster, redis, names, mut subscriber) = heard_everywhere().await;
    let (away, other) = (&cluster.primaries()[0], &cluster.primaries()[1]);
    away.kill();
    assert_eq!(heard(&mut subscriber).await, PushEvent::Lost(channel(&names[0])));
    eventually("its link is down", SOON, || async {
        redis.inner.ears.topology.primary_of(names[0].as_bytes()).is_none()
    })
    .await;
    other.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(heard(&mut subscriber).await, PushEvent::Lost(channel(&names[1])));
    assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel(&names[1])));
    other.ask(&["SPUBLISH", &names[1], "here"]);
    assert_eq!(heard(&mut subscriber).await, message(&names[1], "here"));
    away.restart();
    assert_eq!(heard(&mut subscriber).await, PushEvent::Subscribed(channel(&names[0])));
}

fn pop(list: &str, wait_seconds: f64) -> ::redis::Cmd {
    cmd("BLPOP").arg(list).arg(wait_seconds).take()
}

#[tokio::test]
async fn a_blocking_read_waits_without_holding_up_other_calls() {
    let (server, _proxy, redis) = proxied().await;
    let mut reader = BlockingReader::new(&redis, b"list");
    let waiting = pop("list", 30.0);
    let (popped, ()) = tokio::join!(reader.read(&waiting, SOON), async {
        eventually("the read waits at the server", SOON, || async {
            server.ask(&["INFO", "clients"]).text().is_some_and(|info| info.contains("blocked_clients:1"))
        })
        .await;
        redis.ping().await.unwrap();
        server.ask(&["RPUSH", "list", "x"]);
    });
    assert_eq!(popped.unwrap(), Value::Array(vec![bulk("list"), bulk("x")]));
    assert_eq!(reader.read(&pop("list", 0.05), SOON).await.unwrap(), Value::Nil);
}

#[tokio::test]
async fn a_blocking_read_ends_within_its_time_and_the_next_one_starts_afresh() {
    let (server, proxy, redis) = proxied().await;
    let redis = redis.with_deadline(Duration::from_millis(100));
    let mut reader = BlockingReader::new(&redis, b"list");
    reader.read(&pop("list", 0.01), SOON).await.unwrap();
    proxy.set(Fault::DropReplies);
    let late = reader.read(&pop("list", 0.01), Duration::from_millis(50)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    proxy.set(Fault::Pass);
    server.ask(&["RPUSH", "list", "fresh"]);
    eventually("the next read succeeds", SOON, || async {
        let mut reader = BlockingReader::new(&redis, b"list");
        reader
            .read(&cmd("LRANGE").arg("list").arg(0).arg(-1).take(), Duration::ZERO)
            .await
            .is_ok_and(|reply| reply == Value::Array(vec![bulk("fresh")]))
    })
    .await;
    server.kill();
    let lost = reader.read(&pop("list", 0.01), Duration::ZERO).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Unavailable);
}
