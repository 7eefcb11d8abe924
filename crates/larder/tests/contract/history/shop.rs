//! A database that another program writes as well, past the cache, while a watch follows it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{
    cache::ReadOptions,
    document::{Change, Changes, Collection, CompareOp, Filter, Find, Id, Told},
};
use larder_testkit::{
    eventually,
    history::{History, Verdict},
    lasting,
};
use mongodb::bson::doc;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use super::{KEYS, NODES, READERS_ON_EACH_NODE};
use crate::watch::place::{Place, SOON, read, sees};

const WRITERS: usize = 4;
/// In the history it has a place beside the nodes: whatever it is told is told to it elsewhere.
const ANOTHER_PROGRAM: usize = NODES;

/// What is written and read.
pub(super) struct Shop {
    place: Place,
    nodes: Vec<Collection>,
    /// The latest number of each key, held by who writes it: the numbers grow in the database as well.
    numbers: Vec<tokio::sync::Mutex<i64>>,
    history: History,
    /// Where trouble is to come, what the feed has still to tell.
    marks: Option<Mutex<Marks>>,
    begun: Instant,
    is_over: AtomicBool,
}

/// Documents that are written behind every write. The feed is in order: when it tells of one of them, it has told the write.
struct Marks {
    next: i64,
    /// By their ids, the key and its number.
    untold: BTreeMap<i64, (usize, u64)>,
}

impl Shop {
    /// Every write is judged as soon as it is done: nothing fails.
    pub(super) async fn calm(place: Place, nodes: Vec<Collection>) -> Arc<Self> {
        Self::open(place, nodes, None).await
    }

    /// Reads and writes may fail. What another program wrote is judged once one of the [followed](Self::follow) feeds has told it.
    pub(super) async fn in_trouble(place: Place, nodes: Vec<Collection>) -> Arc<Self> {
        Self::open(place, nodes, Some(Mutex::new(Marks { next: KEYS as i64, untold: BTreeMap::new() }))).await
    }

    async fn open(place: Place, nodes: Vec<Collection>, marks: Option<Mutex<Marks>>) -> Arc<Self> {
        for key in 0..KEYS {
            place.put(key as i64, 1).await;
        }
        let numbers = (0..KEYS).map(|_| tokio::sync::Mutex::new(1)).collect();
        let (history, is_over) = (History::new(KEYS), AtomicBool::new(false));
        Arc::new(Self { place, nodes, numbers, history, marks, begun: Instant::now(), is_over })
    }

