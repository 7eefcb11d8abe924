//! The same over a database that another program writes as well, past the cache, while a watch follows it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::document::{Collection, Id};
use larder_testkit::{eventually, history::History, lasting};
use mongodb::bson::doc;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::Mutex, task::JoinSet};

use super::{BOUND, KEYS, MODES, NODES, READERS_ON_EACH_NODE, SLACK};
use crate::{
    setup::Backend,
    watch::place::{Place, n, sees, until_led, watch},
};

const WRITERS: usize = 4;
/// In the history it has a place beside the nodes: whatever it is told is told to it elsewhere.
const ANOTHER_PROGRAM: usize = NODES;

/// What is written and read.
struct Shop {
    place: Place,
    nodes: Vec<Collection>,
    /// The latest number of each key, held by who writes it: the numbers grow in the database as well.
    numbers: Vec<Mutex<i64>>,
    history: History,
    is_over: AtomicBool,
}

impl Shop {
    async fn read_on_and_on(self: Arc<Self>, node: usize, mut dice: StdRng) {
        while !self.is_over.load(Relaxed) {
            let key = dice.random_range(0..KEYS);
            let floor = self.history.floor(key, node);
            let number = n(&self.nodes[node], key as i64).await.expect("nothing is deleted");
            self.history.has_read(floor, number as u64);
            tokio::task::yield_now().await;
        }
    }

    /// Every other write goes past the cache; the rest through one of the nodes, which keeps what was written.
    async fn write_on_and_on(self: Arc<Self>, mut dice: StdRng) {
        while !self.is_over.load(Relaxed) {
            lasting(Duration::from_millis(dice.random_range(2..20))).await;
            let key = dice.random_range(0..KEYS);
            let mut number = self.numbers[key].lock().await;
            let (id, next) = (key as i64, *number + 1);
            let writer = if dice.random_bool(0.5) {
                self.place.put(id, next).await;
                ANOTHER_PROGRAM
            } else {
                let node = dice.random_range(0..NODES);
                let whole = doc! { "_id": id, "n": next };
                self.nodes[node].put(&Id::Int(id), whole).await.expect("a write through the cache");
                node
            };
            *number = next;
            self.history.acknowledged(key, next as u64, writer);
        }
    }
}

/// Nobody but the feed can tell of what another program wrote: a read may be behind by the feed's lag and the bound.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_wrote_is_read_once_the_feed_has_told_it_and_the_bound_has_passed() {
    for consistency in MODES {
        let place = Place::new().await;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let redis = Backend::Redis.connect().await;
            let builder = place.builder(&place.url, redis.as_ref()).await;
            nodes.push(builder.consistency(consistency).write_through().build().unwrap());
        }
        for key in 0..KEYS {
            place.put(key as i64, 1).await;
        }
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        let leader = until_led(&watches.iter().collect::<Vec<_>>()).await;
        let numbers = (0..KEYS).map(|_| Mutex::new(1)).collect();
        let (history, is_over) = (History::new(KEYS), AtomicBool::new(false));
        let shop = Arc::new(Shop { place, nodes, numbers, history, is_over });

        let (mut dice, mut tasks) = (StdRng::seed_from_u64(41), JoinSet::new());
        for node in 0..NODES {
            for _ in 0..READERS_ON_EACH_NODE {
                tasks.spawn(shop.clone().read_on_and_on(node, StdRng::from_rng(&mut dice)));
            }
        }
        for _ in 0..WRITERS {
            tasks.spawn(shop.clone().write_on_and_on(StdRng::from_rng(&mut dice)));
        }
        lasting(Duration::from_secs(3)).await;
        shop.is_over.store(true, Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }

        let verdict = shop.history.verdict();
        verdict.say(&format!("writes past the cache under a watch, {consistency:?}"));
        assert!(verdict.reads > 200 && verdict.writes > 50, "something must have happened: {verdict:?}");
        assert_eq!(verdict.stale_here, 0, "{consistency:?}: on the node that wrote: {verdict:?}");
        let lag = watches[leader].stats()[0].longest_lag;
        assert!(verdict.oldest_elsewhere <= lag + BOUND + SLACK, "{consistency:?}: {lag:?}, {verdict:?}");
        for (key, number) in shop.numbers.iter().enumerate() {
            let number = *number.lock().await;
            for node in &shop.nodes {
                sees(node, key as i64, Some(number)).await;
            }
        }
        eventually("no debt remains", Duration::from_secs(10), || async {
            shop.nodes.iter().all(|node| node.stats().invalidations_owed == 0)
        })
        .await;
    }
}
