//! When the sequence of a shard begins again: what was before is worthless, and what comes after is cached as ever.

use std::time::Duration;

use larder::{Cache, cache::TierState, redis::Redis};
use larder_testkit::{
    eventually,
    redis::{Deployment, Options},
};

use crate::setup::{Origin, lasting};

const KEY: &str = "k";
/// How many a cache has unless it is told otherwise.
const SHARDS: usize = 16;
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
async fn lose(deployment: &Deployment, name: &str) {
    let keys = || deployment.keys(&format!("*:{name}"));
    // A new node looks at its shards one after the other.
    eventually("every shard has one", SOON, || async { keys().len() == SHARDS }).await;
    for key in keys() {
        deployment.ask(&["DEL", &key]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_of_an_earlier_epoch_refuse_no_fill_and_hide_no_clear() {
    for deployment in Deployment::each(&Options::default()) {
        earlier_purges_mean_nothing(&deployment).await;
    }
}

async fn earlier_purges_mean_nothing(deployment: &Deployment) {
    let (a, b) = (node(&deployment.url()).await, node(&deployment.url()).await);
    let origin = Origin::open(1);
    for _ in 0..30 {
        a.invalidate_tag("tag").await.unwrap();
        a.clear().await.unwrap();
        a.invalidate_pattern("nothing*").await.unwrap();
    }
    lose(deployment, "q").await;
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
    for deployment in Deployment::each(&Options::default()) {
        let origin = Origin::open(1);
        let before = node(&deployment.url()).await;
        assert_eq!(value(&before, &origin).await, 1);
        lose(&deployment, "rid").await;
        deployment.ask_all(&["SAVE"]);
        origin.write(2);
        before.invalidate(KEY).await.unwrap();
        drop(before);
        tokio::task::block_in_place(|| deployment.restart());
        let after = node(&deployment.url()).await;
        assert_eq!(value(&after, &origin).await, 2, "the snapshot has the value from before");
    }
}