    /// Runs readers and writers until `meanwhile` ends, and says what was read. In the end all nodes read what was written last.
    pub(super) async fn judge(self: &Arc<Self>, seed: u64, meanwhile: impl Future<Output = ()>) -> Verdict {
        let (mut dice, mut tasks) = (StdRng::seed_from_u64(seed), JoinSet::new());
        for node in 0..NODES {
            for _ in 0..READERS_ON_EACH_NODE {
                tasks.spawn(self.clone().read_on_and_on(node, StdRng::from_rng(&mut dice)));
            }
        }
        for _ in 0..WRITERS {
            tasks.spawn(self.clone().write_on_and_on(StdRng::from_rng(&mut dice)));
        }
        meanwhile.await;
        self.is_over.store(true, Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        for (key, number) in self.numbers.iter().enumerate() {
            let number = *number.lock().await;
            for node in &self.nodes {
                sees(node, key as i64, Some(number)).await;
            }
        }
        eventually("no debt remains", Duration::from_secs(10), || async {
            self.nodes.iter().all(|node| node.stats().invalidations_owed == 0)
        })
        .await;
        for node in &self.nodes {
            let lists = node.list_stats().expect("lists are cached");
            assert!(
                lists.near_hits + lists.shared_hits > 20,
                "what the database answers shows nothing: {lists:?}"
            );
        }
        let verdict = self.history.verdict();
        assert!(verdict.reads > 200 && verdict.writes > 50, "something must have happened: {verdict:?}");
        verdict
    }

    /// Takes note of what this feed tells, until it ends.
    pub(super) async fn follow(self: Arc<Self>, mut changes: Changes) {
        let marks = self.marks.as_ref().expect("trouble is to come");
        while let Some(told) = changes.next().await {
            let Told::Change { change: Change { id: Some(Id::Int(id)), .. }, .. } = told else { continue };
            if let Some((key, number)) = marks.lock().untold.remove(&id) {
                self.history.acknowledged(key, number, ANOTHER_PROGRAM);
            }
        }
    }

    /// Returns when a feed has told what was written since this was called.
    pub(super) async fn until_told(&self) {
        let marks = self.marks.as_ref().expect("trouble is to come");
        let first = marks.lock().next;
        eventually("the feed tells what was written", SOON, || async {
            let marks = marks.lock();
            (first..marks.next).any(|mark| !marks.untold.contains_key(&mark))
        })
        .await;
    }

    async fn read_on_and_on(self: Arc<Self>, node: usize, mut dice: StdRng) {
        while !self.is_over.load(Relaxed) {
            let read = match dice.random_bool(0.3) {
                true => self.read_list(node).await,
                false => self.read_one(node, dice.random_range(0..KEYS)).await,
            };
            if let Err(error) = read {
                assert!(self.marks.is_some(), "a read: {error}");
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read_one(&self, node: usize, key: usize) -> larder::Result<()> {
        let floor = self.history.floor(key, node);
        let number = read(&self.nodes[node], key as i64).await?;
        self.history.has_read(floor, number.expect("nothing is deleted") as u64);
        Ok(())
    }

    /// All documents at once, in a list that is forgotten with every write.
    async fn read_list(&self, node: usize) -> larder::Result<()> {
        let floors: Vec<_> = (0..KEYS).map(|key| self.history.floor(key, node)).collect();
        let keys = Filter::Compare { path: "_id".into(), op: CompareOp::Lt, value: (KEYS as i64).into() };
        let read = self.nodes[node].read_page(&Find::new(keys, KEYS as u32), &ReadOptions::default()).await?;
        let listing = read.value.expect("a list is always there");
        assert_eq!(listing.items.len(), KEYS, "nothing is deleted");
        for (floor, item) in floors.into_iter().zip(&listing.items) {
            self.history.has_read(floor, item.get_i64("n").expect("each has its number") as u64);
        }
        Ok(())
    }

    /// Every other write goes past the cache; the rest through one of the nodes, which keeps what was written.
    async fn write_on_and_on(self: Arc<Self>, mut dice: StdRng) {
        while !self.is_over.load(Relaxed) {
            lasting(Duration::from_millis(dice.random_range(2..20))).await;
            if self.is_quiet() {
                continue;
            }
            let key = dice.random_range(0..KEYS);
            let mut number = self.numbers[key].lock().await;
            let next = *number + 1;
            let writer = if dice.random_bool(0.5) {
                None
            } else {
                self.put(dice.random_range(0..NODES), key, next).await
            };
            if writer.is_none() {
                self.place.put(key as i64, next).await;
            }
            *number = next;
            self.has_written(key, next as u64, writer).await;
        }
    }

    /// Half of the time nobody writes: what every write forgets would never be cached.
    fn is_quiet(&self) -> bool {
        self.begun.elapsed().as_millis() / 150 % 2 == 1
    }

    /// Writes through a node, and says which one if that was done. If not, perhaps it was.
    async fn put(&self, node: usize, key: usize, number: i64) -> Option<usize> {
        let whole = doc! { "_id": key as i64, "n": number };
        match self.nodes[node].put(&Id::Int(key as i64), whole).await {
            Ok(_) => Some(node),
            Err(error) => {
                assert!(self.marks.is_some(), "a write through the cache: {error}");
                None
            }
        }
    }

    /// By a node, or past all of them.
    async fn has_written(&self, key: usize, number: u64, writer: Option<usize>) {
        let Some(marks) = &self.marks else {
            return self.history.acknowledged(key, number, writer.unwrap_or(ANOTHER_PROGRAM));
        };
        // A collection does not say whether Redis could be told of its write.
        if let Some(node) = writer {
            self.history.heard(key, number, node);
        }
        let mark = marks.lock().make(key, number);
        self.place.put(mark, 0).await;
    }
}

impl Marks {
    fn make(&mut self, key: usize, number: u64) -> i64 {
        let mark = self.next;
        self.next += 1;
        self.untold.insert(mark, (key, number));
        mark
    }
}
