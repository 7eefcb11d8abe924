//! The database of the simulation: it keeps the version of each row, and is reached over a network that is as unkind as the
//! other one.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::{
    Error, ErrorKind, Result,
    redis::simulated::World,
    source::{Sink, Write},
};

/// By their keys, each with its version; a removed one has no number.
type Rows = BTreeMap<String, (u64, Option<u64>)>;

#[derive(Clone)]
pub(super) struct Disk {
    world: World,
    /// How long an owner owns a shard.
    lease: Duration,
    rows: Arc<Mutex<Rows>>,
    /// The key of the row that arrived last.
    newest: Arc<Mutex<String>>,
    /// Whether it refuses some writes for good.
    is_choosy: Arc<AtomicBool>,
    /// Owns what is under way.
    tasks: TaskTracker,
}

impl Disk {
    pub(super) fn new(world: World, lease: Duration) -> Self {
        let is_choosy = Arc::new(AtomicBool::new(true));
        Self {
            world,
            lease,
            rows: Arc::default(),
            newest: Arc::default(),
            is_choosy,
            tasks: TaskTracker::new(),
        }
    }

    /// From now on it refuses nothing.
    pub(super) fn accept(&self) {
        self.is_choosy.store(false, Relaxed);
    }

    /// A write that is handed in again has another version, and another chance.
    fn refuses(&self, write: &Write<String, u64>) -> bool {
        self.is_choosy.load(Relaxed) && (write.version / 1_000).is_multiple_of(6)
    }

    pub(super) fn row(&self, key: &str) -> Option<u64> {
        self.rows.lock().get(key).and_then(|(_, number)| *number)
    }

    pub(super) fn newest(&self) -> String {
        self.newest.lock().clone()
    }

    /// Another program changes a row, and leaves its version as it is.
    pub(super) fn write_past(&self, key: &str, number: u64) {
        if let Some((_, row)) = self.rows.lock().get_mut(key) {
            *row = Some(number);
        }
    }

    pub(super) async fn load(&self, key: &str) -> Option<u64> {
        let number = self.row(key);
        sleep(self.world.pause(Duration::from_millis(20))).await;
        number
    }

    /// Has the writes carried out after a while, whoever waits for it.
    fn send(&self, writes: Vec<Write<String, u64>>, late: Duration) -> impl Future {
        let (rows, newest) = (self.rows.clone(), self.newest.clone());
        self.tasks.spawn(async move {
            sleep(late).await;
            let mut rows = rows.lock();
            for write in writes {
                newest.lock().clone_from(&write.key);
                let row = rows.entry(write.key).or_default();
                if row.0 < write.version {
                    *row = (write.version, write.value);
                }
            }
        })
    }
}

impl Sink<String, u64> for Disk {
    async fn put(&self, _key: &String, _value: &u64) -> Result<()> {
        Err(Error::new(ErrorKind::Config, "only writes with their versions are taken"))
    }

    async fn remove(&self, key: &String) -> Result<()> {
        self.put(key, &0).await
    }

    async fn apply(&self, writes: &[Write<String, u64>]) -> Vec<Result<()>> {
        let answer = self.world.pick(12);
        // Now and then the owner, or its way to the database, stands still for longer than it owns the shard.
        let most = if answer == 0 { self.lease * 4 } else { Duration::from_millis(30) };
        let late = self.world.pause(most);
        let (refused, taken): (Vec<_>, Vec<_>) =
            writes.iter().cloned().partition(|write| self.refuses(write));
        if answer == 1 {
            // Once more, and perhaps after a later one.
            drop(self.send(taken.clone(), late + self.world.pause(self.lease * 2)));
        }
        if answer == 2 {
            return writes.iter().map(|_| Err(Error::new(ErrorKind::Unavailable, "no way there"))).collect();
        }
        self.send(taken, late).await;
        if answer == 3 {
            pending::<()>().await;
        }
        let refusal = || Err(Error::new(ErrorKind::Source, "it is not taken"));
        writes.iter().map(|write| if refused.contains(write) { refusal() } else { Ok(()) }).collect()
    }
}
