//! Nodes that are told of invalidations and do not check that they hear of them.

use std::time::Duration;

use larder::{
    Cache, FakeClock,
    cache::{Consistency, ReadOptions, Served},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Deployment, Options},
};

use crate::setup::{LONG, Origin, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);

async fn node(url: &str, clock: &FakeClock, consistency: Consistency) -> Cache<String, u64> {
    let redis = Redis::connect(url).await.unwrap();
    let policy = lasting().near_ttl(LONG);
    let builder = Cache::builder("local").redis(&redis).policy(policy).clock(clock.clone());
    builder.consistency(consistency).build().unwrap()
}

async fn value(cache: &Cache<String, u64>, origin: &Origin) -> (u64, Served) {
    let read = cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
    (*read.value.unwrap(), read.served)
}

/// The clock of the nodes stands still unless the test moves it, so nothing runs out by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_node_that_is_cut_off_serves_its_copies_until_they_expire_and_a_bounded_one_does_not() {
    let bounded = Consistency::Bounded(Duration::from_secs(1));
    for (consistency, serves) in [(Consistency::Local, true), (bounded, false)] {
        for deployment in Deployment::each(&Options::default()) {
            let proxy = Front::start(&deployment).await;
            let clock = FakeClock::default();
            let writer = node(&deployment.url(), &clock, consistency).await;
            let cut_off = node(&proxy.url(), &clock, consistency).await;
            let origin = Origin::open(1);
            eventually("it has a copy of its own", SOON, || async {
                value(&cut_off, &origin).await == (1, Served::Near)
            })
            .await;
            proxy.set(Fault::Silent);
            origin.write(2);
            writer.invalidate(KEY).await.unwrap();
            assert_eq!(value(&writer, &origin).await.0, 2, "{consistency:?}: where it was invalidated");

            clock.advance(LONG - Duration::from_secs(10));
            let expected = if serves { (1, Served::Near) } else { (2, Served::Source) };
            assert_eq!(value(&cut_off, &origin).await, expected, "{consistency:?}: long past any bound");
            clock.advance(Duration::from_secs(11));
            assert_eq!(value(&cut_off, &origin).await.0, 2, "{consistency:?}: past its lifetime");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_node_hears_of_invalidations_and_of_those_that_it_missed_when_it_is_back() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let clock = FakeClock::default();
        let writer = node(&deployment.url(), &clock, Consistency::Local).await;
        let other = node(&proxy.url(), &clock, Consistency::Local).await;
        let origin = Origin::open(0);
        for number in 1..20 {
            assert_eq!(value(&other, &origin).await.0, number - 1);
            origin.write(number);
            writer.invalidate(KEY).await.unwrap();
            assert_eq!(value(&writer, &origin).await.0, number);
            eventually("the other node has heard", SOON, || async {
                value(&other, &origin).await.0 == number
            })
            .await;
        }
        eventually("it has a copy of its own", SOON, || async {
            value(&other, &origin).await == (19, Served::Near)
        })
        .await;
        proxy.set(Fault::Refuse);
        proxy.cut();
        origin.write(20);
        writer.invalidate(KEY).await.unwrap();
        assert_eq!(value(&other, &origin).await, (19, Served::Near), "it cannot know");
        proxy.set(Fault::Pass);
        eventually("it has read what it missed", SOON, || async { value(&other, &origin).await.0 == 20 })
            .await;
    }
}
