//! When the sequence of a shard begins again: what was before is worthless, and what comes after is cached as ever.

use std::time::Duration;

use larder::{Cache, cache::TierState, redis::Redis};
use larder_testkit::{
    eventually,
    redis::{Cluster, Options, Reply, Server},
};

use crate::setup::{Origin, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(5);

async fn node(url: &str) -> Cache<String, u64> {
    let redis = Redis::connect(url).await.unwrap();
    let builder = Cache::builder("epochs").policy(lasting()).redis(&redis);
    builder.tags(|_: &String, _: &u64| vec!["tag".to_owned()]).build().unwrap()
}

async fn value(cache: &Cache<String, u64>, origin: &Origin) -> u64 {
    *cache.get_with(KEY, origin.loader()).await.unwrap().unwrap()
}

/// Removes what every shard has by this name, as an eviction may.
fn lose(servers: &[Server], name: &str) {
    for server in servers {
        let Reply::Array(keys) = server.ask(&["KEYS", &format!("*:{name}")]) else {
            panic!("keys are listed")
        };
        assert!(!keys.is_empty(), "every shard has its `{name}`");
        for key in keys.iter().filter_map(Reply::text) {
            server.ask(&["DEL", key]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_of_an_earlier_epoch_refuse_no_fill_and_hide_no_clear() {
    let (server, cluster) = ([Server::start(&Options::default())], Cluster::start(3, false));
    earlier_purges_mean_nothing(&server[0].url(), &server).await;
    earlier_purges_mean_nothing(&cluster.url(), cluster.primaries()).await;
}

async fn earlier_purges_mean_nothing(url: &str, servers: &[Server]) {
    let (a, b) = (node(url).await, node(url).await);
    let origin = Origin::open(1);
    for _ in 0..30 {
        a.invalidate_tag("tag").await.unwrap();
        a.clear().await.unwrap();
        a.invalidate_pattern("nothing*").await.unwrap();
    }
    lose(servers, "q");
    eventually("what is loaded is stored again", SOON, || async {
        value(&a, &origin).await;
        matches!(a.explain(&KEY.to_owned()).await.shared, Some(TierState::Holds { present: true, .. }))
    })
    .await;
    for number in 2..5 {
        assert_eq!(value(&b, &origin).await, number - 1);
        origin.write(number);
        if number % 2 == 0 {
            a.clear().await.unwrap()
        } else {
            a.invalidate_tag("tag").await.unwrap()
        };
        assert_eq!(value(&a, &origin).await, number);
        eventually("the other node has heard", SOON, || async { value(&b, &origin).await == number }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_the_note_of_its_history_is_not_taken_for_the_one_from_before() {
    let server = Server::start(&Options::default());
    let origin = Origin::open(1);
    let before = node(&server.url()).await;
    assert_eq!(value(&before, &origin).await, 1);
    lose(std::slice::from_ref(&server), "rid");
    server.ask(&["SAVE"]);
    origin.write(2);
    before.invalidate(KEY).await.unwrap();
    drop(before);
    tokio::task::block_in_place(|| server.restart());
    let after = node(&server.url()).await;
    assert_eq!(value(&after, &origin).await, 2, "the snapshot has the value from before");
}
