//! A database that leaves alone what has a later version, as [`Sink::apply`] asks; it can be slow or away.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Error, ErrorKind, Result,
    source::{Sink, Source, Write},
};
use larder_testkit::lasting;
use parking_lot::Mutex;

/// Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Versioned(Arc<Inner>);

#[derive(Default)]
struct Inner {
    away: AtomicBool,
    /// How long a read or a batch takes at most.
    pace: Duration,
    /// By their keys, each with its version; a removed one has no number.
    rows: Mutex<BTreeMap<String, (u64, Option<u64>)>>,
}

impl Versioned {
    /// Takes its time, up to `pace`.
    pub(crate) fn slow(pace: Duration) -> Self {
        Self(Arc::new(Inner { pace, ..Inner::default() }))
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.away.store(away, SeqCst);
    }

    pub(crate) fn row(&self, key: &str) -> Option<u64> {
        self.0.rows.lock().get(key)?.1
    }

    /// Carries out a write of which Redis knows nothing.
    pub(super) fn set(&self, key: &str, version: u64, value: u64) {
        self.0.rows.lock().insert(key.to_owned(), (version, Some(value)));
    }

    async fn take_time(&self) {
        if !self.0.pace.is_zero() {
            lasting(self.0.pace.mul_f64(rand::random())).await;
        }
    }
}

impl Source<String, u64> for Versioned {
    async fn load(&self, key: &String) -> Result<Option<u64>> {
        let row = self.row(key);
        // Between the look and the answer: here a write must be able to come, and to be carried out.
        self.take_time().await;
        Ok(row)
    }
}

impl Sink<String, u64> for Versioned {
    async fn put(&self, _key: &String, _value: &u64) -> Result<()> {
        unversioned()
    }

    async fn remove(&self, _key: &String) -> Result<()> {
        unversioned()
    }

    async fn apply(&self, writes: &[Write<String, u64>]) -> Vec<Result<()>> {
        self.take_time().await;
        let mut rows = self.0.rows.lock();
        let apply = |write: &Write<String, u64>| {
            if self.0.away.load(SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "the rows are away"));
            }
            let row = rows.entry(write.key.clone()).or_default();
            if row.0 < write.version {
                *row = (write.version, write.value);
            }
            Ok(())
        };
        writes.iter().map(apply).collect()
    }
}

/// The answer of a sink that keeps versions to a write that has none.
pub(super) fn unversioned() -> Result<()> {
    Err(Error::new(ErrorKind::Config, "writes come with their versions"))
}
