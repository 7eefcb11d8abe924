//! What was acknowledged by a primary whose replica takes over without it.

use std::{collections::BTreeSet, time::Duration};

use larder::{
    Cache,
    cache::{Consistency, ReadOptions, TierState},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::Proxy,
    redis::{Options, Server},
};

use crate::{
    setup::{DEAFEN, Origin, deaf, lasting},
    way::{KEY, Way},
};

const OTHER: &str = "tenant:other";
const SOON: Duration = Duration::from_secs(10);

/// A primary and its replica, and two nodes, each with a way of its own to whichever it takes for the primary.
struct Split {
    primary: Server,
    replica: Server,
    ways: [Proxy; 2],
}

impl Split {
    async fn start() -> Self {
        let primary = Server::start(&Options::default().with(&["--repl-diskless-sync-delay", "0"]));
        let port = primary.port().to_string();
        let replica = Server::start(&Options::default().with(&["--replicaof", "127.0.0.1", &port]));
        let ways = [Proxy::start(primary.port()).await, Proxy::start(primary.port()).await];
        let split = Self { primary, replica, ways };
        eventually("the replica follows", SOON, || async { split.replica_says("master_link_status:up") })
            .await;
        split
    }

    fn replica_says(&self, word: &str) -> bool {
        self.replica.ask(&["INFO", "replication"]).text().is_some_and(|info| info.contains(word))
    }

    /// Returns when the replica has everything.
    async fn in_step(&self) {
        let of = |server: &Server, field: &str| {
            let info = server.ask(&["INFO", "replication"]);
            let line =
                info.text().and_then(|info| Some(info.split_once(field)?.1.lines().next()?.to_owned()));
            line.expect("a server tells how far it is")
        };
        eventually("the replica has everything", SOON, || async {
            of(&self.primary, "master_repl_offset:") == of(&self.replica, "slave_repl_offset:")
        })
        .await;
    }

    /// The replica takes over with what it has; the old primary does not know and goes on.
    fn take_over(&self) {
        assert_eq!(self.replica.ask(&["REPLICAOF", "NO", "ONE"]).text(), Some("OK"));
    }

    fn lead_to_the_new_primary(&self, node: usize) {
        self.ways[node].lead_to(self.replica.port());
    }

    async fn node(&self, name: &str, node: usize) -> Cache<String, u64> {
        let redis = Redis::connect(format!("redis://127.0.0.1:{}", self.ways[node].port())).await.unwrap();
        let policy = lasting().stale_if_error(Duration::from_secs(60));
        let builder = Cache::builder(name).policy(policy).redis(&redis);
        builder.tags(|_: &String, _: &u64| vec!["tag".to_owned()]).build().unwrap()
    }
}

/// A node that hears nothing and looks twice a minute, so that only an answer can tell it of another server.
async fn deaf_node(split: &Split, name: &str) -> Cache<String, u64> {
    for server in [&split.primary, &split.replica] {
        server.ask(&DEAFEN);
    }
    let url = deaf(&format!("redis://127.0.0.1:{}", split.ways[0].port()));
    let redis = Redis::connect(&*url).await.unwrap();
    let seldom = Consistency::Bounded(Duration::from_secs(60));
    Cache::builder(name).policy(lasting()).redis(&redis).consistency(seldom).build().unwrap()
}

async fn value(cache: &Cache<String, u64>, origin: &Origin) -> u64 {
    value_of(KEY, cache, origin).await
}

async fn value_of(key: &str, cache: &Cache<String, u64>, origin: &Origin) -> u64 {
    *cache.get_with(key, origin.loader()).await.unwrap().unwrap()
}

async fn is_stored(cache: &Cache<String, u64>, key: &str) -> bool {
    matches!(cache.explain(&key.to_owned()).await.shared, Some(TierState::Holds { present: true, .. }))
}

/// One cache of the two nodes, and its database.
struct Side {
    way: Way,
    origin: Origin,
    cut_off: Cache<String, u64>,
    other: Cache<String, u64>,
}

