//! A database that can be slow, away, or choosy.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use larder::{
    Error, ErrorKind, Result,
    source::{Sink, Source},
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Clones are one table.
#[derive(Clone)]
pub(crate) struct Table(Arc<Inner>);

struct Inner {
    rows: Mutex<BTreeMap<String, u64>>,
    held: watch::Sender<bool>,
    silent: watch::Sender<bool>,
    away: AtomicBool,
    refused: Mutex<HashMap<String, ErrorKind>>,
    begun: AtomicU64,
    written: Mutex<Vec<(String, Option<u64>)>>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            rows: Mutex::default(),
            held: watch::Sender::new(false),
            silent: watch::Sender::new(false),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
            begun: AtomicU64::new(0),
            written: Mutex::default(),
        }))
    }

    /// A write takes until the table is released.
    pub(crate) fn hold(&self) {
        self.0.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// A write is carried out, and answered when the table is not silent any more.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.0.silent.send_replace(silent);
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.away.store(away, SeqCst);
    }

    pub(crate) fn refuse(&self, key: &str) {
        self.0.refused.lock().insert(key.to_owned(), ErrorKind::Source);
    }

    /// The part of the table that has this key is away.
    pub(crate) fn lose(&self, key: &str) {
        self.0.refused.lock().insert(key.to_owned(), ErrorKind::Unavailable);
    }

    pub(crate) fn accept(&self, key: &str) {
        self.0.refused.lock().remove(key);
    }

    pub(crate) fn row(&self, key: &str) -> Option<u64> {
        self.0.rows.lock().get(key).copied()
    }

    pub(crate) fn rows(&self) -> BTreeMap<String, u64> {
        self.0.rows.lock().clone()
    }

    /// A row as another program writes it.
    pub(crate) fn write_past(&self, key: &str, value: u64) {
        self.0.rows.lock().insert(key.to_owned(), value);
    }

    /// How many writes have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.0.begun.load(SeqCst)
    }

    /// How many writes were carried out.
    pub(crate) fn writes(&self) -> u64 {
        self.0.written.lock().len() as u64
    }

    /// What was written to a key, one after another.
    pub(crate) fn written(&self, key: &str) -> Vec<Option<u64>> {
        let written = self.0.written.lock();
        written.iter().filter(|(of, _)| of == key).map(|(_, value)| *value).collect()
    }

    async fn write(&self, key: &str, value: Option<u64>) -> Result<()> {
        self.0.begun.fetch_add(1, SeqCst);
        let mut held = self.0.held.subscribe();
        held.wait_for(|held| !held).await.expect("the table outlives its writes");
        if self.0.away.load(SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the table is away"));
        }
        if let Some(kind) = self.0.refused.lock().get(key) {
            return Err(Error::new(*kind, "the table does not take this"));
        }
        self.0.written.lock().push((key.to_owned(), value));
        match value {
            Some(value) => self.0.rows.lock().insert(key.to_owned(), value),
            None => self.0.rows.lock().remove(key),
        };
        let mut silent = self.0.silent.subscribe();
        silent.wait_for(|silent| !silent).await.expect("the table outlives its writes");
        Ok(())
    }
}

impl Source<String, u64> for Table {
    async fn load(&self, key: &String) -> Result<Option<u64>> {
        Ok(self.row(key))
    }
}

impl Sink<String, u64> for Table {
    async fn put(&self, key: &String, value: &u64) -> Result<()> {
        self.write(key, Some(*value)).await
    }

    async fn remove(&self, key: &String) -> Result<()> {
        self.write(key, None).await
    }
}
