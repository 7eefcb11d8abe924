//! A database that takes its time and counts, and knows which write came when.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{
    Result,
    source::{Sink, Source, Write},
};
use tokio::time::sleep;

/// How long a read takes, and a write, however many rows it has.
pub const TAKES: Duration = Duration::from_millis(5);

/// The text of a row: its version, and what makes it a kilobyte.
pub fn row(version: u64) -> String {
    format!("{version}:{}", "x".repeat(1_000))
}

/// The version in a row; 0 for none.
pub fn version_of(row: Option<&str>) -> u64 {
    row.and_then(|row| row.split(':').next()?.parse().ok()).unwrap_or(0)
}

/// One acknowledged write.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    /// Which one of its key.
    pub version: u64,
    /// When its writer was told.
    pub at: Instant,
    /// Whether the cache was told of it.
    pub announced: bool,
}

/// Rows by key. Clones are one database.
#[derive(Debug, Clone, Default)]
pub struct Database(Arc<State>);

#[derive(Debug, Default)]
struct State {
    rows: Mutex<HashMap<String, u64>>,
    next: AtomicU64,
    acknowledged: Mutex<HashMap<String, Vec<Acknowledged>>>,
    reads: AtomicU64,
    write_calls: AtomicU64,
    rows_written: AtomicU64,
}

impl Database {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next version; grows over all keys.
    pub fn next_version(&self) -> u64 {
        self.0.next.fetch_add(1, Relaxed) + 1
    }

    /// Reads one row.
    pub async fn read(&self, key: &str) -> Option<String> {
        self.0.reads.fetch_add(1, Relaxed);
        sleep(TAKES).await;
        let rows = self.0.rows.lock().expect("no holder panics");
        Some(row(rows.get(key).copied().unwrap_or(0)))
    }

    /// Writes one row, unless it has a later version.
    pub async fn write(&self, key: &str, version: u64) {
        self.write_many(&[(key.to_owned(), version)]).await;
    }

    async fn write_many(&self, rows: &[(String, u64)]) {
        self.0.write_calls.fetch_add(1, Relaxed);
        self.0.rows_written.fetch_add(rows.len() as u64, Relaxed);
        sleep(TAKES).await;
        let mut stored = self.0.rows.lock().expect("no holder panics");
        for (key, version) in rows {
            let row = stored.entry(key.clone()).or_default();
            *row = (*row).max(*version);
        }
    }

    /// Remembers that a writer was told.
    pub fn acknowledge(&self, key: &str, version: u64, announced: bool) {
        let acknowledged = Acknowledged { version, at: Instant::now(), announced };
        let mut all = self.0.acknowledged.lock().expect("no holder panics");
        all.entry(key.to_owned()).or_default().push(acknowledged);
    }

    /// The first write that a read which began then, and got this version, should have seen and did not.
    pub fn first_missed(&self, key: &str, version: u64, began: Instant) -> Option<Acknowledged> {
        let all = self.0.acknowledged.lock().expect("no holder panics");
        let missed = all.get(key)?.iter().filter(|one| one.version > version && one.at < began);
        missed.min_by_key(|one| one.at).copied()
    }

    /// Reads, calls that wrote, and rows that they wrote.
    pub fn counts(&self) -> [u64; 3] {
        [&self.0.reads, &self.0.write_calls, &self.0.rows_written].map(|count| count.load(Relaxed))
    }
}

impl Source<String, String> for Database {
    async fn load(&self, key: &String) -> Result<Option<String>> {
        Ok(self.read(key).await)
    }
}

impl Sink<String, String> for Database {
    async fn put(&self, key: &String, value: &String) -> Result<()> {
        self.write(key, version_of(Some(value))).await;
        Ok(())
    }

    async fn remove(&self, _key: &String) -> Result<()> {
        Ok(())
    }

    async fn apply(&self, writes: &[Write<String, String>]) -> Vec<Result<()>> {
        let rows: Vec<_> =
            writes.iter().map(|write| (write.key.clone(), version_of(write.value.as_deref()))).collect();
        self.write_many(&rows).await;
        writes.iter().map(|_| Ok(())).collect()
    }
}
