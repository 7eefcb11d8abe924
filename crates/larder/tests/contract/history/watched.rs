//! The same over a database that another program writes as well, past the cache, while a watch follows it.

use std::{sync::Arc, time::Duration};

use larder::{
    cache::Consistency,
    document::{Collection, Watch},
    redis::Redis,
};
use larder_testkit::{
    lasting,
    mongo::Server,
    redis::{Deployment, Options},
};
use tokio::{
    sync::watch as signal,
    task::{JoinSet, block_in_place},
};

use super::{BOUND, MODES, NODES, SLACK, check, shop::Shop};
use crate::{
    setup::{Backend, lasting as lasting_policy},
    watch::{
        place::{Place, until_led, watch},
        process::Process,
    },
};

/// Nobody but the feed can tell of what another program wrote: a read may be behind by the feed's lag and the bound.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_wrote_is_read_once_the_feed_has_told_it_and_the_bound_has_passed() {
    for consistency in MODES {
        let place = Place::new().await;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let redis = Backend::Redis.connect().await;
            let builder = place.builder(&place.url, redis.as_ref()).await;
            let builder = builder.cache_lists(lasting_policy());
            nodes.push(builder.consistency(consistency).write_through().build().unwrap());
        }
        let shop = Shop::calm(place, nodes.clone()).await;
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        let leader = until_led(&watches.iter().collect::<Vec<_>>()).await;
        let verdict = shop.judge(41, lasting(Duration::from_secs(3))).await;

        verdict.say(&format!("writes past the cache under a watch, {consistency:?}"));
        assert_eq!(verdict.stale_here, 0, "{consistency:?}: on the node that wrote: {verdict:?}");
        let lag = watches[leader].stats()[0].longest_lag;
        assert!(verdict.oldest_elsewhere <= lag + BOUND + SLACK, "{consistency:?}: {lag:?}, {verdict:?}");
    }
}

/// A shop and who watches it: a process of its own, which leads first, and each of the nodes.
struct Side {
    shop: Arc<Shop>,
    process: Process,
    watches: Vec<Watch>,
    /// Who takes note of what is told.
    _notes: JoinSet<()>,
}

impl Side {
    async fn open(deployment: &Deployment, server: &Server, consistency: Consistency) -> Self {
        let place = Place::on(server).await;
        let url = deployment.url();
        let process = Process::start(&place, async move |place| node(&place, &url, consistency).await).await;
        until_led(&[&process.watch]).await;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(node(&place, &deployment.url(), consistency).await);
        }
        let shop = Shop::in_trouble(place, nodes.clone()).await;
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        let mut notes = JoinSet::new();
        for watch in watches.iter().chain([&process.watch]) {
            notes.spawn(shop.clone().follow(watch.changes()));
        }
        Self { shop, process, watches, _notes: notes }
    }

    /// The process stands still for longer than its lease: a node takes over.
    async fn freeze_the_leader(&self) {
        let thaw = self.process.freeze().await;
        until_led(&self.watches.iter().collect::<Vec<_>>()).await;
        self.shop.until_told().await;
        drop(thaw);
    }

    /// The node that leads stops: another one, or the process, takes over.
    async fn stop_the_leader(&self) {
        let leader = until_led(&self.watches.iter().collect::<Vec<_>>()).await;
        self.watches[leader].stop().await;
    }
}

async fn node(place: &Place, url: &str, consistency: Consistency) -> Collection {
    let redis = Redis::connect(url).await.unwrap();
    let builder = place.builder(&place.url, Some(&redis)).await;
    builder.cache_lists(lasting_policy()).consistency(consistency).write_through().build().unwrap()
}

/// How late the feed is has no bound while the database, Redis or the leading node is away. What it has told is read as
/// if it had been written through the cache.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_has_told_is_read_whatever_became_of_the_leader_of_redis_and_of_the_database() {
    let server = Server::start();
    let options = Options { append_only: true, ..Options::default() };
    for deployment in Deployment::each(&options.with(&["--cluster-require-full-coverage", "no"])) {
        let bounded = Side::open(&deployment, &server, MODES[0]).await;
        let strict = Side::open(&deployment, &server, MODES[1]).await;
        let (over, is_over) = signal::channel(false);
        let judged = async |side: &Side, seed| {
            let mut is_over = is_over.clone();
            side.shop.judge(seed, async { drop(is_over.wait_for(|over| *over).await) }).await
        };
        let trouble = async {
            suffer(&deployment, &server, [&bounded, &strict]).await;
            over.send_replace(true);
        };
        let (of_bounded, of_strict, ()) = tokio::join!(judged(&bounded, 42), judged(&strict, 43), trouble);
        let what = format!("writes past the cache under a watch in trouble, {}", deployment.kind());
        check(of_bounded, MODES[0], &what);
        check(of_strict, MODES[1], &what);
    }
}

/// One trouble after the other, each until the feed tells again what is written.
async fn suffer(deployment: &Deployment, server: &Server, [a, b]: [&Side; 2]) {
    let is_told = async || {
        tokio::join!(a.shop.until_told(), b.shop.until_told());
        lasting(BOUND / 2).await;
    };
    is_told().await;
    tokio::join!(a.freeze_the_leader(), b.freeze_the_leader());
    is_told().await;
    tokio::join!(a.stop_the_leader(), b.stop_the_leader());
    is_told().await;
    deployment.freeze();
    lasting(BOUND * 2).await;
    block_in_place(|| deployment.thaw());
    is_told().await;
    if let Deployment::Cluster(cluster) = deployment {
        for primary in cluster.primaries() {
            primary.freeze();
            lasting(BOUND * 3).await;
            primary.thaw();
            is_told().await;
        }
    }
    block_in_place(|| deployment.restart());
    is_told().await;
    if let Deployment::Single(_) = deployment {
        // It is the same to the watch however many servers Redis has.
        server.kill();
        lasting(BOUND).await;
        block_in_place(|| server.restart());
        is_told().await;
    }
}
