//! Caches that write behind: whoever reads sees what was acknowledged, whatever the database has by then, and in the end the
//! database has it too.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use larder::{
    Cache, Error, ErrorKind, Result,
    cache::{Consistency, MissReason, Read, ReadMode, ReadOptions, Served},
};
use larder_testkit::{
    eventually,
    history::History,
    lasting,
    proxy::Front,
    redis::{Deployment, Fsync, Options},
};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::{JoinSet, block_in_place};

use super::{BOUND, MODES, NODES, READERS_ON_EACH_NODE, builder_over, check, fail_now_and_then, tag_of};
use crate::behind::{quick, versioned::Versioned};

const WRITERS: usize = 6;
/// How many keys a writer goes through at most, and how many it has at once.
const OWN_KEYS: usize = 200;
const LIVE_KEYS: usize = 4;
/// Every so many writes of a key one removes it.
const REMOVAL: u64 = 6;
/// Of the database.
const SLOWEST: Duration = Duration::from_millis(3);
const TROUBLE: Duration = Duration::from_millis(1_500);
const SOON: Duration = Duration::from_secs(30);

/// What is known of a key, whose numbers grow with each write.
#[derive(Default)]
struct Key {
    begun: u64,
    acknowledged: u64,
    /// Of which nothing may ever be seen, and why.
    refused: BTreeMap<u64, Error>,
}

/// What a write with this number leaves.
fn left_by(number: u64) -> Option<u64> {
    (!number.is_multiple_of(REMOVAL)).then_some(number)
}

impl Key {
    /// The number of the write that left this. Nothing was left by the last removal, or by nobody yet.
    fn number_of(&self, read: Option<u64>) -> u64 {
        read.unwrap_or(self.begun - self.begun % REMOVAL)
    }

    /// Whether it may end like this: as it was acknowledged last, or as a write left it of which nothing is known.
    fn may_end_as(&self, found: Option<u64>) -> bool {
        let mut later = (self.acknowledged..=self.begun).filter(|number| !self.refused.contains_key(number));
        later.any(|number| found == left_by(number))
    }
}

/// Three nodes of a cache in one mode, and what they write and read.
struct Side {
    consistency: Consistency,
    nodes: Vec<Cache<String, u64>>,
    shelf: Versioned,
    keys: Vec<Mutex<Key>>,
    /// How many keys each writer has begun with.
    begun: [AtomicUsize; WRITERS],
    history: History,
    is_over: AtomicBool,
}

fn name(key: usize) -> String {
    format!("k{key}")
}

impl Side {
    async fn open(name: &str, fronts: &[Front], consistency: Consistency) -> Arc<Self> {
        let (shelf, mut nodes) = (Versioned::slow(SLOWEST), Vec::new());
        for front in fronts {
            let builder = builder_over(name, &front.url(), consistency).await;
            let builder = builder.source(shelf.clone()).sink(shelf.clone());
            nodes.push(builder.write_behind(quick()).build().unwrap());
        }
        let keys = (0..WRITERS * OWN_KEYS).map(|_| Mutex::default()).collect();
        let begun = std::array::from_fn(|_| AtomicUsize::new(LIVE_KEYS));
        let history = History::new(WRITERS * OWN_KEYS);
        Arc::new(Self { consistency, nodes, shelf, keys, begun, history, is_over: AtomicBool::new(false) })
    }

    fn start(self: &Arc<Self>, seed: u64) -> JoinSet<()> {
        let (mut dice, mut tasks) = (StdRng::seed_from_u64(seed), JoinSet::new());
        for reader in 0..NODES * READERS_ON_EACH_NODE {
            tasks.spawn(self.clone().read_on_and_on(reader % NODES, StdRng::from_rng(&mut dice)));
        }
        for writer in 0..WRITERS {
            tasks.spawn(self.clone().write_on_and_on(writer, StdRng::from_rng(&mut dice)));
        }
        tasks
    }