impl Side {
    async fn all(split: &Split) -> Vec<Self> {
        let mut sides = Vec::new();
        for way in Way::ALL {
            let name = format!("failover-{way:?}").to_lowercase();
            let (cut_off, other) = (split.node(&name, 0).await, split.node(&name, 1).await);
            let origin = Origin::open(1);
            for node in [&cut_off, &other] {
                assert_eq!(value_of("at first", node, &origin).await, 1);
            }
            sides.push(Self { way, origin, cut_off, other });
        }
        sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_primary_acknowledged_after_it_was_replaced_is_sent_again_to_the_new_one() {
    let split = Split::start().await;
    let sides = Side::all(&split).await;
    split.take_over();
    split.lead_to_the_new_primary(1);
    for Side { way, origin, other, .. } in &sides {
        eventually("the new primary has the value from before the change", SOON, || async {
            assert_eq!(value(other, origin).await, 1);
            assert_eq!(value_of(OTHER, other, origin).await, 1);
            is_stored(other, KEY).await && is_stored(other, OTHER).await
        })
        .await;
        assert_eq!(value(other, origin).await, 1, "{way:?}");
    }
    for Side { way, origin, cut_off, .. } in &sides {
        way.change(cut_off, origin, 2).await.expect("the old primary acknowledges it");
        assert_eq!(value(cut_off, origin).await, 2, "{way:?}");
    }
    for Side { way, origin, other, .. } in &sides {
        assert_eq!(value(other, origin).await, 1, "{way:?}: nobody on this side has heard of it");
    }

    split.lead_to_the_new_primary(0);
    for Side { way, origin, cut_off, other } in &sides {
        eventually("the other node reads the new value", SOON, || async {
            assert_eq!(value(cut_off, origin).await, 2, "{way:?}: the node that changed it");
            value(other, origin).await == 2
        })
        .await;
        let late = split.node(cut_off.name(), 1).await;
        assert_eq!(value(&late, origin).await, 2, "{way:?}");
        let expected = if way.takes_all() { 2 } else { 1 };
        eventually("no more and no less is forgotten than that", SOON, || async {
            value_of(OTHER, other, origin).await == expected
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_had_not_heard_of_when_it_took_over_is_nowhere_read_again() {
    let split = Split::start().await;
    let sides = Side::all(&split).await;
    for Side { origin, cut_off, other, .. } in &sides {
        for node in [cut_off, other] {
            assert_eq!(value(node, origin).await, 1);
        }
    }
    split.in_step().await;
    // It hears of nothing from here on.
    split.take_over();
    for Side { way, origin, cut_off, .. } in &sides {
        way.change(cut_off, origin, 2).await.expect("the primary acknowledges it");
    }
    for node in [0, 1] {
        split.lead_to_the_new_primary(node);
    }
    for Side { way, origin, cut_off, other } in &sides {
        let late = split.node(cut_off.name(), 1).await;
        let read: BTreeSet<u64> =
            [value(cut_off, origin).await, value(&late, origin).await].into_iter().collect();
        assert_eq!(read, BTreeSet::from([2]), "{way:?}");
        eventually("the other node has heard", SOON, || async { value(other, origin).await == 2 }).await;
        for node in [cut_off, other] {
            let fresh = ReadOptions::default();
            let read = node.read_with(KEY, &fresh, origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&2), "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peek_does_not_believe_a_primary_that_never_heard_of_an_invalidation() {
    let split = Split::start().await;
    let node = deaf_node(&split, "peeked").await;
    let origin = Origin::open(1);
    assert_eq!(value(&node, &origin).await, 1);
    split.in_step().await;
    split.take_over();
    origin.write(2);
    node.invalidate(KEY).await.expect("the old primary acknowledges it");
    split.lead_to_the_new_primary(0);
    eventually("the new primary answers", SOON, || async {
        // The first may still be lost with the connection.
        let Ok(read) = node.peek(&KEY.to_owned()).await else { return false };
        assert!(read.is_none(), "it is from before the invalidation: {read:?}");
        true
    })
    .await;
}