    /// Writes its own keys, each time by another node. One of which it is not known what became of a write is not written any
    /// more: that write may still come into force, after any other.
    async fn write_on_and_on(self: Arc<Self>, writer: usize, mut dice: StdRng) {
        let mut live: Vec<usize> = (0..LIVE_KEYS).map(|at| writer * OWN_KEYS + at).collect();
        while !self.is_over.load(Relaxed) {
            lasting(Duration::from_micros(dice.random_range(1_000..12_000))).await;
            let (place, node) = (dice.random_range(0..LIVE_KEYS), dice.random_range(0..NODES));
            if dice.random_bool(0.2) {
                self.forget(live[place], node, dice.random_range(0..20)).await;
            }
            match self.write(live[place], node).await {
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    let next = self.begun[writer].fetch_add(1, SeqCst);
                    assert!(next < OWN_KEYS, "too many outcomes are unknown");
                    live[place] = writer * OWN_KEYS + next;
                }
                _ => {}
            }
        }
    }

    /// Invalidates what may be pending, for which readers are to see it all the same; what becomes of it shows in what they read.
    async fn forget(&self, key: usize, node: usize, how: u32) {
        let (name, cache) = (name(key), &self.nodes[node]);
        let _ = match how {
            0 => cache.clear().await.map(drop),
            1 => cache.invalidate_pattern("k*").await.map(drop),
            2..5 => cache.invalidate_tag(&tag_of(&name)).await.map(drop),
            _ => cache.invalidate(&*name).await.map(drop),
        };
    }

    async fn write(&self, key: usize, node: usize) -> Result<()> {
        let number = {
            let mut key = self.keys[key].lock();
            key.begun += 1;
            key.begun
        };
        let (name, cache) = (name(key), &self.nodes[node]);
        let put = match left_by(number) {
            Some(number) => cache.put(&name, &number).await,
            None => cache.remove(&name).await,
        };
        match &put {
            Ok(()) => {
                self.keys[key].lock().acknowledged = number;
                self.history.acknowledged(key, number, node);
            }
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => drop(self.keys[key].lock().refused.insert(number, error.clone())),
        }
        put
    }

    async fn read_on_and_on(self: Arc<Self>, node: usize, mut dice: StdRng) {
        let refreshes = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
        let plain = ReadOptions::default();
        while !self.is_over.load(Relaxed) {
            let keys: [usize; 3] = std::array::from_fn(|_| self.one_of_late(&mut dice));
            let floors = keys.map(|key| self.history.floor(key, node));
            let options = if dice.random_bool(0.05) { &refreshes } else { &plain };
            let read = match dice.random_range(0..4) {
                0 => self.nodes[node].read_many(&keys.map(name), options).await,
                _ => self.nodes[node].read(&name(keys[0]), options).await.map(|read| vec![read]),
            };
            for ((key, floor), read) in keys.into_iter().zip(floors).zip(read.into_iter().flatten()) {
                if let Some(number) = self.seen(key, &read) {
                    self.history.has_read(floor, number);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// A key that is written, or was not long ago.
    fn one_of_late(&self, dice: &mut StdRng) -> usize {
        let writer = dice.random_range(0..WRITERS);
        let begun = self.begun[writer].load(SeqCst);
        writer * OWN_KEYS + dice.random_range(begun.saturating_sub(2 * LIVE_KEYS)..begun)
    }

    /// Which write was read; `None` if Redis could not be asked: then the database answers for itself.
    fn seen(&self, key: usize, read: &Read<u64>) -> Option<u64> {
        if read.served == Served::Source && read.reason == Some(MissReason::Error) {
            return None;
        }
        let known = self.keys[key].lock();
        let number = known.number_of(read.value.as_deref().copied());
        if let Some(error) = read.value.as_ref().and_then(|_| known.refused.get(&number)) {
            panic!("{number} of {key} is read from {:?}, and was refused: {error}", read.served);
        }
        Some(number)
    }

    fn judge(&self, what: &str) {
        let verdict = self.history.verdict();
        assert!(verdict.reads > 200 && verdict.writes > 20, "something must have happened: {verdict:?}");
        for node in &self.nodes {
            let (near, shared) = (node.stats().near_hits, node.stats().shared_hits);
            assert!(near > 5 && shared > 5, "{near} near copies and {shared} of Redis were served");
        }
        check(verdict, self.consistency, what);
    }

    /// Everything pending is carried out, and each key ends as it may, in the database and on each node.
    async fn ends_well(&self, what: &str) {
        eventually("everything is flushed", SOON, || async {
            self.nodes[0].behind().unwrap().flush().await.is_ok()
        })
        .await;
        lasting(BOUND).await;
        let keys: Vec<usize> = (0..self.keys.len()).filter(|key| self.keys[*key].lock().begun > 0).collect();
        for &key in &keys {
            let (known, found) = (self.keys[key].lock(), self.shelf.row(&name(key)));
            assert!(
                known.may_end_as(found),
                "{what}: {key} ends as {found:?}, {} was acknowledged",
                known.acknowledged
            );
        }
        let names: Vec<String> = keys.iter().copied().map(name).collect();
        for node in &self.nodes {
            let read = node.get_many(&names).await.unwrap();
            for (&key, read) in keys.iter().zip(read) {
                let (known, read) = (self.keys[key].lock(), read.as_deref().copied());
                assert!(
                    known.may_end_as(read),
                    "{what}: {key} is read as {read:?}, {} was acknowledged",
                    known.acknowledged
                );
            }
        }
    }
}

/// Ways that fail, for one node and to one server or all, and a Redis that is killed and comes back with its append-only file.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_behind_is_read_and_ends_in_the_database_whatever_happens_to_redis() {
    let options = Options { append_only: true, fsync: Fsync::Always, ..Options::default() };
    for deployment in Deployment::each(&options) {
        let mut fronts = Vec::new();
        for _ in 0..NODES {
            fronts.push(Front::start(&deployment).await);
        }
        let sides =
            [Side::open("bounded", &fronts, MODES[0]).await, Side::open("strict", &fronts, MODES[1]).await];
        let what = format!("written behind, {}", deployment.kind());
        let mut tasks = [sides[0].start(51), sides[1].start(52)];
        let mut dice = StdRng::seed_from_u64(53);
        fail_now_and_then(&fronts, &mut dice, TROUBLE).await;
        block_in_place(|| deployment.restart_one(0));
        fail_now_and_then(&fronts, &mut dice, TROUBLE).await;
        for (side, tasks) in sides.iter().zip(&mut tasks) {
            side.is_over.store(true, Relaxed);
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
            side.judge(&what);
        }
        let [bounded, strict] = &sides;
        tokio::join!(bounded.ends_well(&what), strict.ends_well(&what));
    }
}
